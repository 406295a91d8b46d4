"""The errors of online deployments that no other test provokes, and what azure-ai-ml raises for each."""

from collections.abc import Callable

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.rest import HttpResponse

from tests.contract.conftest import create_endpoint, describe, error_of
from tests.support.emulator_process import EmulatorProcess


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("OutOfQuota", "Container terminated due to insufficient memory."),
        ("OutOfQuota", "The region has no capacity for the requested virtual machines."),
        ("BadArgument", "User model is not usable."),
        ("ResourceNotFound", "The container registry cannot be reached."),
        ("WorkspaceManagedNetworkNotReady", "The managed network is being provisioned."),
        ("OperationCanceled", "The operation was displaced by another one with a higher priority."),
        ("SecretsInjectionError", "The identity cannot read the secret of the connection."),
        ("InternalServerError", "Something is wrong with the service."),
    ],
)
def test_an_operation_of_a_deployment_that_fails_is_raised_with_its_code(
    client: MLClient,
    emulator: EmulatorProcess,
    model: Model,
    environment: Environment,
    name: str,
    code: str,
    message: str,
) -> None:
    create_endpoint(client, name)
    emulator.fail(method="PUT", path=f"{name}/deployments/blue$", operation="failed", code=code, message=message)

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(describe(name, model, environment)).result()

    assert (caught.value.status_code, error_of(caught.value).code) == (200, None)
    assert error_of(caught.value).message.startswith(f"{code}: {message}")
    assert client.online_deployments.get("blue", name).provisioning_state == "Failed"


def test_an_image_that_cannot_be_pulled_fails_as_a_bad_argument(client: MLClient, model: Model, name: str) -> None:
    create_endpoint(client, name)
    unknown = Environment(name=name, version="1", image="nowhere.example/nobody/nothing:1")

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(describe(name, model, unknown)).result()

    assert (caught.value.status_code, error_of(caught.value).code) == (200, None)
    assert error_of(caught.value).message.startswith("BadArgument: ")
    assert "nowhere.example/nobody/nothing:1" in error_of(caught.value).message


def test_a_workspace_in_legacy_mode_has_no_online_endpoints(connect: Callable[..., MLClient], name: str) -> None:
    legacy = connect(workspace="legacy")

    with pytest.raises(HttpResponseError, match="v1_legacy_mode == true") as caught:
        create_endpoint(legacy, name)

    assert (caught.value.status_code, error_of(caught.value).code) == (400, "BadRequest")


def test_a_managed_network_that_is_not_provisioned_refuses_deployments(
    connect: Callable[..., MLClient], model: Model, environment: Environment, name: str
) -> None:
    networked = connect(workspace="networked")
    create_endpoint(networked, name)

    with pytest.raises(HttpResponseError, match="WorkspaceManagedNetworkNotReady") as caught:
        networked.online_deployments.begin_create_or_update(describe(name, model, environment))

    assert caught.value.status_code == 400
    found = networked.workspaces.get("networked").managed_network
    assert found.isolation_mode == "AllowInternetOutbound"


def test_a_throttled_request_is_raised_when_the_client_does_not_retry(
    connect: Callable[..., MLClient], emulator: EmulatorProcess, name: str
) -> None:
    error = {"error": {"code": "SubscriptionRequestsThrottled", "message": "Please try again later."}}
    emulator.fail(method="GET", path=f"/onlineEndpoints/{name}$", status=429, retry_after=17, body=error)

    with pytest.raises(HttpResponseError) as caught:
        connect(retry_total=0).online_endpoints.get(name)

    assert (caught.value.status_code, error_of(caught.value).code) == (429, "SubscriptionRequestsThrottled")
    assert isinstance(caught.value.response, HttpResponse)
    assert caught.value.response.headers["Retry-After"] == "17"


def test_an_error_of_the_service_itself_is_raised(
    connect: Callable[..., MLClient], emulator: EmulatorProcess, name: str
) -> None:
    error = {"error": {"code": "ServiceError", "message": "InternalServerError"}}
    emulator.fail(method="GET", path=f"/onlineEndpoints/{name}$", status=500, body=error)

    with pytest.raises(HttpResponseError) as caught:
        connect(retry_total=0).online_endpoints.get(name)

    assert (caught.value.status_code, error_of(caught.value).code) == (500, "ServiceError")


def test_a_deployment_of_an_endpoint_that_does_not_exist_is_refused_by_the_client(
    client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    with pytest.raises(ResourceNotFoundError, match=f"Endpoint {name} not found"):
        client.online_deployments.begin_create_or_update(describe(name, model, environment))


def test_a_deployment_of_an_endpoint_that_failed_is_refused(
    client: MLClient, emulator: EmulatorProcess, model: Model, environment: Environment, name: str
) -> None:
    emulator.fail(method="PUT", path=f"/onlineEndpoints/{name}$", operation="failed", code="InternalServerError")
    with pytest.raises(HttpResponseError, match="InternalServerError"):
        create_endpoint(client, name)

    with pytest.raises(HttpResponseError, match="has not been created successfully") as caught:
        client.online_deployments.begin_create_or_update(describe(name, model, environment))

    assert (caught.value.status_code, error_of(caught.value).details[0].code) == (400, "InferencingClientCallFailed")


def test_deleting_an_endpoint_deletes_its_deployments(
    client: MLClient, emulator: EmulatorProcess, model: Model, environment: Environment, name: str
) -> None:
    create_endpoint(client, name)
    client.online_deployments.begin_create_or_update(describe(name, model, environment)).result()

    client.online_endpoints.begin_delete(name).result()

    with pytest.raises(ResourceNotFoundError):
        client.online_deployments.get("blue", name)
    assert not [one for one in emulator.get("health")["online_deployments"] if f"/{name}/" in one]
