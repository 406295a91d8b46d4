"""Long waits: the state of the run, its process id, and who wakes it."""

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Abort, Pause

from rollway.errors import PrefectUnavailable
from rollway.prefect import waiting

RUN, STARTED = uuid4(), datetime(2026, 1, 2, 11, 0, tzinfo=UTC)


class Server:
    """A Prefect server; `status` is its answer to a new state."""

    def __init__(self) -> None:
        self.status = SetStateStatus.ACCEPT
        self.patched: list[tuple[str, dict[str, Any]]] = []
        self.states: list[Any] = []
        self.before: list[Any] = []
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
        return SimpleNamespace(start_time=STARTED)

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


def state(name: str, minute: int, message: str | None = None) -> Any:
    return SimpleNamespace(name=name, message=message, timestamp=datetime(2026, 1, 2, 12, minute, tzinfo=UTC))


@pytest.mark.parametrize(
    ("before", "waited_for"),
    [
        ([], None),
        ([state("AwaitingRetry", 2, "bake: step 1 of 3")], "bake"),
        (
            [state("AwaitingRetry", 4, "bake: step 1 of 3"), state("AwaitingRetry", 2, "wait until ready: Creating")],
            "bake",
        ),
        ([state("AwaitingRetry", 4), state("AwaitingRetry", 2, "bake: step 1 of 3"), state("Failed", 3)], None),
    ],
    ids=["the first attempt", "a wake", "a second wake", "a retry by a person"],
)
def test_an_attempt_knows_for_what_its_run_has_waited_and_since_when_it_works(
    server: Server, before: list[Any], waited_for: str | None
) -> None:
    server.before = [*before, state("Pending", 8), state("Running", 9)]

    assert asyncio.run(waiting.woken()) == (waiting.Woken(STARTED, waited_for) if waited_for else None)


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
