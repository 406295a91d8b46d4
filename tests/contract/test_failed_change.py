"""The reason of a failed online deployment, as Rollway finds it: its own operation, never an earlier one."""

import asyncio

import pytest
from azure.ai.ml import MLClient

from rollway.azure.online_deployments import change_online_deployment, wait_until_ready
from rollway.azure.session import Session
from rollway.errors import ProvisioningFailed
from rollway.rollout.moves import Kind, Move
from tests.contract.conftest import Arm, Served, create_endpoint
from tests.support.emulator_process import EmulatorProcess
from tests.support.waiting import wait_for

UNKNOWN = (
    "Azure gives the reason only in the operation that failed, and this run does not know which one that was; "
    "the state is Failed"
)


def fail_next_put(emulator: EmulatorProcess, endpoint: str) -> None:
    emulator.fail(
        method="PUT", path=f"/{endpoint}/deployments/blue$", operation="failed", code="OutOfQuota", message="No cores."
    )


def put_blue(arm: Arm, served: Served, endpoint: str) -> None:
    """Create an online deployment like that of the shared endpoint, with one instance."""
    source = arm.send("GET", f"/onlineEndpoints/{served.name}/deployments/blue").raise_for_status().json()
    source["sku"]["capacity"] = 1
    path = f"/onlineEndpoints/{endpoint}/deployments/blue"
    arm.send("PUT", path, source).raise_for_status()
    ended = ("Succeeded", "Failed")
    wait_for(lambda: arm.send("GET", path).json()["properties"]["provisioningState"] in ended, "end of the creation")


def reason(session: Session, endpoint: str, operation: str | None = None) -> ProvisioningFailed:
    """The error of a wait; `operation` is the address that the start of the change gave, if that is known."""
    waiting = wait_until_ready(session, endpoint, "blue", timeout_seconds=180, operation=operation)
    with pytest.raises(ProvisioningFailed) as caught:
        asyncio.run(waiting)
    return caught.value


def test_a_failed_change_has_the_reason_of_its_own_operation_and_after_a_restart_none(
    client: MLClient, arm: Arm, served: Served, session: Session, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    put_blue(arm, served, name)
    fail_next_put(emulator, name)
    move = Move(kind=Kind.CHANGE, target="blue", why="the file says so", instances=2)

    operation = asyncio.run(change_online_deployment(session, name, {}, move))

    known, after_a_restart = reason(session, name, operation), reason(session, name)
    assert (known.code, str(known.why).partition(".")[0]) == ("OutOfQuota", "OutOfQuota: No cores")
    assert (after_a_restart.code, after_a_restart.why) == (None, UNKNOWN)
    assert not after_a_restart.is_models_fault
    created = client.online_deployments.get("blue", name).properties["AzureAsyncOperationUri"]
    assert session.read_arm(created)["status"] == "Succeeded", "the resource names its creation only"


def test_the_reason_of_a_failed_creation_is_found_after_a_restart_too(
    client: MLClient, arm: Arm, served: Served, session: Session, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    fail_next_put(emulator, name)
    put_blue(arm, served, name)

    assert reason(session, name).code == "OutOfQuota"
