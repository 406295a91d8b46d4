"""The adapter on an Azure that gives single wrong answers, lags, and lets operations give way to others."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Azure:
    """An Azure that a test makes unsteady, with a new endpoint.

    Attributes:
        fail: Declares a fault for as long as the test lasts.
        wanted: The body of an online deployment whose assets are registered.
        name: The endpoint, without online deployments.
    """

    session: Session
    rest: PlainRest
    fail: Callable[..., None]
    clock: EmulatorClock
    wanted: dict[str, Any]
    name: str

    def put(self, online_deployment: str) -> str:
        """Create an online deployment; return its path."""
        path = f"/onlineEndpoints/{self.name}/deployments/{online_deployment}"
        self.rest.send("PUT", path, self.wanted).raise_for_status()
        return path


@pytest.fixture(scope="module")
def wanted(own: EmulatorProcess) -> dict[str, Any]:
    return register_assets(PlainRest(own))


@pytest.fixture
def azure(own: EmulatorProcess, wanted: dict[str, Any]) -> Iterator[Azure]:
    rest = PlainRest(own)  # with a new token: a test moves the emulator's clock
    name = f"t-{uuid.uuid4().hex[:12]}"
    rest.send("PUT", f"/onlineEndpoints/{name}", ENDPOINT).raise_for_status()
    with session_with(own) as session:
        yield Azure(session, rest, own.fail, EmulatorClock(own), wanted, name)
    own.delete_faults()


def test_a_delete_of_an_online_deployment_that_gave_way_is_made_again_after_a_minute(azure: Azure) -> None:
    # It has no container: one that stops takes its real time.
    azure.fail(method="PUT", path=f"/{azure.name}/deployments/blue$", operation="failed", code="OutOfQuota")
    path = azure.put("blue")
    assert wait_for(azure.rest, path) == "Failed"
    azure.fail(method="DELETE", path=f"/{azure.name}/deployments/blue$", **CANCELED)

    asyncio.run(delete_online_deployment(azure.session, azure.name, "blue", clock=azure.clock))

    assert azure.rest.send("GET", path).status_code == 404
    assert 60 <= azure.clock.seconds < 180


def test_a_delete_of_an_online_deployment_that_fails_for_good_ends_at_once_with_azures_reason(azure: Azure) -> None:
    wait_for(azure.rest, azure.put("blue"))
    azure.fail(
        method="DELETE", path=f"/{azure.name}/deployments/blue$", operation="failed", code="BadArgument", message="No."
    )

    with pytest.raises(EndpointFailed, match="the online deployment blue could not be deleted") as caught:
        asyncio.run(delete_online_deployment(azure.session, azure.name, "blue", clock=azure.clock))

    assert (caught.value.code, str(caught.value.why).startswith("BadArgument: No.")) == ("BadArgument", True)
    assert azure.clock.seconds < 60


def test_a_delete_of_a_failed_endpoint_that_gave_way_is_made_again(azure: Azure) -> None:
    failed = f"{azure.name}-f"
    azure.fail(method="PUT", path=f"/{failed}$", operation="failed", code="InternalServerError")
    azure.rest.send("PUT", f"/onlineEndpoints/{failed}", ENDPOINT).raise_for_status()
    azure.fail(method="DELETE", path=f"/{failed}$", **CANCELED)

    assert asyncio.run(delete_failed_endpoint(azure.session, failed, azure.clock))

    assert azure.rest.send("GET", f"/onlineEndpoints/{failed}").status_code == 404
    assert azure.clock.seconds < 180


def test_a_new_online_deployment_that_lists_show_and_reads_do_not_yet_is_waited_for(azure: Azure) -> None:
    azure.fail(method="PUT", path=f"/{azure.name}/deployments/green$", lag_seconds={"reads": LAG, "lists": 0})
    azure.put("green")
    wait_until(
        lambda: "Succeeded" in azure.rest.send("GET", f"/onlineEndpoints/{azure.name}/deployments").text, "end", 60
    )

    async def roll_out() -> str:
        await _wait_until_listed(azure.session, azure.name, "green", azure.clock)
        return (
            await wait_until_ready(azure.session, azure.name, "green", timeout_seconds=1800, clock=azure.clock)
        ).provisioning_state

    assert asyncio.run(roll_out()) == "Succeeded"


@pytest.mark.parametrize("path", ["deployments$", "deployments/green$"])
def test_a_single_404_ends_no_wait_for_a_new_online_deployment(azure: Azure, path: str) -> None:
    wait_for(azure.rest, azure.put("green"))
    azure.fail(method="GET", path=f"/{azure.name}/{path}", status=404)

    asyncio.run(_wait_until_listed(azure.session, azure.name, "green", azure.clock))
    ready = asyncio.run(wait_until_ready(azure.session, azure.name, "green", timeout_seconds=1800, clock=azure.clock))

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
    azure: Azure, fault: dict[str, Any]
) -> None:
    wait_for(azure.rest, azure.put("green"))
    before = asyncio.run(read_endpoint(azure.session, azure.name))
    record = before.record.moved("ours/1", {"green": 100}, {})
    move = Move(kind=Kind.MOVE_TRAFFIC, target="green", why="it answers", traffic={"green": 100}, record=record)
    fault = {"path": f"/onlineEndpoints/{azure.name}$", **fault}

    azure.fail(**fault)
    assert asyncio.run(write_endpoint(azure.session, before, move, azure.clock))
    moved = asyncio.run(read_endpoint(azure.session, azure.name)).serving
    azure.fail(**fault)
    done = asyncio.run(
        abort(azure.session, azure.name, Failure(attempt="ours/1", at="2026-01-02T03:04:05Z"), clock=azure.clock)
    )

    assert (moved, done.cleaned_up) == ({"green": 100}, ("traffic restored: none",))
    assert asyncio.run(read_endpoint(azure.session, azure.name)).serving == {}
