"""Online deployments of MLflow models without scoring script and environment, and their collected data."""

import json
import re
import uuid
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import DataCollector, DeploymentCollection, Environment, ManagedOnlineDeployment, Model
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient

from tests.contract.conftest import (
    FIXTURES,
    PATIENT,
    Arm,
    Served,
    create_endpoint,
    error_of,
    fields,
    serving,
    set_traffic,
)
from tests.support.emulator_process import EmulatorProcess
from tests.support.waiting import wait_for

FOLDER = FIXTURES / "mlflow_folder" / "model"
SPLIT = {"columns": ["x"], "index": [0, 1], "data": [[0.0], [2.5]]}
COLLECTED = ("model_inputs", "model_outputs", "request", "response")


def describe_no_code(endpoint: str, model: Model | str, **settings: Any) -> ManagedOnlineDeployment:
    return ManagedOnlineDeployment(
        name="blue",
        endpoint_name=endpoint,
        model=model,
        instance_type="Standard_DS3_v2",
        instance_count=1,
        request_settings=PATIENT,
        **settings,
    )


@pytest.fixture(scope="module")
def no_code(client: MLClient, emulator: EmulatorProcess) -> Served:
    """An endpoint that serves an MLflow model without a script, and collects all data."""
    name = f"mlflow-{uuid.uuid4().hex[:8]}"
    model = client.models.create_or_update(Model(name=name, path=str(FOLDER), type="mlflow_model"))
    create_endpoint(client, name)
    collector = DataCollector(collections={one: DeploymentCollection(enabled="true") for one in COLLECTED})
    wanted = describe_no_code(name, model, data_collector=collector)
    client.online_deployments.begin_create_or_update(wanted).result()
    set_traffic(client, name, blue=100)
    return serving(client, emulator, name)


def test_an_mlflow_model_is_served_without_script_and_environment(client: MLClient, arm: Arm, no_code: Served) -> None:
    answer = no_code.score({"input_data": SPLIT})
    properties = arm.send("GET", f"/onlineEndpoints/{no_code.name}/deployments/blue").json()["properties"]

    assert (answer.status_code, answer.json()) == (200, [1.0, 6.0])
    assert properties["provisioningState"] == "Succeeded"
    assert (properties.get("codeConfiguration"), properties.get("environmentId")) == (None, None)
    assert client.online_deployments.get("blue", no_code.name).environment is None


