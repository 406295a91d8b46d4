"""The status of a workspace as people read it, in a pipe and on a terminal."""

import io
import re
from datetime import timedelta
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
from tests.support.builders import NOW
from tests.unit.reports.test_progress import FOUND, PROGRESSION, minutes

AT, LATER = "2026-01-02T03:04:05+00:00", "2026-01-02T04:04:05+00:00"
READ = NOW + timedelta(minutes=3)


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
    at=READ,
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


def test_a_pipe_gets_one_line_per_endpoint_with_times_that_do_not_change() -> None:
    at, later = "2026-01-02 03:04 UTC", "2026-01-02 04:04 UTC"

    assert [line.split("  ") for line in collapsed(plain(EVERYTHING))] == [
        ["endpoint", "traffic", "model", "since", "last rollout", "notes", "without traffic", "problems"],
        [
            "diabetes",
            "green 100 %",
            "diabetes:3 (newest)",
            at,
            f"promoted {at}",
            "-",
            f"blue (small cost: 1 x Standard_DS3_v2, to roll back to, until {later} at least), "
            "red (small cost: 1 x Standard_DS3_v2, Failed)",
            "red is Failed",
        ],
        [
            "churn",
            "a 90 %, b 10 %",
            "churn:9 (newest is 11), churn:10 (newest is 11)",
            at,
            "-",
            "b waits for promote or abort; paused: canary at 10 %; rejected: churn:11/0a1b2c3d",
            "-",
            "-",
        ],
        ["other (not Rollway's)", "nothing", "-", "-", "-", "-", "x (unknown cost: 1 x unknown size)", "-"],
    ]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"order": "hold by ann: month end"}, "told to hold by ann: month end"),
        (
            {"failures": Failures(content="0a1b2c3d", count=3, at=AT)},
            "temporary failures: 3, last at 2026-01-02 03:04 UTC",
        ),
        ({"pause_reason": "abort by ann: wrong answers"}, "paused: abort by ann: wrong answers"),
    ],
    ids=["order", "failures", "pause"],
)
def test_what_holds_automation_back_is_noted_beside_the_last_rollout(changes: dict[str, Any], note: str) -> None:
    last = LastRollout(outcome=LastOutcome.ABORTED, run="run/1", at=AT)
    status = WorkspaceStatus(workspace="ws", at=READ, endpoints=(endpoint("diabetes", last_rollout=last, **changes),))

    assert collapsed(plain(status))[1].split("  ")[4:6] == ["aborted 2026-01-02 03:04 UTC", note]


def test_where_the_folder_is_unknown_a_replaced_one_is_kept_for_an_unknown_time() -> None:
    status = WorkspaceStatus(workspace="ws", at=READ, endpoints=(endpoint("diabetes", one("blue", Role.PREVIOUS)),))

    assert collapsed(plain(status))[1].endswith("blue (small cost: 1 x Standard_DS3_v2, to roll back to)  -")


def test_the_columns_of_a_pipe_are_aligned() -> None:
    lines = plain(EVERYTHING).splitlines()[:4]

    assert (
        len({line.index(word) for line, word in zip(lines, ("traffic", "green", "a 90", "nothing"), strict=True)}) == 1
    )
    assert not [line for line in lines if line != line.rstrip()]


def shown(status: WorkspaceStatus, width: int = 80, **options: Any) -> str:
    """The table on a terminal of so many columns, without blanks at the ends of lines."""
    screen = io.StringIO()
    values = {"force_terminal": True, "color_system": None, **options}
    Console(file=screen, width=width, **values).print(table(status))
    return "\n".join(line.rstrip() for line in screen.getvalue().splitlines())


def test_a_terminal_of_80_columns_gets_a_line_per_online_deployment_and_says_how_long_ago() -> None:
    assert (
        shown(EVERYTHING)
        == """\
rg/[ws]
endpoint               traffic  rollout, model
diabetes                        promoted 3 min ago
  green                  100 %  diabetes:3 (newest)
  blue                          diabetes:2 (newest is 3), to roll back to, 57
                                min more, small cost: 1 x Standard_DS3_v2
  red                           diabetes:3 (newest), small cost: 1 x
                                Standard_DS3_v2, Failed
churn                           traffic is so for 3 min
                                b waits for promote or abort
                                paused: canary at 10 %
                                rejected: churn:11/0a1b2c3d
  a                       90 %  churn:9 (newest is 11)
  b                       10 %  churn:10 (newest is 11)
other (not Rollway's)           nothing serves yet
  x                             diabetes:3 (newest), unknown cost: 1 x unknown
                                size
! diabetes: red is Failed"""
    )


