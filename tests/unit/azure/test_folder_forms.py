"""Every form of a model, an environment and a setting that `az ml` takes is read from a rollout folder."""

from typing import Any

import pytest

from rollway.azure.folder import load_endpoint_entity, load_folder, load_online_deployment_entity, load_unchanged
from rollway.errors import InvalidRollout
from rollway.rollout.fingerprint import fingerprint, is_same_content
from rollway.spec import RolloutSpec
from tests.support.builders import WORKSPACE_ID, RolloutFolder

ENDPOINT, DEPLOYMENT = "endpoint.yml", "deployment.yml"
MODEL_ID = f"{WORKSPACE_ID}/models/diabetes/versions/3"


def load(folder: RolloutFolder) -> RolloutSpec:
    return load_folder(str(folder.path))


def changed(folder: RolloutFolder, **changes: Any) -> RolloutSpec:
    folder.change(DEPLOYMENT, **changes)
    return load(folder)


@pytest.mark.parametrize(
    ("model", "reference"),
    [
        ("azureml:diabetes:1", "diabetes:1"),
        ("azureml:diabetes@latest", "diabetes@latest"),
        ("azureml://registries/shared/models/diabetes/versions/3",) * 2,
        (f"azureml:{MODEL_ID}", MODEL_ID),
    ],
    ids=["name and version", "latest", "registry", "ARM id"],
)
def test_a_model_may_be_a_reference(folder: RolloutFolder, model: str, reference: str) -> None:
    spec = changed(folder, model=model)

    assert spec.online_deployment.model is not None
    assert spec.online_deployment.model.reference == reference


@pytest.mark.parametrize("path", ["model.pkl", "folder"])
def test_a_model_may_be_a_path_with_a_name(folder: RolloutFolder, path: str) -> None:
    (folder.path / "folder").mkdir()
    folder.write("folder/weights", "1")
    folder.write("model.pkl", "1")

    spec = changed(folder, model={"name": "diabetes", "version": 3, "path": path})

    assert str(spec.online_deployment.model) == "diabetes:3"
    entity: Any = load_online_deployment_entity(spec.folder)
    assert str(entity.model.path) == str(folder.path / path)


def make_mlflow_model(folder: RolloutFolder, text: str = "flavors: {python_function: {}}") -> dict[str, str]:
    """Write an MLflow model into the folder; gives its definition."""
    (folder.path / "model").mkdir(exist_ok=True)
    folder.write("model/MLmodel", text)
    return {"name": "churn", "path": "model", "type": "mlflow_model"}


def test_an_mlflow_model_needs_no_script_and_no_environment(folder: RolloutFolder) -> None:
    model = make_mlflow_model(folder)

    spec = changed(folder, model=model, code_configuration=None, environment=None)

    content = spec.online_deployment
    assert (content.environment, content.code_sha256) == (None, None)
    assert "code_configuration" not in content.settings
    first, second = (fingerprint(content, f"{WORKSPACE_ID}/models/churn/versions/{one}", None) for one in "12")
    assert first != second
    assert is_same_content(first, content, f"{WORKSPACE_ID}/models/churn/versions/1", None)
    assert load_unchanged(spec).environment is None


def test_a_registered_model_may_come_without_script_and_environment_because_azure_knows_its_type(
    folder: RolloutFolder,
) -> None:
    spec = changed(folder, model="azureml:churn@latest", code_configuration=None, environment=None)

    assert spec.online_deployment.environment is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("flavors: {sklearn: {}}", "has no python_function flavor: give the model a scoring script"),
        ("- flavors", "has no python_function flavor"),
        ("flavors: [", "cannot be read as YAML"),
    ],
)
def test_an_mlflow_model_without_a_script_needs_the_flavor_that_azure_serves(
    folder: RolloutFolder, text: str, problem: str
) -> None:
    model = make_mlflow_model(folder, text)

    with pytest.raises(InvalidRollout) as caught:
        changed(folder, model=model, code_configuration=None, environment=None)

    (found,) = caught.value.problems
    assert "model.path: " in str(found)
    assert problem in str(found)


def test_a_model_by_path_alone_is_named_by_its_content(folder: RolloutFolder) -> None:
    folder.write("model.pkl", "1")
    first = changed(folder, model={"path": "model.pkl"})
    again = load(folder)
    folder.write("model.pkl", "2")

    assert first.online_deployment.model == again.online_deployment.model
    assert load(folder).online_deployment.model != first.online_deployment.model


def test_an_online_deployment_may_have_no_model(folder: RolloutFolder) -> None:
    assert changed(folder, model=None).online_deployment.model is None


