"""The Python of an environment: found on the machine, fetched by uv, or replaced."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rollway.emulator.runtime.images import ImageBuildFailed, ImageRecipe, build_image
from rollway.emulator.runtime.interpreters import (
    OWN_PYTHON,
    OWN_VERSION,
    Interpreter,
    fetch_interpreter,
    find_interpreter,
    search_path,
)

ABSENT = "3.99"


class FakeUv:
    """uv that prints `lines` and ends with `code`; `calls` has its arguments, `environ` its last variables."""

    def __init__(self, code: int, *lines: str) -> None:
        self.code, self.lines = code, lines
        self.calls: list[list[str]] = []
        self.environ: dict[str, str] = {}

    async def __call__(self, arguments: list[str], tee: Callable[[str], None], **options: Any) -> int:
        self.calls.append(arguments)
        self.environ = options.get("environ", {})
        for line in self.lines:
            tee(line)
        return self.code


def make_version(root: Path, version: str) -> str:
    """Make a Python of a version manager; returns its folder of programs."""
    programs = root / version / "bin"
    programs.mkdir(parents=True)
    (programs / f"python{'.'.join(version.split('.')[:2])}").touch(mode=0o755)
    return str(programs)


def test_the_emulators_own_version_needs_no_search() -> None:
    uv = FakeUv(1)

    found = [asyncio.run(find_interpreter(version, uv)) for version in (None, OWN_VERSION)]

    assert found == [Interpreter(OWN_PYTHON, OWN_VERSION, OWN_VERSION)] * 2
    assert uv.calls == []


def test_the_path_is_found_between_the_warnings_of_uv() -> None:
    uv = FakeUv(0, "warning: Failed to inspect /opt/broken/python", sys.executable, "warning: another one")

    found = asyncio.run(find_interpreter(ABSENT, uv))

    assert found == Interpreter(sys.executable, ABSENT, ABSENT)
    assert not found.is_fallback


@pytest.mark.parametrize("uv", [FakeUv(2, "error: No interpreter found"), FakeUv(0), FakeUv(0, "/no/such/python")])
def test_a_python_that_uv_does_not_find_is_none(uv: FakeUv) -> None:
    assert asyncio.run(find_interpreter(ABSENT, uv)) is None


def test_shims_are_not_searched_and_installed_versions_are_the_newest_patch_first(tmp_path: Path) -> None:
    versions = tmp_path / "pyenv/versions"
    old, new, _ = (make_version(versions, version) for version in ("3.9.2", "3.9.18", "3.10.1"))
    asdf = make_version(tmp_path / ".asdf/installs/python", "3.9.7")
    shims = tmp_path / "pyenv/shims"
    environ = {"HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path / "pyenv"), "PATH": f"{shims}:/usr/bin"}

    assert search_path(environ, "3.9").split(os.pathsep) == ["/usr/bin", new, old, asdf]


def test_a_broken_shim_does_not_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_version(tmp_path / "versions", f"{OWN_VERSION}.1")
    (Path(own) / f"python{OWN_VERSION}").unlink()
    (Path(own) / f"python{OWN_VERSION}").symlink_to(OWN_PYTHON)
    shim = tmp_path / "shims" / f"python{OWN_VERSION}"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(shim.parent))
    monkeypatch.setattr("rollway.emulator.runtime.interpreters.OWN_VERSION", "none")

    found = asyncio.run(find_interpreter(OWN_VERSION))

    assert found is not None
    assert os.path.realpath(found.path) == OWN_PYTHON


def test_uv_fetches_into_its_own_folder_if_its_settings_allow_it() -> None:
    lines: list[str] = []
    uv = FakeUv(0, sys.executable)

    found = asyncio.run(fetch_interpreter(ABSENT, lines.append, uv))

    assert found == Interpreter(sys.executable, ABSENT, ABSENT)
    fetch, find = uv.calls
    assert fetch[:-1] == ["venv", "--quiet", "--no-project", "--managed-python", "--python", ABSENT]
    assert not Path(fetch[-1]).parent.exists(), "the throw-away environment is gone"
    assert find[:2] == ["python", "find"]


def test_a_python_that_cannot_be_had_is_replaced_and_the_logs_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    log: list[str] = []

    environment = asyncio.run(build_image(ImageRecipe(None, f"dependencies: [python={ABSENT}]"), tmp_path, log.append))

    text = (
        f"the environment asks for Python {ABSENT}, which is not on this machine and which uv cannot download, so the "
        f"emulator's own Python {OWN_VERSION} is used. Install it, for example with: uv python install {ABSENT}"
    )
    assert f"warning: {text}" in log
    assert [record.getMessage() for record in caplog.records if record.name.startswith("rollway")] == [text]
    assert os.path.realpath(environment / "bin/python") == OWN_PYTHON


def test_a_replaced_python_is_not_fetched_again_for_a_cached_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = ImageRecipe(None, f"dependencies: [python={ABSENT}]")
    first = asyncio.run(build_image(recipe, tmp_path, lambda _: None))
    monkeypatch.setattr("rollway.emulator.runtime.images.fetch_interpreter", None)
    log: list[str] = []

    second = asyncio.run(build_image(recipe, tmp_path, log.append))

    assert (first, log) == (second, [])


def test_a_build_that_fails_on_a_replaced_python_names_the_missing_one(tmp_path: Path) -> None:
    recipe = ImageRecipe(None, f"dependencies: [python={ABSENT}, rollway-package-that-does-not-exist]")

    with pytest.raises(ImageBuildFailed) as failure:
        asyncio.run(build_image(recipe, tmp_path, lambda _: None))

    assert failure.value.code == "ImageBuildFailure"
    assert str(failure.value) == (
        "the environment's packages cannot be installed (exit code 1): they may need Python 3.99, which is not on this "
        f"machine. Python {OWN_VERSION} was used instead"
    )
