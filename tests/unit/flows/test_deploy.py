"""The end of a rollout's flow tells who follows its run how it ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed

import flows.deploy
from rollway.prefect import fleet
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.rollout.fleet import Member, Progress
from rollway.rollout.moves import Outcome, end
from rollway.rollout.request import Request
from tests.support.builders import planned_rollout
from tests.unit.reports.test_rollout import a_report


@contextlib.asynccontextmanager
async def nothing(*_: object, **__: object) -> AsyncIterator[None]:
    yield


def roll_out(monkeypatch: pytest.MonkeyPatch, report: RolloutReport) -> Any:
    """Run the flow's own code, with tasks that find nothing to do."""

    def task(answer: object) -> Any:
        async def answered(*_: object, **__: object) -> Any:
            return answer

        return answered

    planned = planned_rollout()
    for name in ("aborted_if_it_fails", "one_at_a_time"):
        monkeypatch.setattr(flows.deploy, name, nothing)
    for name, answer in {
        "read_rollout": planned.spec,
        "connect": planned,
        "resolve_model": (),
        "register_environment": None,
        "make_plan": planned,
        "next_move": end(Outcome.HELD, "main", "told to hold by ann"),
        "write_report": report,
    }.items():
        monkeypatch.setattr(flows.deploy, name, task(answer))
    return asyncio.run(flows.deploy.roll_out(Request(folder="diabetes")))


@pytest.mark.parametrize(
    ("outcome", "progress", "why"),
    [(RolloutOutcome.HELD, Progress.HELD, "told to hold by ann"), (RolloutOutcome.NO_OP, Progress.DONE, "")],
    ids=["held", "nothing to do"],
)
def test_a_fleet_counts_a_run_that_ended_held_as_held(
    monkeypatch: pytest.MonkeyPatch, outcome: RolloutOutcome, progress: Progress, why: str
) -> None:
    returned = roll_out(monkeypatch, a_report(outcome).model_copy(update={"end": "told to hold by ann"}))
    run = FlowRun(flow_id=uuid4(), state=returned if isinstance(returned, State) else Completed())

    after = fleet.after(Member(rollout="diabetes", wave=1), run)

    assert (after.progress, after.why) == (progress, why)
