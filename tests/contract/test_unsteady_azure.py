"""The adapter on an Azure that gives single wrong answers, lags, and lets operations give way to others."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rollway.azure.abort import abort
from rollway.azure.endpoints import delete_failed_endpoint, write_endpoint
from rollway.azure.online_deployments import _wait_until_listed, delete_online_deployment, wait_until_ready
from rollway.azure.session import Session
from rollway.azure.state import read_endpoint
from rollway.errors import EndpointFailed
from rollway.rollout.abort import Failure
from rollway.rollout.moves import Kind, Move
from tests.contract.conftest import session_with
from tests.support.builders import Clock
from tests.support.emulator_process import EmulatorProcess
from tests.support.plain_rest import ENDPOINT, PlainRest, register_assets, wait_for
from tests.support.waiting import wait_for as wait_until

LAG = 30  # seconds: longer than a container takes to start
CANCELED = {"operation": "failed", "code": "OperationCanceled", "message": "Displaced by another operation."}


class EmulatorClock(Clock):
    """A clock that moves only when somebody sleeps, and the emulator's with it."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        super().__init__()
        self._emulator = emulator

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        self._emulator.advance_clock(seconds)


@pytest.fixture
def rest(own: EmulatorProcess) -> PlainRest:
    return PlainRest(own)  # with a new token: a test moves the emulator's clock


@pytest.fixture(scope="module")
def wanted(own: EmulatorProcess) -> dict[str, Any]:
    """The body of an online deployment whose assets are registered."""
    return register_assets(PlainRest(own))


@pytest.fixture
def session(own: EmulatorProcess) -> Iterator[Session]:
    with session_with(own) as session:
        yield session


@pytest.fixture
def fail(own: EmulatorProcess) -> Iterator[Callable[..., None]]:
    """Declares faults for as long as a test lasts."""
    yield own.fail
    own.delete_faults()


@pytest.fixture
def clock(own: EmulatorProcess) -> EmulatorClock:
    return EmulatorClock(own)


