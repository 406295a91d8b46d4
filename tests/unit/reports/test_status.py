"""The status of a workspace as people read it, in a pipe and on a terminal."""

import io

from rich.console import Console

from rollway.reports.status import plain, show
from rollway.rollout.record import LAST, LEASE, PAUSED, PREVIOUS, REJECTED
from rollway.rollout.status import WorkspaceStatus, status_of
from tests.unit.rollout.test_status import AT, endpoint, foreign, one

EVERYTHING = WorkspaceStatus(
    workspace="rg/[ws]",
    endpoints=(
        status_of(
            endpoint(
                one("blue", model="diabetes:2"),
                one("green"),
                one("red", "Failed"),
                tags={LAST: f"promoted run/1 {AT}", LEASE: "free", PREVIOUS: "blue=diabetes:2"},
            ),
            {"diabetes": "3"},
        ),
        status_of(
            endpoint(
                one("a", model="churn:9"),
                one("b", model="churn:10"),
                traffic={"a": 90, "b": 10},
                mirror_traffic={"b": 0},
                tags={PAUSED: "canary", REJECTED: "churn:11"},
            ).model_copy(update={"name": "churn"}),
            {"churn": "11"},
        ),
        status_of(endpoint(foreign("x"), traffic={}).model_copy(update={"name": "other"}), {}),
    ),
)


def test_a_pipe_gets_a_line_per_endpoint_and_a_line_per_problem() -> None:
    assert [line.split("  ") for line in collapsed(plain(EVERYTHING))] == [
        ["endpoint", "traffic", "model", "since", "last rollout", "without traffic"],
        [
            "diabetes",
            "green 100 %",
            "diabetes:3 (newest)",
            AT,
            f"promoted {AT}",
            "blue (small cost: 1 x Standard_DS3_v2, kept to roll back to), "
            "red (small cost: 1 x Standard_DS3_v2, Failed)",
        ],
        [
            "churn",
            "a 90 %, b 10 %",
            "churn:9 (newest is 11), churn:10 (newest is 11)",
            AT,
            "- (paused: canary; rejected: churn:11)",
            "-",
        ],
        ["other (not Rollway's)", "nothing", "-", "-", "-", "x (unknown cost: 1 x unknown size)"],
        ["! diabetes: red is Failed"],
    ]


def test_the_columns_of_a_pipe_are_aligned() -> None:
    lines = plain(EVERYTHING).splitlines()[:4]

    assert (
        len({line.index(word) for line, word in zip(lines, ("traffic", "green", "a 90", "nothing"), strict=True)}) == 1
    )
    assert not [line for line in lines if line != line.rstrip()]


def test_a_terminal_gets_a_table_with_everything_in_it() -> None:
    screen = io.StringIO()

    show(EVERYTHING, Console(file=screen, width=220, force_terminal=True, color_system=None))

    text = screen.getvalue()
    assert "rg/[ws]" in text
    for word in ("diabetes:3 (newest)", "a 90 %, b 10 %", "other (not Rollway's)", "│"):
        assert word in text
    assert "! diabetes: red is Failed\n" in text


def test_an_empty_workspace_says_so() -> None:
    screen = io.StringIO()
    empty = WorkspaceStatus(workspace="rg/[ws]")

    show(empty, Console(file=screen, width=100))

    assert plain(empty) == "no endpoints in rg/[ws]"
    assert screen.getvalue() == "no endpoints in rg/[ws]\n"


def collapsed(text: str) -> list[str]:
    """Lines with exactly two blanks between columns."""
    return ["  ".join(part.strip() for part in line.split("  ") if part.strip()) for line in text.splitlines()]