INFERENCE_CONFIG = {
    f"{kind}_route": {"port": 8080, "path": path}
    for kind, path in (("liveness", "/live"), ("readiness", "/ready"), ("scoring", "/predict"))
}


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ("azureml:inference:2", "inference:2"),
        ("azureml:inference@latest", "inference@latest"),
        ("azureml://registries/azureml/environments/base/versions/4",) * 2,
        ({"name": "a", "image": "x", "conda_file": "conda.yaml"}, "a:next version"),
        ({"name": "a", "version": 7, "image": "x", "conda_file": {"dependencies": ["python=3.11"]}}, "a:7"),
        ({"name": "a", "image": "my.azurecr.io/x:1", "inference_config": INFERENCE_CONFIG}, "a:next version"),
        ({"name": "a", "build": {"path": "code", "dockerfile_path": "Dockerfile"}}, "a:next version"),
    ],
    ids=["version", "latest", "registry", "image and conda file", "inline conda", "image only", "build context"],
)
def test_an_environment_may_be_given_in_every_form(folder: RolloutFolder, environment: Any, text: str) -> None:
    folder.write("code/Dockerfile", "FROM python:3.11\n")
    assert str(changed(folder, environment=environment).online_deployment.environment) == text


def test_a_custom_container_needs_no_code(folder: RolloutFolder) -> None:
    environment = {"image": "my.azurecr.io/x:1", "inference_config": INFERENCE_CONFIG}
    spec = changed(folder, environment=environment, code_configuration=None, model_mount_path="/models")

    assert spec.online_deployment.code_sha256 is None
    assert spec.online_deployment.settings["model_mount_path"] == "/models"


def test_other_routes_are_another_environment(folder: RolloutFolder) -> None:
    definition: dict[str, Any] = {"name": "a", "image": "x", "inference_config": INFERENCE_CONFIG}
    before = changed(folder, environment=definition).online_deployment.environment
    definition["inference_config"] = {**INFERENCE_CONFIG, "scoring_route": {"port": 8080, "path": "/v2"}}

    after = changed(folder, environment=definition).online_deployment.environment

    assert before is not None
    assert after is not None
    assert before.sha256 != after.sha256


def test_a_kubernetes_online_deployment_is_read(folder: RolloutFolder) -> None:
    folder.change(ENDPOINT, compute="azureml:cluster")
    spec = changed(folder, type="kubernetes", instance_type=None, resources={"requests": {"cpu": "1", "memory": "1Gi"}})

    assert spec.online_deployment.settings["type"] == "kubernetes"
    assert spec.online_deployment.settings["resources"] == {"requests": {"cpu": "1", "memory": "1Gi"}}
    endpoint: Any = load_endpoint_entity(spec.folder)
    assert endpoint.compute == "cluster"


@pytest.mark.parametrize(
    "setting",
    [
        {"egress_public_network_access": "disabled"},
        {"app_insights_enabled": True},
        {"model_mount_path": "/var/model"},
        {"request_settings": {"request_timeout_ms": 9000, "max_concurrent_requests_per_instance": 4}},
        {"liveness_probe": {"initial_delay": 9, "period": 8, "timeout": 7, "failure_threshold": 6}},
        {"readiness_probe": {"success_threshold": 2}},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_every_setting_belongs_to_the_online_deployment(folder: RolloutFolder, setting: dict[str, Any]) -> None:
    spec = changed(folder, **setting)

    ((key, value),) = setting.items()
    read = spec.online_deployment.settings[key]
    assert {**read, **value} == read if isinstance(read, dict) else read == value


def test_environment_variables_are_text_as_in_azure(folder: RolloutFolder) -> None:
    spec = changed(folder, environment_variables={"WORKER_COUNT": 2, "QUIET": True, "NOTHING": None})

    assert load_unchanged(spec).environment_variables == {"WORKER_COUNT": "2", "QUIET": "true"}


def test_tags_and_instance_count_are_read_and_are_no_settings(folder: RolloutFolder) -> None:
    before = load(folder).online_deployment

    spec = changed(folder, tags={"team": "ml", "cost": 42}, instance_count=3, description="new").online_deployment

    assert (spec.tags, spec.instance_count) == ({"team": "ml", "cost": "42"}, 3)
    assert spec.settings == before.settings


def test_the_endpoint_has_every_field_that_is_compared(folder: RolloutFolder) -> None:
    folder.change(ENDPOINT, auth_mode="aad_token", public_network_access="disabled", description="d", tags={"a": 1})

    endpoint = load(folder).endpoint

    assert endpoint.model_dump() == {
        "name": "diabetes",
        "auth_mode": "aad_token",
        "public_network_access": "disabled",
        "kind": "managed",
        "location": None,
        "identities": (),
        "description": "d",
        "tags": {"a": "1"},
    }


def test_the_endpoints_name_may_be_left_to_endpoint_yml(folder: RolloutFolder) -> None:
    spec = changed(folder, endpoint_name=None)

    assert load_online_deployment_entity(spec.folder).endpoint_name == spec.endpoint.name


def test_a_folder_may_be_given_by_its_name(folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.path.parent / "deployments").mkdir(exist_ok=True)
    (folder.path.parent / "deployments" / "mine").symlink_to(folder.path)
    monkeypatch.chdir(folder.path.parent)

    spec = load_folder("mine")

    assert (spec.folder, spec.name) == ("deployments/mine", "mine")


def test_the_folder_of_all_rollouts_can_be_named(folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLWAY_DEPLOYMENTS", str(folder.path.parent))

    assert load_folder(folder.path.name).folder == str(folder.path)