@pytest.fixture
def name(rest: PlainRest) -> str:
    """A new endpoint without online deployments."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    rest.send("PUT", f"/onlineEndpoints/{name}", ENDPOINT).raise_for_status()
    return name


def put(rest: PlainRest, name: str, wanted: dict[str, Any], online_deployment: str) -> str:
    """Create an online deployment; return its path."""
    path = f"/onlineEndpoints/{name}/deployments/{online_deployment}"
    rest.send("PUT", path, wanted).raise_for_status()
    return path


def test_a_delete_of_an_online_deployment_that_gave_way_is_made_again_after_a_minute(
    session: Session,
    rest: PlainRest,
    fail: Callable[..., None],
    clock: EmulatorClock,
    name: str,
    wanted: dict[str, Any],
) -> None:
    # It has no container: one that stops takes its real time.
    fail(method="PUT", path=f"/{name}/deployments/blue$", operation="failed", code="OutOfQuota")
    path = put(rest, name, wanted, "blue")
    assert wait_for(rest, path) == "Failed"
    fail(method="DELETE", path=f"/{name}/deployments/blue$", **CANCELED)

    asyncio.run(delete_online_deployment(session, name, "blue", clock=clock))

    assert rest.send("GET", path).status_code == 404
    assert 60 <= clock.seconds < 180


def test_a_delete_of_an_online_deployment_that_fails_for_good_ends_at_once_with_azures_reason(
    session: Session,
    rest: PlainRest,
    fail: Callable[..., None],
    clock: EmulatorClock,
    name: str,
    wanted: dict[str, Any],
) -> None:
    wait_for(rest, put(rest, name, wanted, "blue"))
    fail(method="DELETE", path=f"/{name}/deployments/blue$", operation="failed", code="BadArgument", message="No.")

    with pytest.raises(EndpointFailed, match="the online deployment blue could not be deleted") as caught:
        asyncio.run(delete_online_deployment(session, name, "blue", clock=clock))

    assert (caught.value.code, str(caught.value.why).startswith("BadArgument: No.")) == ("BadArgument", True)
    assert clock.seconds < 60


def test_a_delete_of_a_failed_endpoint_that_gave_way_is_made_again(
    session: Session, rest: PlainRest, fail: Callable[..., None], clock: EmulatorClock, name: str
) -> None:
    failed = f"{name}-f"
    fail(method="PUT", path=f"/{failed}$", operation="failed", code="InternalServerError")
    rest.send("PUT", f"/onlineEndpoints/{failed}", ENDPOINT).raise_for_status()
    fail(method="DELETE", path=f"/{failed}$", **CANCELED)

    assert asyncio.run(delete_failed_endpoint(session, failed, clock))

    assert rest.send("GET", f"/onlineEndpoints/{failed}").status_code == 404
    assert clock.seconds < 180


def test_a_new_online_deployment_that_lists_show_and_reads_do_not_yet_is_waited_for(
    session: Session,
    rest: PlainRest,
    fail: Callable[..., None],
    clock: EmulatorClock,
    name: str,
    wanted: dict[str, Any],
) -> None:
    fail(method="PUT", path=f"/{name}/deployments/green$", lag_seconds={"reads": LAG, "lists": 0})
    put(rest, name, wanted, "green")
    wait_until(lambda: "Succeeded" in rest.send("GET", f"/onlineEndpoints/{name}/deployments").text, "end", 60)

    async def roll_out() -> str:
        await _wait_until_listed(session, name, "green", clock)
        return (await wait_until_ready(session, name, "green", timeout_seconds=1800, clock=clock)).provisioning_state

    assert asyncio.run(roll_out()) == "Succeeded"


@pytest.mark.parametrize("path", ["deployments$", "deployments/green$"])
def test_a_single_404_ends_no_wait_for_a_new_online_deployment(
    session: Session,
    rest: PlainRest,
    fail: Callable[..., None],
    clock: EmulatorClock,
    name: str,
    wanted: dict[str, Any],
    path: str,
) -> None:
    wait_for(rest, put(rest, name, wanted, "green"))
    fail(method="GET", path=f"/{name}/{path}", status=404)

    asyncio.run(_wait_until_listed(session, name, "green", clock))
    ready = asyncio.run(wait_until_ready(session, name, "green", timeout_seconds=1800, clock=clock))

    assert ready.provisioning_state == "Succeeded"


@pytest.mark.parametrize(
    "fault",
    [
        {"method": "PUT", **CANCELED},
        {"method": "GET", "status": 404},
        {"method": "GET", "status": 404, "after": 1},
        {"method": "GET", "status": 404, "after": 2},
    ],
    ids=["operation", "404", "second 404", "third 404"],
)
def test_traffic_moves_and_comes_back_although_an_operation_gives_way_or_a_read_is_wrong(
    session: Session,
    rest: PlainRest,
    fail: Callable[..., None],
    clock: EmulatorClock,
    name: str,
    wanted: dict[str, Any],
    fault: dict[str, Any],
) -> None:
    wait_for(rest, put(rest, name, wanted, "green"))
    before = asyncio.run(read_endpoint(session, name))
    record = before.record.moved("ours/1", {"green": 100}, {})
    move = Move(kind=Kind.MOVE_TRAFFIC, target="green", why="it answers", traffic={"green": 100}, record=record)
    fault = {"path": f"/onlineEndpoints/{name}$", **fault}

    fail(**fault)
    assert asyncio.run(write_endpoint(session, before, move, clock))
    moved = asyncio.run(read_endpoint(session, name)).serving
    fail(**fault)
    done = asyncio.run(abort(session, name, Failure(attempt="ours/1", at="2026-01-02T03:04:05Z"), clock=clock))

    assert (moved, done.cleaned_up) == ({"green": 100}, ("traffic restored: none",))
    assert asyncio.run(read_endpoint(session, name)).serving == {}
