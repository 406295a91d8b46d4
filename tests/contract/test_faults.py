"""Faults that are declared reach unmodified clients as in real life."""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, ManagedOnlineEndpoint, Model, OnlineRequestSettings
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceResponseError,
)
from azure.identity import ClientSecretCredential

from tests.contract.conftest import Arm, Served, create_endpoint, describe, error_of, serving
from tests.support.emulator_process import EmulatorProcess
from tests.support.waiting import wait_for


def credential(emulator: EmulatorProcess, **settings: Any) -> ClientSecretCredential:
    """Without tokens yet."""
    tenant, authority = (emulator.environment[name] for name in ("AZURE_TENANT_ID", "AZURE_AUTHORITY_HOST"))
    return ClientSecretCredential(
        tenant, "contributor", "contributor-secret", authority=authority, disable_instance_discovery=True, **settings
    )


def test_a_fault_waits_for_its_turn_and_is_used_up(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    create_endpoint(client, name)
    emulator.fail(method="GET", path=f"/onlineEndpoints/{name}$", status=403, after=2, count=1)

    def read() -> int:
        try:
            client.online_endpoints.get(name)
        except HttpResponseError as exc:
            return int(exc.status_code or 0)
        return 200

    assert [read() for _ in range(4)] == [200, 200, 403, 200]


def test_one_list_of_online_deployments_can_be_a_404_while_the_endpoint_is_there(
    client: MLClient, arm: Arm, emulator: EmulatorProcess, served: Served
) -> None:
    body = {"error": {"code": "UserError", "message": f"Endpoint {served.name} not found."}}
    fault = {"method": "GET", "path": f"/onlineEndpoints/{served.name}/deployments$", "status": 404, "body": body}
    emulator.fail(**fault, count=2)

    with pytest.raises(ResourceNotFoundError) as caught:
        list(client.online_deployments.list(served.name))
    with pytest.raises(ResourceNotFoundError):  # the SDK lists online deployments to complete the endpoint's traffic
        client.online_endpoints.get(served.name)

    assert error_of(caught.value).message == f"Endpoint {served.name} not found."
    assert arm.send("GET", f"/onlineEndpoints/{served.name}").status_code == 200
    assert client.online_deployments.get("blue", served.name).name == "blue"
    assert [one.name for one in client.online_deployments.list(served.name)] == ["blue"]


def test_a_fault_without_a_count_lasts_until_faults_are_deleted(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    emulator.fail(method="GET", path=f"/onlineEndpoints/{name}$", status=403, count=None)

    for _ in range(3):
        with pytest.raises(HttpResponseError, match=r"Declared at /_emulator/faults"):
            client.online_endpoints.get(name)
    emulator.http().delete(f"{emulator.url}/_emulator/faults").raise_for_status()

    assert client.online_endpoints.get(name).name == name


def test_a_late_answer_comes_at_once_when_faults_are_deleted(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    emulator.fail(method="GET", path=f"/onlineEndpoints/{name}$", delay_seconds=3600)

    with ThreadPoolExecutor() as threads:
        late = threads.submit(client.online_endpoints.get, name)
        wait_for(lambda: emulator.get("faults") == [], "request that meets the fault")
        is_late = not late.done()
        emulator.delete_faults()

        assert late.result(timeout=180).name == name
    assert is_late


def test_a_slow_answer_runs_into_the_clients_read_timeout(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    subscription = os.environ["AZURE_SUBSCRIPTION_ID"]
    hasty = MLClient(credential(emulator), subscription, "rollway", "local", read_timeout=0.5, retry_total=0)
    emulator.fail(method="GET", path=f"/onlineEndpoints/{name}$", delay_seconds=3600)

    with pytest.raises(ServiceResponseError, match="Read timed out"):
        hasty.online_endpoints.get(name)
    emulator.delete_faults()


def test_a_token_endpoint_that_is_down_is_an_authentication_error(emulator: EmulatorProcess) -> None:
    emulator.fail(method="POST", path="/oauth2/v2.0/token$", status=503)

    with pytest.raises(ClientAuthenticationError, match="HTTP Error: 503"):
        credential(emulator, retry_total=0).get_token(f"{emulator.url}/.default")


@pytest.mark.parametrize("code", ["OutOfQuota", "OperationCanceled", "InternalServerError"])
def test_an_operation_fails_with_the_declared_code(
    client: MLClient, emulator: EmulatorProcess, name: str, code: str
) -> None:
    emulator.fail(method="PUT", path=name, operation="failed", code=code, message="there is no room left.")

    with pytest.raises(HttpResponseError) as caught:
        create_endpoint(client, name)

    assert (caught.value.status_code, error_of(caught.value).code) == (200, None)
    assert error_of(caught.value).message.startswith(f"{code}: there is no room left.")
    assert error_of(caught.value).message.endswith(f"aka.ms/oe-tsg#error-{code.lower()}")
    assert client.online_endpoints.get(name).provisioning_state == "Failed"
    with pytest.raises(HttpResponseError, match="unrecoverable"):
        create_endpoint(client, name)


def test_a_failed_update_of_an_endpoint_changes_nothing(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    endpoint = create_endpoint(client, name)
    emulator.fail(method="PUT", path=name, operation="failed", code="OperationCanceled")
    endpoint.description = "changed"

    with pytest.raises(HttpResponseError, match="OperationCanceled: "):
        client.online_endpoints.begin_create_or_update(endpoint).result()
    failed = client.online_endpoints.get(name)
    client.online_endpoints.begin_create_or_update(endpoint).result()

    assert (failed.provisioning_state, failed.description) == ("Failed", None)
    again = client.online_endpoints.get(name)
    assert (again.provisioning_state, again.description) == ("Succeeded", "changed")


def test_an_operation_can_succeed_and_leave_a_failed_resource(
    client: MLClient, emulator: EmulatorProcess, model: Model, environment: Environment, name: str
) -> None:
    create_endpoint(client, name)
    emulator.fail(method="PUT", path=f"{name}/deployments/blue", operation="failed_body")

    created = client.online_deployments.begin_create_or_update(describe(name, model, environment)).result()

    assert created.provisioning_state == "Failed"


def test_a_delete_that_fails_leaves_the_endpoint(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    create_endpoint(client, name)
    emulator.fail(method="DELETE", path=name, operation="failed", code="InternalServerError")

    with pytest.raises(HttpResponseError, match="InternalServerError: "):
        client.online_endpoints.begin_delete(name).result()

    assert client.online_endpoints.get(name).provisioning_state == "Failed"


def test_a_stuck_operation_keeps_its_endpoint_busy_until_faults_are_deleted(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    emulator.fail(method="PUT", path=name, operation="stuck")
    stuck = client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key"))

    state = client.online_endpoints.get(name).provisioning_state
    with pytest.raises(ResourceExistsError, match="Already running method PUT"):
        client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key"))
    emulator.http().delete(f"{emulator.url}/_emulator/faults").raise_for_status()

    assert state == "Creating"
    assert stuck.result().provisioning_state == "Succeeded"


def test_a_put_whose_answer_is_lost_meets_the_409_of_its_own_operation(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    emulator.fail(method="PUT", path=name, operation="slow", delay_seconds=3600)
    emulator.fail(method="PUT", path=name, drop="after")

    with pytest.raises(ResourceExistsError, match="Already running method PUT"):
        create_endpoint(client, name)

    assert client.online_endpoints.get(name).provisioning_state == "Creating"


def test_a_poll_that_is_answered_with_404_ends_the_wait_and_not_the_operation(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    emulator.fail(path="/mfeOperationsStatus/", status=404)

    with pytest.raises(HttpResponseError) as caught:
        create_endpoint(client, name)

    assert caught.value.status_code == 404
    assert client.online_endpoints.get(name).provisioning_state == "Succeeded"


def test_a_failing_container_is_a_424_that_tells_its_status(served: Served, emulator: EmulatorProcess) -> None:
    emulator.fail(at="container", path=f"^/{served.name}/blue/score", status=503, body="no memory left")

    answer, after = served.score({}), served.score({})

    assert (answer.status_code, answer.text, after.status_code) == (424, "no memory left", 200)
    assert answer.headers["ms-azureml-model-error-statuscode"] == "503"
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"


def test_a_container_that_cuts_the_connection_is_not_ready(served: Served, emulator: EmulatorProcess) -> None:
    emulator.fail(at="container", path=f"^/{served.name}/blue/", drop="before")

    answer = served.score({})

    assert (answer.status_code, answer.headers["ms-azureml-model-error-reason"]) == (424, "model_not_ready")


def test_a_slow_container_runs_into_the_request_timeout(
    client: MLClient, emulator: EmulatorProcess, model: Model, environment: Environment, name: str
) -> None:
    create_endpoint(client, name)
    hasty = OnlineRequestSettings(request_timeout_ms=500)
    wanted = describe(name, model, environment, request_settings=hasty)
    client.online_deployments.begin_create_or_update(wanted).result()
    emulator.fail(at="container", path=f"^/{name}/blue/", delay_seconds=3600)

    answer = serving(client, emulator, name).score({}, azureml_model_deployment="blue")

    assert answer.status_code == 408


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ({"path": "x"}, "the fault has no effect: set status"),
        ({"path": "x", "status": 500, "drop": "before"}, "exclude each other"),
        ({"path": "x", "operation": "stuck", "at": "container"}, "an operation does not run in a container"),
        ({"path": "x", "operation": "slow"}, "needs delay_seconds"),
    ],
)
def test_a_fault_that_says_nothing_or_two_things_is_refused(
    emulator: EmulatorProcess, fault: dict[str, object], text: str
) -> None:
    answer = emulator.http().post(f"{emulator.url}/_emulator/faults", json=[fault])

    assert (answer.status_code, text in answer.json()["problems"][0]["msg"]) == (400, True)
