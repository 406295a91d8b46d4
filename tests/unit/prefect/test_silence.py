"""A run is set to Crashed only if it is Running and nobody has heard of it for too long."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Self, cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.events.filters import EventFilter
from prefect.states import AwaitingRetry, Completed, Crashed, Pending, Running, Suspended

from rollway.prefect import silence
from rollway.prefect.silence import crash_if_silent, crash_never_started, has_fallen_silent

RUN = uuid4()
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Server:
    """A Prefect server with one run; `heartbeat` is the age of its last heartbeat in seconds."""

    def __init__(self, state: State[Any], heartbeat: float | None) -> None:
        self.state, self.heartbeat = state, heartbeat
        self.became: list[State[Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_flow_run(self, run: UUID) -> Any:
        return SimpleNamespace(id=run, state=self.state, state_name=self.state.name)

    async def read_events(self, asked: EventFilter, limit: int) -> Any:
        assert (limit, asked.order.value) == (1, "DESC")
        assert asked.event is not None
        assert asked.resource is not None
        assert asked.event.name == ["prefect.flow-run.heartbeat"]
        assert asked.resource.id == [f"prefect.flow-run.{RUN}"]
        ages = [] if self.heartbeat is None else [self.heartbeat]
        return SimpleNamespace(events=[SimpleNamespace(received=NOW - timedelta(seconds=age)) for age in ages])

    async def set_flow_run_state(self, run: UUID, state: State[Any]) -> None:
        assert run == RUN
        self.became.append(state)


def check(monkeypatch: pytest.MonkeyPatch, server: Server) -> str:
    monkeypatch.setattr(silence, "get_client", lambda: server)
    return asyncio.run(crash_if_silent(RUN, NOW, 90))


def since(state: State[Any], seconds: float) -> State[Any]:
    return state.model_copy(update={"timestamp": NOW - timedelta(seconds=seconds)})


@pytest.mark.parametrize(("started", "heartbeat"), [(600, 90), (600, 120), (95, None)])
def test_a_running_run_that_nobody_has_heard_of_becomes_crashed(
    monkeypatch: pytest.MonkeyPatch, started: float, heartbeat: float | None
) -> None:
    server = Server(since(Running(), started), heartbeat)

    found = check(monkeypatch, server)

    assert found == f"it was silent for {heartbeat or started:.0f} s and is Crashed now"
    assert [(state.type, state.name, state.message) for state in server.became] == [
        (Crashed().type, "Crashed", "no heartbeat: its worker or machine is gone")
    ]


@pytest.mark.parametrize(("started", "heartbeat", "heard"), [(600, 89, 89), (20, 300, 20), (20, None, 20)])
def test_a_run_that_was_heard_of_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, started: float, heartbeat: float | None, heard: int
) -> None:
    server = Server(since(Running(), started), heartbeat)

    assert check(monkeypatch, server) == f"it is alive: its last sign of life was {heard} s ago"
    assert server.became == []


@pytest.mark.parametrize("state", [AwaitingRetry(), Suspended(), Completed()], ids=lambda state: state.name)
def test_a_run_that_waits_or_has_ended_is_left_alone_however_silent_it_is(
    monkeypatch: pytest.MonkeyPatch, state: State[Any]
) -> None:
    server = Server(since(state, 6000), 6000)

    assert check(monkeypatch, server) == f"it is {state.name}, not running"
    assert server.became == []


@pytest.mark.parametrize(
    ("state", "heartbeat", "is_silent"),
    [(Running(), 90, True), (Running(), 89, False), (Running(), None, False), (Completed(), 6000, False)],
    ids=["silent", "alive", "sends none", "ended"],
)
def test_only_a_running_run_that_has_sent_heartbeats_can_fall_silent(
    monkeypatch: pytest.MonkeyPatch, state: State[Any], heartbeat: float | None, is_silent: bool
) -> None:
    monkeypatch.setattr(silence, "get_client", lambda: Server(since(state, 6000), heartbeat))

    assert asyncio.run(has_fallen_silent(RUN, NOW, 90)) is is_silent


SUBMITTING: State[Any] = Pending().model_copy(update={"name": "Submitting"})


@pytest.mark.parametrize("state", [Pending(), SUBMITTING], ids=lambda state: state.name)
@pytest.mark.parametrize(("seconds", "is_lost"), [(1799, False), (1800, True)])
def test_a_run_that_its_worker_has_never_started_becomes_crashed(
    state: State[Any], seconds: float, is_lost: bool
) -> None:
    server = Server(state, None)
    run = FlowRun(id=RUN, flow_id=uuid4(), state=since(state, seconds))

    others = asyncio.run(crash_never_started(cast(PrefectClient, server), [run], NOW))

    assert others == ([] if is_lost else [run])
    crashed = ["Pending for 30 min: the worker that took it is gone, or cannot start it"]
    assert [state.message for state in server.became if state.is_crashed()] == (crashed if is_lost else [])


@pytest.mark.parametrize("state", [Running(), AwaitingRetry()], ids=lambda state: state.name)
def test_a_run_that_was_started_is_no_run_that_was_never_started(state: State[Any]) -> None:
    server = Server(state, None)
    run = FlowRun(id=RUN, flow_id=uuid4(), state=since(state, 86_400))

    assert asyncio.run(crash_never_started(cast(PrefectClient, server), [run], NOW)) == [run]
    assert server.became == []
