"""The checks of `rollway doctor` as people and scripts read them."""

import io

import pytest
from rich.console import Console

from rollway.reports.doctor import plain, table
from rollway.rollout.checkup import Check, Checkup, State

FOUND = Checkup(
    checks=(
        Check(name="versions", state=State.OK, found="rollway 1"),
        Check(name="workspace", state=State.MISSING, found="it is not set", next="set `rollway x`"),
    )
)


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are called by the path of a checkout."""
    monkeypatch.setattr("rollway.terminal.program", lambda: ".venv/bin/rollway")


def test_a_pipe_gets_a_line_per_check_that_ends_with_what_to_do() -> None:
    assert plain(FOUND).splitlines() == [
        "ok        versions   rollway 1",
        "missing   workspace  it is not set → set `.venv/bin/rollway x`",
    ]


def test_a_terminal_gets_the_next_step_below_what_was_found() -> None:
    screen = io.StringIO()
    Console(file=screen, width=80, force_terminal=True, color_system=None).print(table(FOUND))

    assert [line.rstrip() for line in screen.getvalue().splitlines()] == [
        "ok       versions   rollway 1",
        "missing  workspace  it is not set",
        "                    → set `.venv/bin/rollway x`",
    ]
