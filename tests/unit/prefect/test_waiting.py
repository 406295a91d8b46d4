"""Long waits: the state of the run, its process id, and who wakes it."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Abort, Pause

from rollway.errors import PrefectUnavailable
from rollway.prefect import waiting
from rollway.prefect.labels import STARTED

RUN = uuid4()


class Server:
    """A Prefect server; `status` is its answer to a new state."""

    def __init__(self) -> None:
        self.status = SetStateStatus.ACCEPT
        self.patched: list[tuple[str, dict[str, Any]]] = []
        self.states: list[Any] = []
        self.before: list[State[Any]] = []
        self.labels: dict[str, str] = {}
        self._client = self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def patch(self, path: str, json: dict[str, Any]) -> None:
        self.patched.append((path, json))

    async def read_flow_run_states(self, run: UUID) -> list[Any]:
        assert run == RUN
        return self.before

    async def read_flow_run(self, run: UUID) -> Any:
        assert run == RUN
        return SimpleNamespace(labels=self.labels)

    async def set_flow_run_state(self, run: UUID, state: Any) -> Any:
        assert run == RUN
        self.states.append(state)
        return SimpleNamespace(status=self.status, state=state, details="it was cancelled")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(waiting, "get_client", lambda: server)
    monkeypatch.setattr(waiting, "flow_run", SimpleNamespace(id=RUN))
    monkeypatch.setattr(waiting, "can_wake", lambda: True)
    return server


def test_a_run_sets_its_own_wake_up_and_ends_its_process(server: Server) -> None:
    before = datetime.now(UTC)

    with pytest.raises(Pause) as ended:
        asyncio.run(waiting.wake_in(3600, "bake: step 1 of 3"))

    (state,) = server.states
    assert (state.name, state.message) == ("AwaitingRetry", "bake: step 1 of 3"), "of this name the UI shows the tasks"
    wakes = state.state_details.scheduled_time - before
    assert timedelta(seconds=3600) <= wakes < timedelta(seconds=3660)
    assert server.patched == [(f"/flow_runs/{RUN}", {"infrastructure_pid": ""})], "or a cancellation hangs"
    assert ended.value.state is state


def test_a_run_that_was_cancelled_meanwhile_may_not_wait(server: Server) -> None:
    server.status = SetStateStatus.ABORT

    with pytest.raises(Abort, match="it was cancelled"):
        asyncio.run(waiting.wake_in(3600, "bake"))


def test_a_server_that_is_away_is_an_error_after_which_the_rollout_can_wait_here(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> Any:
        raise OSError("connection refused")

    monkeypatch.setattr(waiting, "get_client", away)

    with pytest.raises(PrefectUnavailable) as caught:
        asyncio.run(waiting.wake_in(3600, "bake"))

    assert (caught.value.why, server.states) == ("connection refused", [])


def at(minute: int) -> datetime:
    return datetime(2026, 1, 2, 12, minute, tzinfo=UTC)


def state(name: str, minute: int, message: str | None = None) -> State[Any]:
    kind = StateType.SCHEDULED if name == "AwaitingRetry" else StateType(name.upper())
    return State(type=kind, name=name, message=message, timestamp=at(minute))


BAKE = [state("Running", 1), state("AwaitingRetry", 2, "bake: step 1 of 3")]
FROM_THE_UI = "Retry from the UI"  # its message in both of Prefect's UIs


@pytest.mark.parametrize(
    ("before", "wake"),
    [
        ([], None),
        (BAKE, (1, "bake")),
        ([state("Running", 1), state("AwaitingRetry", 2, "wait until ready: it is Creating")], (1, "wait until ready")),
        ([*BAKE, state("Running", 3), state("AwaitingRetry", 4, "hold: no verdict")], (1, "hold")),
        ([*BAKE[::-1], state("AwaitingRetry", 0, "wait until ready: Creating"), state("Running", 0)], (0, "bake")),
        ([state("Running", 1), state("Failed", 3), state("AwaitingRetry", 4, FROM_THE_UI)], None),
        ([*BAKE, state("Running", 3), state("Failed", 4), state("AwaitingRetry", 5, FROM_THE_UI)], None),
        ([*BAKE, state("Cancelled", 3), state("AwaitingRetry", 4)], None),
        ([*BAKE, state("Crashed", 3), state("Scheduled", 4, "Retried via CLI")], None),
        (
            [
                *BAKE,
                state("Failed", 3),
                state("AwaitingRetry", 4, FROM_THE_UI),
                state("Running", 5),
                state("AwaitingRetry", 6, "bake: step 1 of 3"),
            ],
            (5, "bake"),
        ),
    ],
    ids=[
        "the first attempt",
        "a wake",
        "a wake after provisioning",
        "a second wake",
        "states in any order",
        "the Retry button",
        "the Retry button after a wait",
        "a retry by the API",
        "prefect flow-run retry",
        "a wake after a retry",
    ],
)
def test_an_attempt_that_was_woken_knows_for_what_its_run_has_waited_and_a_retry_begins_afresh(
    server: Server, before: list[State[Any]], wake: tuple[int, str] | None
) -> None:
    server.before = [*before, state("Pending", 8), state("Running", 9)]

    found = asyncio.run(waiting.woken())

    assert found == (waiting.Woken(at(wake[0]), at(wake[0]), wake[1]) if wake else None)


@pytest.mark.parametrize(
    ("labelled", "started"), [(at(1).isoformat(), at(1)), ("", at(0)), ("2026-01-01T00:00:00+00:00", at(0))]
)
def test_the_time_in_the_queue_before_the_work_started_does_not_count(
    server: Server, labelled: str, started: datetime
) -> None:
    server.labels[STARTED] = labelled
    server.before = [state("Running", 0), state("AwaitingRetry", 2, "wait until ready: it is Creating")]

    assert asyncio.run(waiting.woken()) == waiting.Woken(at(0), started, "wait until ready")


def test_a_run_without_a_prefect_deployment_has_never_waited(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.before = [state("AwaitingRetry", 2, "bake: step 1 of 3")]
    monkeypatch.setattr(waiting, "can_wake", lambda: False)

    assert asyncio.run(waiting.woken()) is None


def test_a_waiting_run_can_be_woken_and_keeps_its_message(server: Server) -> None:
    run: Any = SimpleNamespace(id=RUN, state=SimpleNamespace(message="bake: step 1"))

    asyncio.run(waiting.wake_now(run))

    (state,) = server.states
    assert (state.name, state.message) == ("AwaitingRetry", "bake: step 1")
    assert state.state_details.scheduled_time <= datetime.now(UTC)
