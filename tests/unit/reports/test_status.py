"""The status of a workspace as people read it, in a pipe and on a terminal."""

import io
from typing import Any

import pytest
from rich.console import Console

from rollway.reports.status import Watch, plain, table
from rollway.rollout.costs import CostClass
from rollway.rollout.entries import Failures
from rollway.rollout.evidence import Verdict
from rollway.rollout.progress import evidence_of
from rollway.rollout.status import (
    EndpointStatus,
    LastOutcome,
    LastRollout,
    OnlineDeploymentStatus,
    Role,
    WorkspaceStatus,
)
from tests.unit.reports.test_progress import FOUND, PROGRESSION, minutes

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

    Console(file=screen, width=220, force_terminal=True, color_system=None).print(table(EVERYTHING))

    text = screen.getvalue()
    assert "rg/[ws]" in text
    for word in ("diabetes:3 (newest)", "a 90 %, b 10 %", "other (not Rollway's)", "│"):
        assert word in text
    assert "! diabetes: red is Failed\n" in text


def test_an_empty_workspace_says_so() -> None:
    screen = io.StringIO()
    empty = WorkspaceStatus(workspace="rg/[ws]")

    Console(file=screen, width=100).print(table(empty))

    assert plain(empty) == "no endpoints in rg/[ws]"
    assert screen.getvalue() == "no endpoints in rg/[ws]\n"


def status_with(canary_errors: int) -> WorkspaceStatus:
    shown = endpoint(
        "diabetes", one("green", Role.LIVE, 25), evidence=evidence_of(FOUND, PROGRESSION, minutes(canary_errors))
    )
    return WorkspaceStatus(workspace="rg/ws", endpoints=(shown,))


def watched(*shown: tuple[WorkspaceStatus, str], is_terminal: bool = False, as_json: bool = False) -> str:
    """Return the output for a person or a pipe, of a status that is shown again and again."""
    screen = io.StringIO()
    console = Console(file=screen, width=100, force_terminal=is_terminal, color_system=None)
    with Watch(console, as_json=as_json) as watch:
        for status, problem in shown:
            watch.show(status, problem)
    return screen.getvalue()


def test_a_pipe_that_watches_gets_the_evidence_after_each_change() -> None:
    good, bad = status_with(0), status_with(3)

    text = watched((good, ""), (good, ""), (bad, ""), (bad, "Azure is away"))

    assert text.count("diabetes  green 25 %") == 3, "once for each change"
    assert text.count("errors       ▁▁▁▁▁▁▁▁▁▁▁▁▁ 0.0 %") == 1
    assert text.count("errors       █████████████ 15.0 %") == 2
    assert text.endswith("\n! Azure is away\n")


def test_a_terminal_that_watches_shows_the_newest_status_in_place() -> None:
    text = watched((status_with(0), ""), (status_with(3), "Azure is away"), is_terminal=True)

    assert "✓ 5 % (gate)   ▶ 25 %   · 100 %" in text
    assert "Ctrl-C ends" in text
    assert "could not read it again: Azure is away" in text
    assert "\x1b[2K" in text, "the earlier status is erased"


def test_a_script_that_watches_gets_a_document_in_a_line() -> None:
    lines = watched(
        (status_with(0), ""), (status_with(3), ""), (status_with(3), "Azure is away"), as_json=True
    ).splitlines()

    found = [WorkspaceStatus.model_validate_json(line).endpoints[0].evidence for line in lines]
    assert [one.judgement.verdict for one in found if one] == [Verdict.SUCCESSFUL, Verdict.FAILED]


def collapsed(text: str) -> list[str]:
    """Lines with exactly two blanks between columns."""
    return ["  ".join(part.strip() for part in line.split("  ") if part.strip()) for line in text.splitlines()]
