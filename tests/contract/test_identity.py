"""Sign-in and rights, as azure-identity and Azure Resource Manager see them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from azure.ai.ml import MLClient
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential, DefaultAzureCredential

from rollway.emulator.core.errors import ArmError
from rollway.emulator.core.seed import Seed
from rollway.emulator.login.identity import Identity
from tests.contract.conftest import Arm, StoppedClock, error_of
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import PlainRest


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
    clock = StoppedClock()
    identity = Identity(Seed(), "k" * 64, clock, "https://localhost:1")
    bearer = f"Bearer {identity.issue_token('https://localhost:1', 'someone')}"
    assert identity.check_token(bearer, identity.arm_audiences) == "someone"

    clock.advance(3600)

    with pytest.raises(ArmError, match="401 ExpiredAuthenticationToken"):
        identity.check_token(bearer, identity.arm_audiences)


def test_tokens_are_valid_for_as_long_as_the_seed_says() -> None:
    clock = StoppedClock()
    seed = Seed.model_validate({"token_seconds": 60, "principals": [{"client_id": "deployer", "client_secret": "s"}]})
    identity = Identity(seed, "k" * 64, clock, "https://localhost:1")
    form = {"grant_type": "client_credentials", "client_id": "deployer", "client_secret": "s"}
    answer = identity.answer_token_request(seed.tenant_id, {**form, "scope": "https://localhost:1/.default"})
    bearer = f"Bearer {answer['access_token']}"
    clock.advance(58)
    identity.check_token(bearer, identity.arm_audiences)

    clock.advance(2)

    assert (answer["expires_in"], answer["ext_expires_in"]) == (60, 60)
    with pytest.raises(ArmError, match="401 ExpiredAuthenticationToken"):
        identity.check_token(bearer, identity.arm_audiences)


def test_an_expired_token_is_refused_and_the_credential_gets_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("token_seconds: 240")  # of less than 300 seconds the credential keeps none
    with running_emulator(tmp_path / "state", "--seed", str(tmp_path / "seed.yaml")) as emulator:
        credential = ClientSecretCredential(
            emulator.environment["AZURE_TENANT_ID"],
            emulator.environment["AZURE_CLIENT_ID"],
            emulator.environment["AZURE_CLIENT_SECRET"],
            authority=emulator.url,
            disable_instance_discovery=True,
            connection_verify=emulator.environment["REQUESTS_CA_BUNDLE"],
        )
        first = credential.get_token(f"{emulator.url}/.default").token
        emulator.advance_clock(240)

        late = PlainRest(emulator, first).send("GET", "/onlineEndpoints")
        second = credential.get_token(f"{emulator.url}/.default").token

        assert (late.status_code, late.json()["error"]["code"]) == (401, "ExpiredAuthenticationToken")
        assert PlainRest(emulator, second).send("GET", "/onlineEndpoints").status_code == 200


def test_a_principal_without_a_role_gets_403(connect: Callable[..., MLClient]) -> None:
    with pytest.raises(HttpResponseError) as caught:
        connect(client_id="stranger").workspaces.get("local")

    assert caught.value.status_code == 403
    assert error_of(caught.value).code == "AuthorizationFailed"
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

    assert error_of(caught.value).code == code
