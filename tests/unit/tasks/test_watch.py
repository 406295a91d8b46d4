"""The watcher's tasks: one run per endpoint, and no run for a folder that cannot have one."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from rollway.prefect import watching
from rollway.rollout.watch import EndedRun, Finding, Look, Verdict, broken
from rollway.settings import Workspace
from tasks import watch

WORKSPACE = Workspace(subscription_id="s", resource_group="rg", name="ws")
BROKEN = broken("broken", ValueError("no"))


class Prefect:
    """The watcher's view of Prefect: runs that have not ended, and those that have; `started` are new ones."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.under_way: dict[str, Any] = {}
        self.ended: tuple[EndedRun, ...] = ()
        self.crashed: frozenset[str] = frozenset()
        self.blocks: dict[str, str | None] = {}
        self.started: list[str] = []
        for name in ("workspace_blocks", "runs_under_way", "ended_runs", "crashed_rollouts", "start_run"):
            monkeypatch.setattr(watching, name, getattr(self, f"_{name}"))
        monkeypatch.setattr(watch, "get_run_logger", lambda: logging.getLogger("run"))

    async def _workspace_blocks(self) -> dict[str, str | None]:
        return self.blocks

    async def _runs_under_way(self, _: datetime) -> dict[str, Any]:
        return self.under_way

    async def _crashed_rollouts(self, _: datetime) -> frozenset[str]:
        return self.crashed

    async def _ended_runs(self, _: str) -> tuple[EndedRun, ...]:
        return self.ended

    async def _start_run(self, finding: Finding) -> Any:
        if finding.rollout == "lost":
            raise watching.no_deployment("deploy-endpoint/lost")
        self.started.append(finding.rollout)
        return SimpleNamespace(id=f"run of {finding.rollout}", name="a run")


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Prefect:
    return Prefect(monkeypatch)


def due(rollout: str, verdict: Verdict = Verdict.START) -> Look:
    finding = Finding(rollout=rollout, endpoint=rollout, workspace=WORKSPACE, verdict=verdict, reason="newest version")
    return Look(rollout=rollout, finding=finding)


def act(task: Any, *arguments: Any) -> Any:
    """The result of a task's own code, without a run around it."""
    return asyncio.run(task.fn.__wrapped__(*arguments))


def test_a_run_is_started_only_where_something_is_due(prefect: Prefect) -> None:
    looks = act(watch.start_runs, [due("old"), due("new", Verdict.UP_TO_DATE), BROKEN])

    assert prefect.started == ["old"]
    assert [one.finding and (one.finding.verdict, one.finding.run) for one in looks] == [
        (Verdict.START, "run of old"),
        (Verdict.UP_TO_DATE, None),
        None,
    ]


@pytest.mark.parametrize(
    ("verdict", "newest_has_crashed", "is_started"),
    [
        (Verdict.UP_TO_DATE, True, True),
        (Verdict.NOTHING_ELIGIBLE, True, True),
        (Verdict.HELD_BACK, True, False),
        (Verdict.UP_TO_DATE, False, False),
    ],
    ids=["nothing else is due", "nothing eligible", "the endpoint is paused", "a later run did not crash"],
)
def test_another_run_goes_on_with_a_rollout_whose_run_crashed(
    prefect: Prefect, verdict: Verdict, newest_has_crashed: bool, is_started: bool
) -> None:
    crash = EndedRun(id="crash", at=datetime.now(UTC), has_failed=True, has_crashed=True)
    good = EndedRun(id="good", at=datetime.now(UTC), has_failed=False)
    prefect.crashed = frozenset({"old"})
    prefect.ended = (crash, good) if newest_has_crashed else (good, crash)

    [look] = act(watch.start_runs, [due("old", verdict)])

    assert prefect.started == (["old"] if is_started else [])
    assert look.finding
    assert ("its last run crash crashed" in look.finding.reason) is is_started


def test_after_several_crashes_the_next_run_waits(prefect: Prefect) -> None:
    now = datetime.now(UTC)
    prefect.crashed = frozenset({"old"})
    prefect.ended = tuple(
        EndedRun(id=f"crash {number}", at=now, has_failed=True, has_crashed=True) for number in range(2)
    )

    [look] = act(watch.start_runs, [due("old", Verdict.UP_TO_DATE)])

    assert prefect.started == []
    assert look.finding
    assert (look.finding.verdict, "the last 2 runs failed" in look.finding.reason) == (Verdict.HELD_BACK, True)


def test_a_run_that_has_not_ended_is_not_started_twice(prefect: Prefect) -> None:
    prefect.under_way = {"old": SimpleNamespace(id=uuid4(), state_name="Late")}

    [look] = act(watch.start_runs, [due("old")])

    assert prefect.started == []
    assert (look.finding.verdict, look.finding.run) == (Verdict.RUNNING, str(prefect.under_way["old"].id))
    assert look.finding.reason == "newest version; a run has not ended, it is Late"


def test_a_run_that_failed_before_it_wrote_anything_is_not_started_again_at_once(prefect: Prefect) -> None:
    prefect.ended = (EndedRun(id="failed", at=datetime.now(UTC) - timedelta(minutes=1), has_failed=True),)

    [look] = act(watch.start_runs, [due("old")])

    assert prefect.started == []
    assert look.finding.verdict is Verdict.HELD_BACK
    assert look.finding.reason.startswith("newest version; the last run failed before anything could be written down")


def test_a_run_that_cannot_be_started_does_not_keep_the_others_from_starting(prefect: Prefect) -> None:
    lost, old = act(watch.start_runs, [due("lost"), due("old")])

    assert prefect.started == ["old"]
    assert lost.error.startswith("there is no Prefect deployment deploy-endpoint/lost; where: prefect.yaml")
    assert old.finding.run == "run of old"


def test_folders_are_watched_by_workspace_and_those_without_a_prefect_deployment_are_broken(
    prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.blocks = {"one": None, "two": "production", "three": None}
    monkeypatch.setattr(watch, "known_rollouts", lambda: ["one", "three", "two", "zero"])

    found = act(watch.list_rollouts)

    assert found.by_block == ((None, ("one", "three")), ("production", ("two",)))
    assert [(one.rollout, one.error.partition(";")[0]) for one in found.lost] == [
        ("zero", "there is no Prefect deployment deploy-endpoint/zero")
    ]


def test_findings_and_newly_broken_folders_are_announced_and_told_in_a_table(
    prefect: Prefect, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, str]] = []
    tables: list[Any] = []

    async def last_table() -> Any:
        return tables[-1] if tables else []

    async def publish(key: str, rows: Any, _: str) -> None:
        assert key == "watch-endpoints"
        tables.append(rows)

    monkeypatch.setattr(watching, "last_table", last_table)
    monkeypatch.setattr(watch, "publish_table", publish)
    monkeypatch.setattr(
        "rollway.prefect.events.emit_event",
        lambda name, resource, **_: events.append((name, resource["prefect.resource.id"])),
    )

    for _ in range(2):
        act(watch.report_looks, [due("old"), BROKEN])

    assert [[row["verdict"] for row in rows] for rows in tables] == [["start", "error"], ["start", "error"]]
    assert events == [
        ("rollway.folder.broken", "rollway.rollout.broken"),
        ("rollway.folder.start", "rollway.rollout.old"),
        ("rollway.folder.start", "rollway.rollout.old"),
    ]
