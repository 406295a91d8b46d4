"""Online deployments with real inference servers behind them, through azure-ai-ml."""

import json
import threading
from pathlib import Path

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from tests.contract.conftest import (
    FIXTURES,
    Arm,
    Served,
    create_endpoint,
    describe,
    error_of,
    fields,
    serving,
    set_traffic,
)
from tests.support.emulator_process import EmulatorProcess
from tests.support.waiting import wait_for


def test_a_deployment_succeeds_with_the_services_defaults(
    client: MLClient, arm: Arm, model: Model, environment: Environment, served: Served, name: str
) -> None:
    create_endpoint(client, name)
    wanted = describe(name, model, environment, request_settings=None)
    client.online_deployments.begin_create_or_update(wanted).result()
    properties = arm.send("GET", f"/onlineEndpoints/{name}/deployments/blue").json()["properties"]

    assert properties["provisioningState"] == "Succeeded"
    assert properties["requestSettings"]["requestTimeout"] == "PT5S"
    assert properties["readinessProbe"]["failureThreshold"] == 30
    assert client.online_deployments.get("blue", served.name).instance_count == 2


def test_both_logs_can_be_read(client: MLClient, served: Served) -> None:
    server = client.online_deployments.get_logs("blue", served.name, lines=200)
    storage = client.online_deployments.get_logs("blue", served.name, lines=5, container_type="storage-initializer")

    assert "good: init has run" in server
    assert "Downloading model shared-model:1" in storage


def test_a_raising_init_fails_the_operation_and_leaves_its_traceback_in_the_log(
    client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    create_endpoint(client, name)
    wanted = describe(name, model, environment, script="broken_init")

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(wanted).result()

    assert (caught.value.status_code, error_of(caught.value).code) == (200, None)
    assert error_of(caught.value).message.startswith("ResourceNotReady: User container has crashed or terminated")
    assert client.online_deployments.get("blue", name).provisioning_state == "Failed"
    assert "the weights are from another planet" in client.online_deployments.get_logs("blue", name, lines=200)


def test_a_failed_first_provisioning_can_only_be_deleted(
    client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    create_endpoint(client, name)
    with pytest.raises(HttpResponseError):
        client.online_deployments.begin_create_or_update(
            describe(name, model, environment, script="broken_init")
        ).result()

    with pytest.raises(HttpResponseError, match="unrecoverable") as again:
        client.online_deployments.begin_create_or_update(describe(name, model, environment)).result()
    with pytest.raises(HttpResponseError) as traffic:
        set_traffic(client, name, blue=100)
    client.online_deployments.begin_delete("blue", name).result()

    assert again.value.status_code == 400
    assert "has failed provisioning" in fields(traffic.value)["Traffic"][0]
    with pytest.raises(ResourceNotFoundError):
        client.online_deployments.get("blue", name)


def test_an_environment_that_cannot_be_built_fails_with_the_build_log(
    client: MLClient, model: Model, name: str
) -> None:
    create_endpoint(client, name)
    broken = Environment(
        name=name, version="1", image="docker.io/library/python", conda_file=str(FIXTURES / "broken_conda.yaml")
    )

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(describe(name, model, broken)).result()

    assert error_of(caught.value).code is None
    assert error_of(caught.value).message.startswith("ImageBuildFailure: ")
    assert "rollway-package-that-does-not-exist" in error_of(caught.value).message
    assert "rollway-package-that-does-not-exist" in client.online_deployments.get_logs("blue", name, lines=100)


def test_a_model_whose_blob_is_missing_fails_in_the_storage_initializer(
    client: MLClient, arm: Arm, environment: Environment, name: str
) -> None:
    uri = f"azureml:/{arm.root.replace('/providers/Microsoft.MachineLearningServices', '')}"
    gone = {"modelUri": f"{uri}/datastores/workspaceblobstore/paths/nothing/here"}
    arm.send("PUT", f"/models/{name}/versions/1", {"properties": gone}).raise_for_status()
    create_endpoint(client, name)

    with pytest.raises(HttpResponseError, match=r"ResourceNotFound: .*nothing/here does not exist"):
        client.online_deployments.begin_create_or_update(
            describe(name, client.models.get(name, "1"), environment)
        ).result()

    log = client.online_deployments.get_logs("blue", name, lines=9, container_type="storage-initializer")
    assert "StorageManifestError" in log


def test_settings_out_of_range_are_all_refused_at_once(
    client: MLClient, model: Model, environment: Environment, arm: Arm, served: Served
) -> None:
    current = arm.send("GET", f"/onlineEndpoints/{served.name}/deployments/blue").json()
    current["sku"]["capacity"] = 0
    current["properties"]["requestSettings"] = {"requestTimeout": "PT181S"}
    current["properties"]["model"] += "7"

    answer = arm.send("PUT", f"/onlineEndpoints/{served.name}/deployments/green", current)

    found = json.loads(answer.json()["error"]["details"][0]["message"])["errors"]
    assert answer.status_code == 400
    assert set(found) == {"Sku.Capacity", "RequestSettings.RequestTimeout", "Model"}


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"blue": 50}, "The weights sum to 50; they must sum to 0 or 100."),
        ({"blue": 100, "absent": 0}, "Deployment absent does not exist."),
        ({"blue": 101}, "must map names"),
    ],
)
def test_illegal_traffic_is_refused(arm: Arm, served: Served, weights: dict[str, int], text: str) -> None:
    endpoint = arm.send("GET", f"/onlineEndpoints/{served.name}").json()
    endpoint["properties"]["traffic"] = weights

    answer = arm.send("PUT", f"/onlineEndpoints/{served.name}", endpoint)

    assert answer.status_code == 400
    assert text in json.loads(answer.json()["error"]["details"][0]["message"])["errors"]["Traffic"][0]
    assert arm.send("GET", f"/onlineEndpoints/{served.name}").json()["properties"]["traffic"] == {"blue": 100}


