"""The control plane through azure-mgmt-machinelearningservices, which shares no code with azure-ai-ml.

It deserialises strictly, PATCHes, and asks for api-versions of its own.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model

from tests.contract.conftest import Arm, Served, create_endpoint, describe
from tests.support.emulator_process import EmulatorProcess
from tests.support.other_clients import ClientError, OtherClient

# The pre-release: 1.x has no online endpoints. Beside azure-ai-ml it would replace that one's own models.
REQUIREMENTS = ("azure-mgmt-machinelearningservices==2.0.0b2", "azure-identity>=1.25")
MANAGEMENT_CLIENT = "azure.mgmt.machinelearningservices:MachineLearningServicesMgmtClient"
PLACE = {"resource_group_name": "rollway", "workspace_name": "local"}
Management = Callable[..., Any]


@pytest.fixture(scope="session")
def process(emulator: EmulatorProcess) -> Iterator[OtherClient]:
    running = OtherClient(REQUIREMENTS, MANAGEMENT_CLIENT, emulator.environment)
    yield running
    running.close()


@pytest.fixture
def management(process: OtherClient) -> Management:
    """Calls an operation in the workspace."""
    return lambda operation, **keywords: process(operation, **PLACE, **keywords)


def endpoint_body(**properties: Any) -> dict[str, Any]:
    return {"location": "westeurope", "tags": {"team": "a"}, "properties": {"authMode": "Key", **properties}}


def test_the_management_client_creates_reads_lists_and_deletes_an_endpoint(management: Management, name: str) -> None:
    created = management("online_endpoints.begin_create_or_update", endpoint_name=name, body=endpoint_body())
    found = management("online_endpoints.get", endpoint_name=name)
    listed = [one["name"] for one in management("online_endpoints.list")]
    keys = management("online_endpoints.list_keys", endpoint_name=name)
    management("online_endpoints.begin_delete", endpoint_name=name)

    assert created["properties"]["provisioningState"] == "Succeeded"
    assert (found["name"], found["tags"], found["identity"]["type"]) == (name, {"team": "a"}, "SystemAssigned")
    assert found["properties"]["scoringUri"].endswith("/score")
    assert name in listed
    assert keys["primaryKey"] != keys["secondaryKey"]
    with pytest.raises(ClientError) as caught:
        management("online_endpoints.get", endpoint_name=name)
    assert (caught.value.kind, caught.value.status) == ("ResourceNotFoundError", 404)


def test_a_patch_of_an_endpoint_changes_tags_and_nothing_else(management: Management, name: str) -> None:
    management("online_endpoints.begin_create_or_update", endpoint_name=name, body=endpoint_body(description="kept"))

    patched = management("online_endpoints.begin_update", endpoint_name=name, body={"tags": {"run": "7"}})

    assert patched["tags"] == {"team": "a", "run": "7"}
    assert (patched["properties"]["description"], patched["properties"]["authMode"]) == ("kept", "Key")
    assert patched["properties"]["provisioningState"] == "Succeeded"


def test_the_management_client_regenerates_a_key(management: Management, name: str) -> None:
    management("online_endpoints.begin_create_or_update", endpoint_name=name, body=endpoint_body())
    before = management("online_endpoints.list_keys", endpoint_name=name)

    management("online_endpoints.begin_regenerate_keys", endpoint_name=name, body={"keyType": "Primary"})

    after = management("online_endpoints.list_keys", endpoint_name=name)
    assert after["primaryKey"] != before["primaryKey"]
    assert after["secondaryKey"] == before["secondaryKey"]


def test_the_management_client_gets_a_token_of_an_endpoint(management: Management, name: str) -> None:
    body = endpoint_body() | {"properties": {"authMode": "AMLToken"}}
    management("online_endpoints.begin_create_or_update", endpoint_name=name, body=body)

    token = management("online_endpoints.get_token", endpoint_name=name)

    assert token["expiryTimeUtc"] > token["refreshAfterTimeUtc"] > 0


def test_the_management_client_registers_and_lists_models(management: Management, name: str) -> None:
    uri = "azureml://datastores/workspaceblobstore/paths/somewhere"
    body = {"properties": {"modelUri": uri, "modelType": "custom_model", "tags": {"stage": "test"}}}

    created = management("model_versions.create_or_update", name=name, version="3", body=body)

    versions = management("model_versions.list", name=name)
    container = management("model_containers.get", name=name)
    assert (created["name"], created["properties"]["modelUri"]) == ("3", uri)
    assert [one["name"] for one in versions] == ["3"]
    assert (container["properties"]["latestVersion"], container["properties"]["nextVersion"]) == ("3", "4")
    assert name in [one["name"] for one in management("model_containers.list")]


def test_the_management_client_registers_and_reads_environments(management: Management, name: str) -> None:
    body = {"properties": {"image": "docker.io/library/python:3.11", "condaFile": "name: x\n", "osType": "Linux"}}

    management("environment_versions.create_or_update", name=name, version="1", body=body)

    found = management("environment_versions.get", name=name, version="1")
    assert (found["properties"]["image"], found["properties"]["osType"]) == ("docker.io/library/python:3.11", "Linux")
    assert name in [one["name"] for one in management("environment_containers.list")]


def test_the_management_client_reads_the_workspace_and_its_datastore(management: Management) -> None:
    workspace = management("workspaces.get")
    datastore = management("datastores.get", name="workspaceblobstore")

    assert (workspace["name"], workspace["properties"]["provisioningState"]) == ("local", "Succeeded")
    assert datastore["properties"]["datastoreType"] == "AzureBlob"


def test_a_refused_request_reaches_the_management_client_with_its_fields(management: Management, name: str) -> None:
    with pytest.raises(ClientError) as caught:
        management(
            "online_endpoints.begin_create_or_update", endpoint_name=name, body=endpoint_body(traffic={"blue": 100})
        )

    assert (caught.value.kind, caught.value.status, caught.value.code) == ("HttpResponseError", 400, "BadRequest")
    assert "Deployment blue does not exist." in str(caught.value)


def test_the_management_client_reads_a_deployment_and_its_logs(management: Management, served: Served) -> None:
    where = {"endpoint_name": served.name, "deployment_name": "blue"}

    found = management("online_deployments.get", **where)
    listed = management("online_deployments.list", endpoint_name=served.name)
    logs = management("online_deployments.get_logs", **where, body={"containerType": "InferenceServer", "tail": 100})

    assert (found["properties"]["endpointComputeType"], found["sku"]["capacity"]) == ("Managed", 2)
    assert found["properties"]["readinessProbe"]["period"] == "PT10S"
    assert [one["name"] for one in listed] == ["blue"]
    assert "good: init has run" in logs["content"]


def test_the_management_client_creates_and_deletes_a_deployment(
    management: Management, served: Served, arm: Arm, name: str
) -> None:
    source = arm.send("GET", f"/onlineEndpoints/{served.name}/deployments/blue").raise_for_status().json()
    kept = ("endpointComputeType", "codeConfiguration", "environmentId", "model", "instanceType")
    properties = {field: source["properties"][field] for field in kept}
    body = {"location": "westeurope", "sku": {"name": "Default", "capacity": 1}, "properties": properties}
    management("online_endpoints.begin_create_or_update", endpoint_name=name, body=endpoint_body())
    where = {"endpoint_name": name, "deployment_name": "green"}

    created = management("online_deployments.begin_create_or_update", **where, body=body)
    management("online_deployments.begin_delete", **where)

    assert (created["properties"]["provisioningState"], created["sku"]["capacity"]) == ("Succeeded", 1)
    assert created["properties"]["requestSettings"]["requestTimeout"] == "PT5S"
    with pytest.raises(ClientError) as caught:
        management("online_deployments.get", **where)
    assert caught.value.status == 404


def test_the_management_client_reads_a_kubernetes_cluster_and_endpoint(
    management: Management, arm: Arm, name: str
) -> None:
    body = endpoint_body(compute=f"{arm.root}/computes/cluster")

    created = management("online_endpoints.begin_create_or_update", endpoint_name=name, body=body)
    cluster = management("compute.get", compute_name="cluster")

    assert created["properties"]["compute"].endswith("/computes/cluster")
    assert (cluster["properties"]["computeType"], cluster["properties"]["isAttachedCompute"]) == ("Kubernetes", True)


def test_a_patch_scales_a_deployment_and_leaves_its_settings(
    management: Management, client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    create_endpoint(client, name)
    wanted = describe(name, model, environment, environment_variables={"KEPT": "1"}, tags={"run": "7"})
    client.online_deployments.begin_create_or_update(wanted).result()
    where = {"endpoint_name": name, "deployment_name": "blue"}

    scaled = management("online_deployments.begin_update", **where, body={"sku": {"capacity": 2}})
    with pytest.raises(ClientError, match="must be between 1 and 50") as refused:
        management("online_deployments.begin_update", **where, body={"sku": {"capacity": 0}})
    management("online_deployments.begin_delete", **where)

    assert (scaled["sku"]["capacity"], scaled["properties"]["provisioningState"]) == (2, "Succeeded")
    assert (scaled["properties"]["environmentVariables"]["KEPT"], scaled["tags"]) == ("1", {"run": "7"})
    assert refused.value.status == 400
    assert management("online_deployments.list", endpoint_name=name) == []


@pytest.mark.parametrize(
    ("operation", "properties", "kind"),
    [
        ("online_endpoints.get", {"authMode": "Key", "traffic": "blue"}, "DeserializationError"),
        ("online_endpoints.get", {"traffic": {}}, "TypeError"),
        ("online_deployments.get", {"endpointComputeType": "Cloudy"}, "TypeError"),
    ],
)
def test_an_answer_of_a_wrong_shape_would_be_noticed(
    management: Management, emulator: EmulatorProcess, name: str, operation: str, properties: Any, kind: str
) -> None:
    wrong = {"id": "/x", "name": name, "location": "westeurope", "properties": properties}
    emulator.fail(method="GET", path=f"/onlineEndpoints/{name}", status=200, body=wrong)
    where = {"endpoint_name": name} | ({"deployment_name": "blue"} if "deployments" in operation else {})

    with pytest.raises(ClientError) as caught:
        management(operation, **where)

    assert caught.value.kind == kind
