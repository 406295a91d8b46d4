"""Sign-in and rights, as azure-identity and Azure Resource Manager see them."""

import os
from collections.abc import Callable

import pytest
from azure.ai.ml import MLClient
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from rollway.emulator.clock import Clock
from rollway.emulator.errors import ArmError
from rollway.emulator.identity import Identity
from rollway.emulator.seed import Seed
from tests.contract.conftest import Arm
from tests.emulator_process import EmulatorProcess


def test_the_environment_variables_alone_sign_in_the_default_credential(client: MLClient) -> None:
    found = MLClient(
        DefaultAzureCredential(disable_instance_discovery=True),
        os.environ["AZURE_SUBSCRIPTION_ID"],
        os.environ["AZURE_RESOURCE_GROUP"],
        os.environ["AZUREML_WORKSPACE"],
    ).workspaces.get("local")

    assert (found.name, found.location) == ("local", "westeurope")


def test_a_wrong_client_secret_is_refused_as_entra_does(connect: Callable[..., MLClient]) -> None:
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215: Invalid client secret provided"):
        connect(secret="wrong").workspaces.get("local")


def test_an_unknown_application_is_refused_as_entra_does(connect: Callable[..., MLClient]) -> None:
    with pytest.raises(ClientAuthenticationError, match="AADSTS700016: Application with identifier 'nobody'"):
        connect(client_id="nobody").workspaces.get("local")


def test_an_unknown_tenant_is_refused_as_entra_does(emulator: EmulatorProcess) -> None:
    tenant = "00000000-0000-0000-0000-000000000000"

    answer = emulator.http().get(f"{emulator.url}/{tenant}/v2.0/.well-known/openid-configuration")

    assert (answer.status_code, answer.json()["error"], answer.json()["error_codes"]) == (
        400,
        "invalid_request",
        [90002],
    )


def test_a_token_for_another_resource_is_refused_by_arm(arm: Arm, token: Callable[..., str]) -> None:
    answer = arm.send("GET", "", Authorization=f"Bearer {token('https://ml.azure.com/.default')}")

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "InvalidAuthenticationTokenAudience"


def test_a_request_without_a_token_is_refused_by_arm(emulator: EmulatorProcess, arm: Arm) -> None:
    answer = emulator.http().get(f"{emulator.url}{arm.root}?api-version=2023-04-01")

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AuthenticationFailed")


def test_a_token_with_a_wrong_signature_is_refused_by_arm(arm: Arm, token: Callable[..., str]) -> None:
    forged = token().rpartition(".")[0] + ".c2lnbmF0dXJl"

    answer = arm.send("GET", "", Authorization=f"Bearer {forged}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")


def test_a_token_expires_when_its_hour_has_passed_on_the_clock() -> None:
    clock = Clock()
    identity = Identity(Seed(), "k" * 64, clock, "https://localhost:1")
    bearer = f"Bearer {identity.issue('https://localhost:1', 'someone')}"
    assert identity.check(bearer, identity.arm_audiences) == "someone"

    clock.advance(3600)

    with pytest.raises(ArmError, match="401 ExpiredAuthenticationToken"):
        identity.check(bearer, identity.arm_audiences)


def test_a_principal_without_a_role_gets_403(connect: Callable[..., MLClient]) -> None:
    with pytest.raises(HttpResponseError) as caught:
        connect(client_id="stranger").workspaces.get("local")

    assert caught.value.status_code == 403
    assert caught.value.error.code == "AuthorizationFailed"
    assert "Microsoft.MachineLearningServices/workspaces/read" in str(caught.value)


def test_a_reader_reads_and_cannot_write(arm: Arm, token: Callable[..., str], name: str) -> None:
    bearer = f"Bearer {token(client_id='reader')}"

    reads = arm.send("GET", "/onlineEndpoints", Authorization=bearer)
    writes = arm.send("PUT", f"/onlineEndpoints/{name}", {}, Authorization=bearer)

    assert (reads.status_code, writes.status_code) == (200, 403)
    assert "workspaces/onlineEndpoints/write" in writes.json()["error"]["message"]


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"workspace": "absent"}, "ResourceNotFound"),
        ({"group": "absent"}, "ResourceGroupNotFound"),
        ({"subscription": "00000000-0000-0000-0000-000000000000"}, "SubscriptionNotFound"),
    ],
)
def test_what_does_not_exist_is_named(connect: Callable[..., MLClient], where: dict[str, str], code: str) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        connect(**where).workspaces.get(where.get("workspace", "local"))

    assert caught.value.error.code == code
