"""The identity of endpoints: system-assigned or user-assigned, as Azure shows it, and never changed."""

from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import IdentityConfiguration, ManagedIdentityConfiguration, ManagedOnlineEndpoint

from rollway.emulator.arm.identities import kept_identity, new_identity
from rollway.emulator.core.errors import ArmError
from rollway.emulator.core.seed import Principal, Seed
from tests.contract.conftest import Arm

HEAD = "/subscriptions/s/resourceGroups/Of-Others/providers/Microsoft.ManagedIdentity/userAssignedIdentities/"
SEED = Seed(principals=(Principal(client_id="deployer"), Principal(client_id="machine", is_managed_identity=True)))


def identity_of(type_: str, *names: str) -> dict[str, Any]:
    return {"type": type_, "userAssignedIdentities": {HEAD + name: {} for name in names}}


def put(arm: Arm, name: str, identity: Any, method: str = "PUT") -> httpx.Response:
    body = {"location": "westeurope", "identity": identity, "properties": {"authMode": "Key"}}
    return arm.send(method, f"/onlineEndpoints/{name}", body)


def test_a_system_assigned_identity_has_ids_of_its_own(arm: Arm, name: str) -> None:
    identity = put(arm, name, {"type": "SystemAssigned"}).raise_for_status().json()["identity"]

    assert sorted(identity) == ["principalId", "tenantId", "type"]
    assert put(arm, f"{name}-2", None).json()["identity"]["type"] == "SystemAssigned"


def test_user_assigned_identities_have_their_ids_under_their_resource_ids(arm: Arm, name: str) -> None:
    first = put(arm, name, identity_of("UserAssigned", "One", "two")).raise_for_status().json()["identity"]
    second = put(arm, f"{name}-2", identity_of("UserAssigned", "one")).raise_for_status().json()["identity"]

    assert (first["type"], list(first["userAssignedIdentities"])) == ("UserAssigned", [HEAD + "One", HEAD + "two"])
    assert "principalId" not in first
    one, two = first["userAssignedIdentities"].values()
    assert sorted(one) == ["clientId", "principalId"]
    assert len({*one.values(), *two.values()}) == 4
    assert list(second["userAssignedIdentities"].values()) == [one]


def test_an_endpoint_can_have_both_kinds(arm: Arm, name: str) -> None:
    identity = put(arm, name, identity_of("userassigned, systemassigned", "one")).raise_for_status().json()["identity"]

    assert identity["type"] == "SystemAssigned,UserAssigned"
    assert sorted(identity) == ["principalId", "tenantId", "type", "userAssignedIdentities"]


def test_the_sdk_creates_and_changes_an_endpoint_with_a_user_assigned_identity(client: MLClient, name: str) -> None:
    assigned = [ManagedIdentityConfiguration(resource_id=HEAD + "one")]
    identity = IdentityConfiguration(type="user_assigned", user_assigned_identities=assigned)
    wanted = ManagedOnlineEndpoint(name=name, identity=identity)
    client.online_endpoints.begin_create_or_update(wanted).result()
    read = client.online_endpoints.get(name)
    read.description = "changed"

    changed = client.online_endpoints.begin_create_or_update(read).result()

    assert changed.identity is not None
    assert changed.identity.user_assigned_identities is not None
    found = changed.identity.user_assigned_identities[0]
    assert (changed.description, found.resource_id) == ("changed", HEAD + "one")


@pytest.mark.parametrize(
    ("identity", "code", "text"),
    [
        ({"type": "Mine"}, "BadRequest", "must be one of None, SystemAssigned"),
        ({"type": "UserAssigned"}, "BadRequest", "needs resource ids"),
        (identity_of("SystemAssigned", "one"), "BadRequest", "they need UserAssigned"),
        ({"type": "UserAssigned", "userAssignedIdentities": {"one": {}}}, "LinkedInvalidPropertyId", "'one' at path"),
        ({"type": 5}, "InvalidRequestContent", "identity.type: a string is expected"),
    ],
)
def test_an_identity_that_cannot_be_is_refused(arm: Arm, name: str, identity: Any, code: str, text: str) -> None:
    answer = put(arm, name, identity)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert text in answer.text


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_the_identity_of_an_endpoint_cannot_change(arm: Arm, name: str, method: str) -> None:
    before = put(arm, name, identity_of("UserAssigned", "one")).raise_for_status().json()["identity"]

    refused = [
        put(arm, name, wanted, method) for wanted in ({"type": "SystemAssigned"}, identity_of("UserAssigned", "2"))
    ]
    kept = [put(arm, name, wanted, method) for wanted in (None, {"type": "UserAssigned"}, before)]

    assert [answer.status_code for answer in refused] == [400, 400]
    assert all("The identity of an endpoint cannot be changed." in answer.text for answer in refused)
    assert {answer.status_code for answer in kept} <= {200, 201, 202}
    assert arm.send("GET", f"/onlineEndpoints/{name}").json()["identity"] == before


def test_an_identity_with_the_name_of_a_managed_identity_of_the_seed_is_that_one() -> None:
    made = new_identity({"identity": identity_of("UserAssigned", "Machine", "deployer")}, SEED)

    machine, other = made["userAssignedIdentities"].values()
    assert machine == {"clientId": "machine", "principalId": "machine"}
    assert other["clientId"] != "deployer"  # an application is no managed identity


def test_an_endpoint_without_an_identity_keeps_none() -> None:
    made = new_identity({"identity": {"type": "None"}}, SEED)

    assert made == {"type": "None"}
    assert kept_identity({"identity": {"type": "none"}}, made) == made
    with pytest.raises(ArmError) as caught:
        kept_identity({"identity": {"type": "SystemAssigned"}}, made)
    assert "cannot be changed" in bytes(caught.value.response().body).decode()
