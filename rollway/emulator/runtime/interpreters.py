"""Finds the Python that an environment asks for, on this machine or through uv."""

import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rollway.emulator.runtime.uv_process import RunUv, run_uv

OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# The real path, not the link in our own virtual environment: builds must outlive it, and be found from another one.
OWN_PYTHON = os.path.realpath(sys.executable)


@dataclass(frozen=True)
class Interpreter:
    """A Python for an environment that asks for the version `asked`, and the `version` that it has: `major.minor`."""

    path: str
    asked: str
    version: str

    @property
    def is_fallback(self) -> bool:
        """True if it is not what the environment asks for."""
        return self.asked != self.version


# Folders with a subfolder per version of Python: variable, default in the home folder, and subfolder.
_VERSION_MANAGERS = (
    ("PYENV_ROOT", ".pyenv", "versions"),
    ("ASDF_DATA_DIR", ".asdf", "installs/python"),
    ("MISE_DATA_DIR", ".local/share/mise", "installs/python"),
)


async def find_interpreter(version: str | None, run: RunUv = run_uv) -> Interpreter | None:
    """Return a Python of this `major.minor` version that is on the machine, or None.

    None as version stands for any version: the emulator's own Python.
    """
    if version is None or version == OWN_VERSION:
        return Interpreter(OWN_PYTHON, OWN_VERSION, OWN_VERSION)
    # `--system` and `--no-project`: not the virtual environment or the project of the working directory.
    command = ["python", "find", "--system", "--no-project", "--no-python-downloads", version]
    lines: list[str] = []
    environ = {**os.environ, "PATH": search_path(os.environ, version)}
    if await run(command, lines.append, environ=environ) != 0:
        return None
    # uv's warnings are in the same output.
    paths = [line for line in lines if os.path.isabs(line) and os.access(line, os.X_OK)]
    return Interpreter(paths[-1], version, version) if paths else None


async def fetch_interpreter(version: str, tee: Callable[[str], None], run: RunUv = run_uv) -> Interpreter | None:
    """Let uv download a Python of this version. Return it, or None if uv cannot or may not.

    uv's own settings say if it may: UV_PYTHON_DOWNLOADS, UV_OFFLINE and its configuration files.
    """
    with tempfile.TemporaryDirectory() as folder:
        # A throw-away environment: `uv python install` would put links into the user's PATH, and ignore `manual`.
        venv = str(Path(folder) / "venv")
        command = ["venv", "--quiet", "--no-project", "--managed-python", "--python", version, venv]
        if await run(command, tee) != 0:
            return None
    return await find_interpreter(version, run)


def search_path(environ: Mapping[str, str], version: str) -> str:
    """Return the PATH in which uv searches for a Python of this version.

    It is PATH without the shims of version managers, and with the versions that these have installed. A shim of a
    version that is installed but not activated fails, and uv ends its search at the first Python that fails.
    """
    folders = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if Path(folder).name != "shims"]
    home = Path(environ.get("HOME", "/"))
    for variable, default, versions in _VERSION_MANAGERS:
        root = Path(environ.get(variable) or home / default) / versions
        found = [path for path in root.glob(f"{version}.*/bin") if (path / f"python{version}").exists()]
        folders += [str(path) for path in sorted(found, key=_patch, reverse=True)]
    return os.pathsep.join(folders)


def _patch(folder: Path) -> int:
    patch = folder.parent.name.split(".")[2]
    return int(patch) if patch.isdecimal() else -1  # a version of its own, such as 3.13.0t or 3.14.0rc1