def test_the_longest_names_that_azure_allows_fit_into_80_columns() -> None:
    name = "n" * 32
    long = WorkspaceStatus(workspace="rg/ws", at=READ, endpoints=(endpoint(name, one(name, Role.LIVE, 100)),))

    lines = shown(long).splitlines()

    assert max(map(len, lines)) <= 80
    assert lines[3] == f"  {name}    100 %  diabetes:3 (newest)"


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (LastOutcome.RUNNING, "running for 3 min"),
        (LastOutcome.UNDERWAY, "under way for 3 min"),
        (LastOutcome.ABORTED, "aborted 3 min ago"),
        (LastOutcome.ORPHANED, "orphaned, last seen 3 min ago"),
        (LastOutcome.UNCONFIRMED, "unconfirmed 3 min ago"),
    ],
)
def test_a_rollout_that_was_not_promoted_is_called_so(outcome: LastOutcome, words: str) -> None:
    last = LastRollout(outcome=outcome, run="run/1", at=AT)
    one_endpoint = endpoint("diabetes", one("green", Role.LIVE, 100), last_rollout=last, live_since=AT)

    lines = shown(WorkspaceStatus(workspace="ws", at=READ, endpoints=(one_endpoint,))).splitlines()

    assert lines[2].split("  ")[-1].strip() == f"{words}, traffic is so for 3 min"


GREEN, YELLOW, RED = "\x1b[1;32m", "\x1b[1;33m", "\x1b[1;31m"


@pytest.mark.parametrize(
    ("changes", "colour"),
    [
        ({"last_rollout": LastRollout(outcome=LastOutcome.PROMOTED, at=AT)}, GREEN),
        ({"last_rollout": LastRollout(outcome=LastOutcome.ABORTED, at=AT)}, YELLOW),
        ({"pause_reason": "rolled back"}, YELLOW),
        ({"problems": ("the endpoint is Failed",)}, RED),
    ],
    ids=["promoted", "aborted", "paused", "a problem"],
)
def test_the_colour_of_a_name_says_how_it_is(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], colour: str
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    found = endpoint("diabetes", one("green", Role.LIVE, 100), **changes)

    text = shown(WorkspaceStatus(workspace="ws", at=READ, endpoints=(found,)), color_system="standard")

    assert f"{colour}diabetes" in text


def test_no_colour_is_shown_to_those_who_want_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    text = shown(EVERYTHING, color_system="standard")

    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


def test_a_command_in_a_problem_is_written_as_a_person_calls_it_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollway.terminal.program", lambda: ".venv/bin/rollway")
    found = endpoint("diabetes", problems=("`rollway deploy deployments/diabetes` goes on with it",))
    status = WorkspaceStatus(workspace="ws", at=READ, endpoints=(found,))

    assert plain(status).endswith("`.venv/bin/rollway deploy deployments/diabetes` goes on with it")
    assert shown(status).endswith("! diabetes: `.venv/bin/rollway deploy deployments/diabetes` goes on with it")


def test_an_empty_workspace_says_so() -> None:
    screen = io.StringIO()
    empty = WorkspaceStatus(workspace="rg/[ws]", at=READ)

    Console(file=screen, width=100).print(table(empty))

    assert plain(empty) == "no endpoints in rg/[ws]"
    assert screen.getvalue() == "no endpoints in rg/[ws]\n"


def status_with(canary_errors: int) -> WorkspaceStatus:
    shown = endpoint(
        "diabetes", one("green", Role.LIVE, 25), evidence=evidence_of(FOUND, PROGRESSION, minutes(canary_errors))
    )
    return WorkspaceStatus(workspace="rg/ws", at=READ, endpoints=(shown,))


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