def test_mirror_traffic_cannot_go_where_live_traffic_goes(arm: Arm, served: Served) -> None:
    endpoint = arm.send("GET", f"/onlineEndpoints/{served.name}").json()
    endpoint["properties"]["mirrorTraffic"] = {"blue": 10}

    answer = arm.send("PUT", f"/onlineEndpoints/{served.name}", endpoint)

    assert answer.status_code == 400
    assert "receives live traffic already" in answer.text


def test_a_deployment_with_traffic_cannot_be_deleted(client: MLClient, served: Served) -> None:
    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_delete("blue", served.name).result()

    assert fields(caught.value) == {
        "Deployment": ["Deployment blue receives 100% of the endpoint's traffic. Set it to 0 before deleting."]
    }


def test_a_deployment_of_no_endpoint_is_a_404(arm: Arm, name: str) -> None:
    answer = arm.send("PUT", f"/onlineEndpoints/{name}/deployments/blue", {"location": "westeurope"})

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "NotFound")
    assert error["details"][0]["code"] == "InferencingClientCallFailed"


def test_a_write_while_an_operation_runs_is_a_conflict(
    client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess, name: str
) -> None:
    endpoint = create_endpoint(client, name)
    emulator.fail(method="PUT", path=f"{name}/deployments/blue$", operation="stuck")
    running = client.online_deployments.begin_create_or_update(describe(name, model, environment))

    with pytest.raises(ResourceExistsError, match="Already running method PUT") as caught:
        client.online_endpoints.begin_create_or_update(endpoint)
    emulator.delete_faults()

    assert error_of(caught.value).code == "Conflict"
    assert running.result().provisioning_state == "Succeeded"


def test_tags_of_an_endpoint_cannot_change_while_an_online_deployment_is_created(
    client: MLClient, arm: Arm, model: Model, environment: Environment, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    emulator.fail(method="PUT", path=f"{name}/deployments/blue$", operation="stuck")
    running = client.online_deployments.begin_create_or_update(describe(name, model, environment))

    refused = arm.send("PATCH", f"/onlineEndpoints/{name}", {"tags": {"run": "7"}})
    emulator.delete_faults()

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "Conflict")
    assert f"Already running method PUT on endpoint {name}" in refused.json()["error"]["message"]
    assert running.result().provisioning_state == "Succeeded"


def test_a_failed_update_leaves_the_old_revision_serving_and_can_be_corrected(
    client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    client.online_deployments.begin_create_or_update(describe(name, model, environment)).result()
    set_traffic(client, name, blue=100)
    blue = serving(client, emulator, name)

    with pytest.raises(HttpResponseError, match="ResourceNotReady"):
        client.online_deployments.begin_create_or_update(
            describe(name, model, environment, script="broken_init")
        ).result()
    failed = client.online_deployments.get("blue", name)
    while_failed = blue.score({})
    client.online_deployments.begin_create_or_update(describe(name, model, environment, script="wrong_output")).result()

    assert failed.provisioning_state == "Failed"
    assert (while_failed.status_code, while_failed.json()["answer"]) == (200, 42)
    assert blue.score({}).json() == {"unexpected": "content"}


def test_a_single_file_model_keeps_its_name_in_the_model_directory(
    client: MLClient, environment: Environment, emulator: EmulatorProcess, name: str, tmp_path: Path
) -> None:
    (tmp_path / "model.txt").write_text("x")
    model = client.models.create_or_update(Model(name=name, path=str(tmp_path / "model.txt"), version="7"))
    create_endpoint(client, name)
    client.online_deployments.begin_create_or_update(describe(name, model, environment)).result()
    set_traffic(client, name, blue=100)
    blue = serving(client, emulator, name)

    assert blue.score({}).json()["model_version"] == "7"
    log = client.online_deployments.get_logs("blue", name, lines=9, container_type="storage-initializer")
    assert f"Downloaded model {name}:7 as model.txt" in log


def test_deleting_a_deployment_lets_its_requests_in_flight_end(
    client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess, name: str, tmp_path: Path
) -> None:
    endpoint = create_endpoint(client, name)
    started = tmp_path / "started"
    variables = {"SLOW_SECONDS": "2", "STARTED": str(started)}
    wanted = describe(name, model, environment, script="slow", environment_variables=variables)
    client.online_deployments.begin_create_or_update(wanted).result()
    blue = serving(client, emulator, name)
    answers: list[httpx.Response] = []
    request = threading.Thread(target=lambda: answers.append(blue.score({}, azureml_model_deployment="blue")))
    request.start()
    wait_for(started.exists, "request in the model")

    client.online_deployments.begin_delete("blue", name).result()
    request.join()

    assert endpoint.name == name
    assert [answer.status_code for answer in answers] == [200]
    assert blue.score({}, azureml_model_deployment="blue").status_code == 404
