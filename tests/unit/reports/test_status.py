"""The status of a workspace as people read it, in a pipe and on a terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from rollway.reports.status import plain, show
from rollway.rollout.costs import CostClass
from rollway.rollout.entries import Failures
from rollway.rollout.status import (
    EndpointStatus,
    LastOutcome,
    LastRollout,
    OnlineDeploymentStatus,
    Role,
    WorkspaceStatus,
)

AT, LATER = "2026-01-02T03:04:05+00:00", "2026-01-02T04:04:05+00:00"


def one(name: str, role: Role, weight: int = 0, **changes: Any) -> OnlineDeploymentStatus:
    """An online deployment."""
    values: dict[str, Any] = {
        "provisioning_state": "Succeeded",
        "model": "diabetes:3",
        "newest": "3",
        "instance_type": "Standard_DS3_v2",
        "instance_count": 1,
        "cost": CostClass.SMALL,
        "created_at": AT,
    }
    return OnlineDeploymentStatus(name=name, role=role, weight=weight, **{**values, **changes})


def endpoint(name: str, *behind: OnlineDeploymentStatus, **changes: Any) -> EndpointStatus:
    """An endpoint of Rollway."""
    values = {"is_ours": True, "provisioning_state": "Succeeded", "online_deployments": behind, **changes}
    return EndpointStatus(name=name, **values)


EVERYTHING = WorkspaceStatus(
    workspace="rg/[ws]",
    endpoints=(
        endpoint(
            "diabetes",
            one("blue", Role.PREVIOUS, model="diabetes:2", stays_until=LATER),
            one("green", Role.LIVE, 100),
            one("red", Role.LEFTOVER, provisioning_state="Failed"),
            live_since=AT,
            last_rollout=LastRollout(outcome=LastOutcome.PROMOTED, run="run/1", at=AT),
            problems=("red is Failed",),
        ),
        endpoint(
            "churn",
            one("a", Role.LIVE, 90, model="churn:9", newest="11"),
            one("b", Role.LIVE, 10, model="churn:10", newest="11"),
            live_since=AT,
            canary="b",
            pause_reason="canary at 10 %",
            rejected=("churn:11/0a1b2c3d",),
        ),
        endpoint(
            "other",
            one("x", Role.LEFTOVER, cost=CostClass.UNKNOWN, instance_type=None),
            is_ours=False,
        ),
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
            f"blue (small cost: 1 x Standard_DS3_v2, kept to roll back to until {LATER} at least), "
            "red (small cost: 1 x Standard_DS3_v2, Failed)",
        ],
        [
            "churn",
            "a 90 %, b 10 %",
            "churn:9 (newest is 11), churn:10 (newest is 11)",
            AT,
            "- (b waits for promote or abort; paused: canary at 10 %; rejected: churn:11/0a1b2c3d)",
            "-",
        ],
        ["other (not Rollway's)", "nothing", "-", "-", "-", "x (unknown cost: 1 x unknown size)"],
        ["! diabetes: red is Failed"],
    ]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"order": "hold by ann: month end"}, "told to hold by ann: month end"),
        (
            {"failures": Failures(content="0a1b2c3d", count=3, at=AT)},
            f"temporary failures: 3, last at {AT}",
        ),
        ({"pause_reason": "abort by ann: wrong answers"}, "paused: abort by ann: wrong answers"),
    ],
    ids=["order", "failures", "pause"],
)
def test_what_holds_automation_back_is_noted_beside_the_last_rollout(changes: dict[str, Any], note: str) -> None:
    last = LastRollout(outcome=LastOutcome.ABORTED, run="run/1", at=AT)
    status = WorkspaceStatus(workspace="ws", endpoints=(endpoint("diabetes", last_rollout=last, **changes),))

    assert collapsed(plain(status))[1].split("  ")[4] == f"aborted {AT} ({note})"


def test_where_the_folder_is_unknown_a_replaced_one_is_kept_for_an_unknown_time() -> None:
    status = WorkspaceStatus(workspace="ws", endpoints=(endpoint("diabetes", one("blue", Role.PREVIOUS)),))

    assert plain(status).endswith("blue (small cost: 1 x Standard_DS3_v2, kept to roll back to)")


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
