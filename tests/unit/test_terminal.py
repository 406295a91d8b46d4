"""Commands as a person calls them."""

import sys
import threading
from itertools import chain, pairwise, repeat
from pathlib import Path
from types import SimpleNamespace

import pytest

from rollway import terminal
from rollway.terminal import as_called, pause_seconds, program, saying


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


def test_what_lasts_says_so_again_and_again_and_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    is_told_twice = threading.Event()
    moments = chain([100.0], repeat(107.0))
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=lambda: next(moments)))

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            is_told_twice.set()

    with saying("waiting", ", because", say=say, pause=lambda _: 0.0):
        assert is_told_twice.wait(600)

    assert said[:3] == ["waiting, because", "  still waiting, after 7 s", "  still waiting, after 7 s"]
    assert said[-1] == "  that took 7 s"


def test_what_is_quick_is_one_line() -> None:
    said: list[str] = []

    with saying("waiting", say=said.append, pause=lambda _: 3600.0):
        pass

    assert said == ["waiting"]


def test_what_fails_does_not_say_how_long_it_took() -> None:
    said: list[str] = []

    with pytest.raises(OSError, match="away"), saying("waiting", say=said.append, pause=lambda _: 3600.0):
        raise OSError("away")

    assert said == ["waiting"]


def test_lines_are_rarer_the_longer_it_lasts() -> None:
    pauses = [pause_seconds(float(so_far)) for so_far in range(0, 3600, 5)]

    assert pause_seconds(0) == pause_seconds(60) == 5
    assert pauses[-1] == 60
    assert all(one <= two for one, two in pairwise(pauses))
