"""A fresh clone of this checkout, with the packages that are installed here instead of another installation."""

import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from tests.support.launcher import OURS
from tests.support.pages import ROOT

PROGRAMS = ("rollway", "prefect")


def make_clone(folder: Path) -> Path:
    """Copy all files that git has, or would add, and make a virtual environment that is as after `make .venv/ready`.

    It is one of its own, whose commands run the code of the clone. Its packages are those of this Python.
    """
    _copy_files(folder)
    _make_environment(folder)
    return folder


def make_checkout(folder: Path) -> Path:
    """Copy all files that git has, or would add, but link our packages: forks of a warm process can run its commands.

    It has no virtual environment.
    """
    _copy_files(folder, without=OURS)
    for package in OURS:
        (folder / package).symlink_to(ROOT / package)
    return folder


def _copy_files(folder: Path, without: Sequence[str] = ()) -> None:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, names):
        is_there = (ROOT / name).exists()  # otherwise it is deleted and not committed
        if is_there and name.partition("/")[0] not in without:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())


def _make_environment(clone: Path) -> None:
    venv, packages = clone / ".venv", sysconfig.get_path("purelib")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (own,) = venv.glob("lib/python*/site-packages")
    (own / "clone.pth").write_text(f"{clone}\n{packages}\n")  # the clone first; a .pth file in `packages` is not read
    for name in PROGRAMS:
        program = venv / "bin" / name
        installed = Path(sys.executable).with_name(name).read_text().splitlines(keepends=True)
        program.write_text("".join([f"#!{venv}/bin/python\n", *installed[1:]]))
        program.chmod(0o755)
    (venv / "bin/uv").symlink_to(Path(sys.executable).with_name("uv"))
    (venv / "ready").touch()