def test_an_image_with_azures_mlflow_script_serves_the_folder_that_its_variable_names(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    routes = {f"{kind}_route": {"port": 5001, "path": "/"} for kind in ("liveness", "readiness")}
    environment = Environment(
        image="registry.example.com/team/mlflow:1",
        inference_config={**routes, "scoring_route": {"port": 5001, "path": "/score"}},
    )
    wanted = describe_no_code(
        name,
        Model(name=name, path=str(FOLDER)),
        environment=environment,
        environment_variables={"MLFLOW_MODEL_FOLDER": FOLDER.name},
    )
    create_endpoint(client, name)

    client.online_deployments.begin_create_or_update(wanted).result()
    set_traffic(client, name, blue=100)

    assert serving(client, emulator, name).score({"input_data": SPLIT}).json() == [1.0, 6.0]


def test_a_request_that_the_model_does_not_take_is_a_424_that_tells_its_status(no_code: Served) -> None:
    without_key, records = no_code.score(SPLIT), no_code.score({"input_data": [{"x": 1.0}]})

    assert (without_key.status_code, records.status_code) == (424, 424)
    assert without_key.headers["ms-azureml-model-error-statuscode"] == "400"
    assert without_key.json() == {"message": "A value is not provided for the 'input_data' parameter."}
    assert records.headers["ms-azureml-model-error-statuscode"] == "500"


def test_a_model_of_another_type_needs_an_environment(client: MLClient, model: Model, name: str) -> None:
    create_endpoint(client, name)

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(describe_no_code(name, model))

    assert fields(caught.value) == {"EnvironmentId": ["is required."]}


def test_a_folder_that_is_no_mlflow_model_fails_as_a_bad_argument(client: MLClient, name: str) -> None:
    wrong = client.models.create_or_update(Model(name=name, path=str(FIXTURES / "good"), type="mlflow_model"))
    create_endpoint(client, name)

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(describe_no_code(name, wrong)).result()

    assert error_of(caught.value).message.startswith("BadArgument: The MLflow model cannot be served without a scoring")
    assert "it has no file MLmodel in its folder" in error_of(caught.value).message


def test_a_data_collector_is_shown_with_azures_defaults(client: MLClient, arm: Arm, no_code: Served) -> None:
    properties = arm.send("GET", f"/onlineEndpoints/{no_code.name}/deployments/blue").json()["properties"]
    asset = client.data.get(f"{no_code.name}-blue-model_inputs", "1")

    found = properties["dataCollector"]
    assert found["rollingRate"] == "Hour"
    assert found["collections"]["model_inputs"] == {
        "dataCollectionMode": "Enabled",
        "samplingRate": 1.0,
        "dataId": asset.id,
        "clientId": None,
    }
    assert asset.path.endswith(f"/paths/modelDataCollector/{no_code.name}/blue/model_inputs")


@pytest.fixture
def store(client: MLClient, arm: Arm, emulator: EmulatorProcess) -> ContainerClient:
    """The workspace's blob store."""
    datastore = client.datastores.get_default()
    secret = arm.send("POST", f"/datastores/{datastore.name}/listSecrets", {}).json()["sasToken"]
    url = f"https://{datastore.account_name}.blob.{datastore.endpoint}/{datastore.container_name}?{secret}"
    return ContainerClient.from_container_url(url)


def read_events(store: ContainerClient, prefix: str) -> list[dict[str, Any]]:
    """The collected events below a folder, in order."""
    files = [
        store.get_blob_client(name).download_blob().readall() for name in store.list_blob_names(name_starts_with=prefix)
    ]
    return [json.loads(line) for file in files for line in file.splitlines()]


def collected(store: ContainerClient, served: Served, collection: str, value: Any) -> dict[str, Any]:
    """Wait for the one event of a collection with this data."""
    prefix = f"modelDataCollector/{served.name}/blue/{collection}/"
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = [one for one in read_events(store, prefix) if one["data"] == value]
        return bool(found)

    wait_for(is_there, "event of the request")
    (event,) = found
    return event


def test_inputs_and_outputs_of_an_mlflow_model_are_collected_in_the_documented_layout(
    no_code: Served, store: ContainerClient
) -> None:
    no_code.score({"input_data": {"columns": ["x"], "index": [0], "data": [[17.0]]}})

    inputs = collected(store, no_code, "model_inputs", [{"x": 17.0}])
    outputs = collected(store, no_code, "model_outputs", [{"0": 35.0}])

    assert inputs["type"] == "azureml.inference.model_inputs"
    assert inputs["source"].endswith(f"/onlineEndpoints/{no_code.name}/deployments/blue")
    assert inputs["collectdatatype"].endswith("DataFrame")
    assert inputs["agent"].startswith("azureml-ai-monitoring/")
    assert inputs["correlationid"] == outputs["correlationid"]
    (name,) = store.list_blob_names(name_starts_with=f"modelDataCollector/{no_code.name}/blue/model_inputs/")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\d\d/[0-9a-f-]{36}\.jsonl", name.split("/model_inputs/")[1])


def test_payloads_are_collected_with_the_id_of_their_request(no_code: Served, store: ContainerClient) -> None:
    asked = {"input_data": {"columns": ["x"], "index": [0], "data": [[19.0]]}}
    answer = no_code.score(asked)

    request = collected(store, no_code, "request", asked)
    response = collected(store, no_code, "response", [39.0])

    assert (request["path"], request["method"]) == ("/score", "POST")
    assert request["correlationid"] == response["correlationid"] == answer.headers["x-request-id"]
    assert request["contentrange"].endswith(f"/{len(answer.request.content)}")
