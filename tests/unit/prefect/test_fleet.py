"""The flow runs of a fleet: how far a run is, and which one a folder gets."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import FlowRun, State, StateType

from rollway.errors import ConfigurationError, NotFound
from rollway.prefect import fleet
from rollway.rollout.fleet import Member, Progress

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = Member(rollout="diabetes", wave=2)


def run_in(state: StateType, name: str, message: str | None = None, **values: Any) -> FlowRun:
    return FlowRun(flow_id=uuid4(), state=State(type=state, name=name, message=message), start_time=NOON, **values)


@pytest.mark.parametrize(
    ("state", "name", "message", "progress", "why"),
    [
        (StateType.PENDING, "Pending", None, Progress.RUNNING, "Pending"),
        (StateType.RUNNING, "Running", None, Progress.RUNNING, "Running"),
        (StateType.SCHEDULED, "AwaitingRetry", "bake: step 1 of 2", Progress.RUNNING, "bake: step 1 of 2"),
        (StateType.SCHEDULED, "AwaitingRetry", "hold: no data", Progress.HELD, "hold: no data"),
        (
            StateType.SCHEDULED,
            "AwaitingRetry",
            "wait for confirmation: 5 %",
            Progress.HELD,
            "wait for confirmation: 5 %",
        ),
        (StateType.COMPLETED, "Completed", "All states completed.", Progress.DONE, ""),
        (StateType.COMPLETED, "Completed", None, Progress.DONE, ""),
        (StateType.COMPLETED, "Completed", "held: told to hold by ann", Progress.HELD, "told to hold by ann"),
        (StateType.FAILED, "Failed", "it failed\n  try: again", Progress.FAILED, "it failed"),
        (StateType.CRASHED, "Crashed", None, Progress.FAILED, "Crashed"),
        (StateType.CANCELLED, "Cancelled", None, Progress.FAILED, "Cancelled"),
    ],
)
def test_the_state_of_a_run_tells_how_far_its_folder_is(
    state: StateType, name: str, message: str | None, progress: Progress, why: str
) -> None:
    run = run_in(state, name, message)

    after = fleet.after(ONE, run)

    assert (after.progress, after.why, after.run, after.started) == (progress, why, str(run.id), NOON)


def test_a_run_that_is_under_way_counts_as_the_folders_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> FlowRun:
        raise AssertionError("no other run is started")

    monkeypatch.setattr(fleet, "run_deployment", refuse)
    under_way = run_in(StateType.RUNNING, "Running")

    assert asyncio.run(fleet.start(ONE, "person", "key", under_way)).run == str(under_way.id)


def test_a_fleet_does_not_wait_for_a_run_that_was_never_started(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_in(StateType.PENDING, "Submitting")
    member = ONE.model_copy(update={"run": str(run.id)})

    class Server:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def read_flow_runs(self, **_: Any) -> list[FlowRun]:
            return [run.model_copy()]

        async def set_flow_run_state(self, _: UUID, state: State[Any]) -> None:
            run.state = state

    monkeypatch.setattr(fleet, "get_client", Server)
    assert run.state
    seen = [
        asyncio.run(fleet.read([member], run.state.timestamp + timedelta(minutes=after)))[0].progress
        for after in (29, 31, 32)
    ]

    assert seen == [Progress.RUNNING, Progress.RUNNING, Progress.FAILED]


def test_a_folder_gets_a_run_of_its_own_prefect_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    async def create(*arguments: Any, **options: Any) -> FlowRun:
        asked.append((*arguments, options))
        return run_in(StateType.SCHEDULED, "Scheduled")

    monkeypatch.setattr(fleet, "run_deployment", create)
    started = asyncio.run(fleet.start(ONE, "schedule", "fleet-run/diabetes", None))

    assert started.progress is Progress.RUNNING
    parameters = {"rollout": "diabetes", "requested_by": "schedule"}
    assert asked == [("deploy-endpoint/diabetes", "diabetes", parameters, {"key": "fleet-run/diabetes"})]


def test_a_folder_without_a_prefect_deployment_has_failed_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: Any, **__: Any) -> FlowRun:
        raise NotFound("there is no Prefect deployment deploy-endpoint/diabetes")

    monkeypatch.setattr(fleet, "run_deployment", refuse)
    after = asyncio.run(fleet.start(ONE, "person", "key", None))

    assert (after.progress, after.why) == (Progress.FAILED, "there is no Prefect deployment deploy-endpoint/diabetes")


def test_a_fleet_needs_a_server_with_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nowhere:
        def value(self) -> None:
            return None

    monkeypatch.setattr(fleet, "PREFECT_API_URL", Nowhere())

    with pytest.raises(ConfigurationError, match="none is configured"):
        fleet.require_workers()
