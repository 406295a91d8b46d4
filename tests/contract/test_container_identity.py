"""Managed identities inside the container: a scoring script signs in with the endpoint's identity."""

import uuid
from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, IdentityConfiguration, ManagedIdentityConfiguration, ManagedOnlineEndpoint
from azure.storage.blob import ContainerClient

from rollway.emulator.core.seed import Seed
from rollway.emulator.login.endpoint_identity import complete_identity, find_identity
from rollway.emulator.runtime.access import ContainerAccess
from tests.contract.conftest import Arm, Served, describe, serving, set_traffic
from tests.support.emulator_process import EmulatorProcess

GROUP = "/subscriptions/s/resourceGroups/rollway/providers/Microsoft.ManagedIdentity/userAssignedIdentities"
READER, OTHER = f"{GROUP}/container-reader", f"{GROUP}/other"
STORAGE = "https://storage.azure.com/.default"


def serve(client: MLClient, environment: Environment, emulator: EmulatorProcess, identity: Any) -> Served:
    """A new endpoint with an identity; its script uses it."""
    name = f"identity-{uuid.uuid4().hex[:8]}"
    client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, identity=identity)).result()
    wanted = describe(name, None, environment, script="identity")
    client.online_deployments.begin_create_or_update(wanted).result()
    set_traffic(client, name, blue=100)
    return serving(client, emulator, name)


@pytest.fixture(scope="module")
def system(client: MLClient, environment: Environment, emulator: EmulatorProcess) -> Served:
    """An endpoint that was created without any identity, which is then system-assigned."""
    return serve(client, environment, emulator, None)


@pytest.fixture(scope="module")
def user(client: MLClient, environment: Environment, emulator: EmulatorProcess) -> Served:
    """An endpoint with two user-assigned identities. The seed knows the first, a reader."""
    both = [ManagedIdentityConfiguration(resource_id=one) for one in (READER, OTHER)]
    identity = IdentityConfiguration(type="user_assigned", user_assigned_identities=both)
    return serve(client, environment, emulator, identity)


@pytest.fixture
def blob(client: MLClient, arm: Arm, name: str) -> str:
    """The URL of a blob in the workspace's store."""
    datastore = client.datastores.get_default()
    secret = arm.send("POST", f"/datastores/{datastore.name}/listSecrets", {}).json()["sasToken"]
    url = f"https://{datastore.account_name}.blob.{datastore.endpoint}/{datastore.container_name}"
    ContainerClient.from_container_url(f"{url}?{secret}").upload_blob(name, b"hello")
    return f"{url}/{name}"


def ask(served: Served, scope: str, method: str, url: str, **further: str) -> tuple[int, str]:
    """Send a request from inside the container; return its status and body."""
    answer = served.score({"scope": scope, "method": method, "url": url, **further})
    assert answer.status_code == 200, answer.text
    return answer.json()["status"], answer.json()["body"]


def test_a_script_reads_a_blob_with_the_endpoints_system_assigned_identity(system: Served, blob: str) -> None:
    assert ask(system, STORAGE, "GET", blob) == (200, "hello")


def test_an_account_whose_name_has_the_emulators_port_has_azures_address(blob: str, emulator: EmulatorProcess) -> None:
    account = f"{emulator.url.removeprefix('https://')}/blob/devstore"

    assert blob.startswith(f"https://{account}.blob.core.windows.net/")


def test_the_system_assigned_identity_may_only_read_blobs(system: Served, blob: str, arm: Arm) -> None:
    wrote = ask(system, STORAGE, "PUT", f"{blob}-2", data="x")
    managed = ask(system, f"{arm.url}/.default", "GET", f"{arm.url}{arm.root}?api-version=2023-04-01")

    assert (wrote[0], managed[0]) == (403, 403)
    assert "AuthorizationPermissionMismatch" in wrote[1]
    assert "AuthorizationFailed" in managed[1]


def test_a_user_assigned_identity_is_shown_and_has_the_rights_that_the_seed_gives_it(user: Served, arm: Arm) -> None:
    identity = arm.send("GET", f"/onlineEndpoints/{user.name}").json()["identity"]
    url = f"{arm.url}{arm.root}?api-version=2023-04-01"

    shown = identity["userAssignedIdentities"]
    assert shown[READER] == {"clientId": "container-reader", "principalId": "container-reader"}
    assert identity.get("principalId") is None
    assert ask(user, f"{arm.url}/.default", "GET", url, client_id="container-reader")[0] == 200
    assert ask(user, f"{arm.url}/.default", "GET", url, client_id=shown[OTHER]["clientId"])[0] == 403


def test_an_identity_that_the_endpoint_has_not_gives_no_token(user: Served) -> None:
    status, text = ask(user, STORAGE, "GET", "https://localhost", client_id="somebody-elses")

    assert (status, "Identity not found" in text) == (0, True), text


def test_the_token_service_of_azure_ml_wants_its_secret(system: Served) -> None:
    url, secret = (system.score({"variable": one}).json()["body"] for one in ("MSI_ENDPOINT", "MSI_SECRET"))
    query = {"api-version": "2017-09-01", "resource": "https://storage.azure.com/"}
    with httpx.Client(trust_env=False, timeout=120) as client:
        answer = client.get(url, params=query, headers={"secret": secret})
        guessed = client.get(url, params=query, headers={"secret": "guessed"})

    assert (guessed.status_code, answer.status_code) == (401, 200)
    assert set(answer.json()) == {"access_token", "client_id", "expires_in", "expires_on", "resource", "token_type"}


def test_an_endpoint_without_an_identity_gets_a_system_assigned_one_whose_id_stays() -> None:
    first = complete_identity(None, None, Seed())
    again = complete_identity({"type": "SystemAssigned"}, first, Seed())

    assert first["type"] == "SystemAssigned"
    assert again["principalId"] == first["principalId"]
    assert find_identity(first, None) == first["principalId"]


def test_without_a_client_id_the_system_assigned_identity_comes_first() -> None:
    both = complete_identity(
        {"type": "SystemAssigned,UserAssigned", "userAssignedIdentities": {OTHER: {}}}, None, Seed()
    )
    only = complete_identity({"type": "UserAssigned", "userAssignedIdentities": {OTHER: {}}}, None, Seed())

    assert find_identity(both, None) == both["principalId"]
    assert find_identity(only, None) == only["userAssignedIdentities"][OTHER]["clientId"]
    assert find_identity(complete_identity({"type": "None"}, None, Seed()), None) is None


def test_each_online_deployment_has_its_own_secret() -> None:
    access = ContainerAccess()
    blue, green = access.secret_of("/e/blue"), access.secret_of("/e/green")

    assert access.secret_of("/E/Blue") == blue
    assert (access.find_deployment(blue), access.find_deployment(green)) == ("/e/blue", "/e/green")
    assert (access.find_deployment(None), access.find_deployment("")) == (None, None)
