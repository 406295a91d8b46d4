"""The flow of a fleet asks for its rollouts as whoever asked for the fleet."""

import asyncio
from types import SimpleNamespace

import pytest

import flows.fleet
from rollway.prefect import run
from rollway.prefect.parameters import Requester
from rollway.rollout.fleet import Fleet, Progress, fleet_of


@pytest.mark.parametrize(
    ("is_scheduled", "given", "asked"),
    [
        (False, "person", "person"),
        (True, "person", "schedule"),
        (True, "watcher", "watcher"),
        (False, "schedule", "schedule"),
    ],
)
def test_a_fleet_that_prefects_scheduler_started_is_asked_for_by_a_schedule(
    monkeypatch: pytest.MonkeyPatch, is_scheduled: bool, given: Requester, asked: str
) -> None:
    requesters: list[str] = []

    async def choose(*_: object) -> Fleet:
        return fleet_of(["a", "b"], at_most=1)

    async def roll_out(fleet: Fleet, number: int, requested_by: str) -> Fleet:
        requesters.append(requested_by)
        assert [one.wave for one in fleet.due] == [number]
        return fleet.after([one.model_copy(update={"progress": Progress.DONE}) for one in fleet.due])

    async def report(*_: object) -> None:
        pass

    context = SimpleNamespace(flow_run=SimpleNamespace(auto_scheduled=is_scheduled))
    monkeypatch.setattr(run, "FlowRunContext", SimpleNamespace(get=lambda: context))
    monkeypatch.setattr(flows.fleet, "choose_folders", choose)
    monkeypatch.setattr(flows.fleet, "roll_out_wave", roll_out)
    monkeypatch.setattr(flows.fleet, "report_fleet", report)

    asyncio.run(flows.fleet.deploy_fleet.fn(requested_by=given))

    assert requesters == [asked, asked]
