"""Commands as a person calls them."""

import sys
from pathlib import Path

import pytest

from rollway.terminal import as_called, program


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A virtual environment in `tmp_path/.venv` that runs this process; no `rollway` is on the PATH."""
    folder = tmp_path / ".venv/bin"
    folder.mkdir(parents=True)
    (folder / "rollway").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.chdir(tmp_path)
    return folder


def test_in_a_checkout_it_is_a_path_below_it(venv: Path) -> None:
    assert program() == ".venv/bin/rollway"


def test_elsewhere_it_is_the_whole_path(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/usr")

    assert program() == str(venv / "rollway")


def test_in_an_activated_environment_it_is_the_name(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(venv))

    assert program() == "rollway"


def test_another_rollway_on_the_path_is_not_meant(venv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "rollway").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(other))

    assert program() == ".venv/bin/rollway"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("try `rollway resume` now", "try `.venv/bin/rollway resume` now"),
        ('`eval "$(rollway emulator env)"`', '`eval "$(.venv/bin/rollway emulator env)"`'),
        ("tag rollway:lease, work pool rollway", "tag rollway:lease, work pool rollway"),
        ("`rollway` is installed", "`rollway` is installed"),
    ],
)
def test_commands_in_a_text_can_be_pasted(venv: Path, text: str, shown: str) -> None:
    assert as_called(text) == shown
