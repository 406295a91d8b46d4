"""Custom containers through azure-ai-ml: images and build contexts with routes of their own, and no scoring script."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import BuildContext, Environment, ManagedOnlineDeployment, Model, ProbeSettings
from azure.core.exceptions import HttpResponseError

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

IMAGE = "registry.example.com/team/own-server:1"  # in tests/fixtures/images.yml
ROUTES = {
    f"{kind}_route": {"port": 8501, "path": path}
    for kind, path in (("liveness", "/live"), ("readiness", "/ready"), ("scoring", "/predict"))
}
Describe = Callable[..., ManagedOnlineDeployment]
Serve = Callable[..., Served]


@pytest.fixture
def describe_custom(model: Model, name: str) -> Describe:
    """Describes an online deployment without code."""

    def make(environment: Environment, **settings: Any) -> ManagedOnlineDeployment:
        wanted = {"model": model, "instance_type": "Standard_DS3_v2", "instance_count": 1, **settings}
        return ManagedOnlineDeployment(
            name="blue", endpoint_name=name, environment=environment, request_settings=PATIENT, **wanted
        )

    return make


@pytest.fixture
def serve(client: MLClient, emulator: EmulatorProcess, describe_custom: Describe, name: str) -> Serve:
    """Deploys a custom container and gives it all traffic."""

    def make(environment: Environment, **settings: Any) -> Served:
        create_endpoint(client, name)
        client.online_deployments.begin_create_or_update(describe_custom(environment, **settings)).result()
        set_traffic(client, name, blue=100)
        return serving(client, emulator, name)

    return make


def image(**settings: Any) -> Environment:
    return Environment(image=IMAGE, inference_config=ROUTES, **settings)


def test_a_custom_container_is_probed_and_scored_on_its_own_routes(
    client: MLClient, serve: Serve, name: str, model: Model
) -> None:
    served = serve(image(), instance_count=2, environment_variables={"A": "1"})

    answer = served.score({"x": 1})

    assert served.uri.endswith(f"/{name}/predict")
    assert answer.status_code == 200, answer.text
    assert answer.json()["request"] == {"x": 1}
    assert answer.json()["model"] == ["weights/weights.txt"]
    assert answer.json()["variables"]["AZUREML_MODEL_DIR"].endswith(f"azureml-models/{model.name}/{model.version}")
    assert "own server: port" in client.online_deployments.get_logs("blue", name, lines=50)


def test_paths_below_the_endpoint_reach_the_container_as_they_are(serve: Serve) -> None:
    served = serve(image())

    below = Served(served.name, f"{served.uri}/below?a=b", served.key, served.emulator)
    beside = Served(served.name, served.uri.replace("/predict", "/elsewhere"), served.key, served.emulator)

    assert below.score({}).json()["path"] == "/predict/below?a=b"
    refused = beside.score({})
    assert (refused.status_code, refused.headers["ms-azureml-model-error-statuscode"]) == (424, "404")
    assert refused.json() == {"path": "/elsewhere"}


def test_a_build_context_with_a_start_command_serves(client: MLClient, serve: Serve, name: str) -> None:
    context = BuildContext(path=str(FIXTURES / "own_server"))
    served = serve(Environment(name=name, build=context, inference_config=ROUTES))

    answer = served.score({}).json()

    assert answer["variables"]["GREETING"] == "hello"
    assert answer["arguments"] == []
    assert "own server: port 8501" in client.online_deployments.get_logs("blue", name, lines=50)


def test_an_image_can_be_mapped_to_a_build_context(serve: Serve) -> None:
    served = serve(Environment(image="registry.example.com/team/built:1", inference_config=ROUTES))

    assert served.score({}).json()["variables"]["GREETING"] == "good morning"


def test_the_mount_path_of_a_model_is_kept_and_moves_its_folder(
    arm: Arm, serve: Serve, name: str, model: Model
) -> None:
    served = serve(image(), model_mount_path="/mnt/models", environment_variables={"MODEL_BASE_PATH": "/mnt/models"})

    answer = served.score({}).json()
    properties = arm.send("GET", f"/onlineEndpoints/{name}/deployments/blue").json()["properties"]

    base = answer["variables"]["MODEL_BASE_PATH"]
    assert properties["modelMountPath"] == "/mnt/models"
    assert base.endswith("/mnt/models")
    assert answer["variables"]["AZUREML_MODEL_DIR"] == f"{base}/{model.name}/{model.version}"
    assert answer["model"] == ["weights/weights.txt"]


@pytest.mark.parametrize("path", ["models", "/mnt/../etc"])
def test_a_mount_path_must_be_absolute(client: MLClient, describe_custom: Describe, name: str, path: str) -> None:
    create_endpoint(client, name)

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(describe_custom(image(), model_mount_path=path)).result()

    assert fields(caught.value) == {"ModelMountPath": ["must be an absolute path."]}


def test_a_startup_probe_is_kept_with_its_defaults_and_asks_its_own_route(
    client: MLClient, arm: Arm, serve: Serve, name: str
) -> None:
    routes = {f"{kind}Route": ROUTES[f"{kind}_route"] for kind in ("liveness", "readiness", "scoring")}
    environment = {"image": IMAGE, "inferenceConfig": {**routes, "startupRoute": {"path": "/started", "port": 8501}}}
    made = arm.send("PUT", f"/environments/{name}/versions/1", {"properties": environment}).raise_for_status().json()
    serve(image())
    document = arm.send("GET", f"/onlineEndpoints/{name}/deployments/blue").json()
    document["properties"] |= {"environmentId": made["id"], "startupProbe": {"period": "PT1S"}}
    document["name"] = "green"

    started = arm.send("PUT", f"/onlineEndpoints/{name}/deployments/green", document)
    wait_for(lambda: state_of(arm, name, "green") == "Succeeded", "end of the creation")

    assert started.status_code == 201
    probe = arm.send("GET", f"/onlineEndpoints/{name}/deployments/green").json()["properties"]["startupProbe"]
    assert (probe["period"], probe["failureThreshold"]) == ("PT1S", 30)
    assert '"GET /started HTTP/1.1" 200' in client.online_deployments.get_logs("green", name, lines=50)


def state_of(arm: Arm, endpoint: str, name: str) -> str:
    document = arm.send("GET", f"/onlineEndpoints/{endpoint}/deployments/{name}").json()
    return str(document["properties"]["provisioningState"])


def test_the_scoring_uri_is_the_scripts_again_without_the_custom_container(
    client: MLClient, serve: Serve, name: str
) -> None:
    before = create_endpoint(client, name).scoring_uri
    served = serve(image())
    set_traffic(client, name)
    client.online_deployments.begin_delete("blue", name).result()

    assert str(before).endswith(f"/{name}/score")
    assert served.uri.endswith(f"/{name}/predict")
    assert client.online_endpoints.get(name).scoring_uri == before


@pytest.mark.parametrize("is_built", [False, True])
def test_tensorflow_serving_is_absent_and_the_error_says_what_to_do(
    client: MLClient, describe_custom: Describe, name: str, tmp_path: Path, is_built: bool
) -> None:
    create_endpoint(client, name)
    (tmp_path / "Dockerfile").write_text("FROM docker.io/tensorflow/serving:latest\nENV MODEL_NAME=hpt\n")
    what: dict[str, Any] = {"image": "docker.io/tensorflow/serving:latest"}
    if is_built:
        what = {"name": name, "build": BuildContext(path=str(tmp_path))}

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(
            describe_custom(Environment(**what, inference_config=ROUTES))
        ).result()

    first_line = error_of(caught.value).message.splitlines()[0]
    assert first_line == (
        "BadArgument: image 'docker.io/tensorflow/serving:latest' cannot be pulled: TensorFlow Serving is not "
        "emulated. Write a command of your own for it into a mapping file, and start the emulator with --images FILE"
    )


def test_triton_models_without_an_environment_are_absent_and_the_error_says_what_to_do(
    client: MLClient, name: str, tmp_path: Path
) -> None:
    create_endpoint(client, name)
    (tmp_path / "model.onnx").touch()
    triton = Model(name=name, path=str(tmp_path), type="triton_model")
    wanted = ManagedOnlineDeployment(
        name="blue", endpoint_name=name, model=triton, instance_type="Standard_DS3_v2", instance_count=1
    )

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(wanted).result()

    assert fields(caught.value)["EnvironmentId"] == [
        "is required: Triton is not emulated. Name an environment whose image is mapped to a command of your own, and "
        "start the emulator with --images FILE."
    ]


def test_routes_without_a_path_or_port_are_refused(arm: Arm, name: str) -> None:
    properties = {"image": IMAGE, "inferenceConfig": {"scoringRoute": {"path": "score", "port": 99999}}}

    refused = arm.send("PUT", f"/environments/{name}/versions/1", {"properties": properties})

    assert refused.status_code == 400
    assert "scoringRoute.path must be a path that begins with '/'." in refused.json()["error"]["message"]
    assert "scoringRoute.port must be a port between 1 and 65535." in refused.json()["error"]["message"]


def test_a_container_whose_routes_nobody_answers_is_not_ready(
    client: MLClient, describe_custom: Describe, name: str
) -> None:
    create_endpoint(client, name)
    wrong = ROUTES | {"readiness_route": {"port": 8501, "path": "/nowhere"}}
    at_once = ProbeSettings(initial_delay=0, period=1, timeout=1, failure_threshold=1, success_threshold=1)
    wanted = describe_custom(Environment(image=IMAGE, inference_config=wrong), readiness_probe=at_once)

    with pytest.raises(HttpResponseError, match="Readiness probe failed"):
        client.online_deployments.begin_create_or_update(wanted).result()
