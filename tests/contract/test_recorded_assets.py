"""Models, environments and codes as the recorded answers of Azure show them."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model

from rollway.azure import assets
from rollway.emulator.arm.conda_files import as_json_text
from rollway.emulator.arm.storage_uris import parse_flavors
from tests.contract.conftest import Arm

CONDA = "name: inference\nchannels:\n- conda-forge\ndependencies:\n- python=3.11\n- pip:\n  - numpy==1.26.4\n"
MLMODEL = """
artifact_path: model
flavors:
  python_function:
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.sklearn
    python_version: 3.10
  sklearn:
    code: null
    pickled_model: model.pkl
    sklearn_version: 1.5.0
mlflow_version: 2.20.0
"""
SIX = ["createdAt", "createdBy", "createdByType", "lastModifiedAt", "lastModifiedBy", "lastModifiedByType"]


@pytest.fixture
def mlflow_folder(tmp_path: Path) -> Path:
    """An MLflow model on disk."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "MLmodel").write_text(MLMODEL)
    (folder / "model.pkl").write_bytes(b"\x80\x04pickle")
    return folder


def put_environment(arm: Arm, name: str, **properties: Any) -> httpx.Response:
    body = {"properties": {"image": "docker.io/library/python:3.11", "condaFile": CONDA, **properties}}
    return arm.send("PUT", f"/environments/{name}/versions/1", body).raise_for_status()


def test_an_environment_that_is_put_again_is_a_201_with_its_location_and_build(arm: Arm, name: str) -> None:
    first, again = put_environment(arm, name), put_environment(arm, name)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["build-id"] == first.headers["build-id"] != ""
    assert arm.http.get(again.headers["location"]).json() == again.json()


def test_an_environment_whose_tags_change_keeps_the_time_of_its_creation(arm: Arm, name: str) -> None:
    first, tagged = (put_environment(arm, name, tags=tags).json() for tags in ({}, {"team": "ml"}))

    assert tagged["properties"]["tags"] == {"team": "ml"}
    assert tagged["systemData"]["createdAt"] == first["systemData"]["createdAt"]
    assert tagged["systemData"]["lastModifiedAt"] > first["systemData"]["lastModifiedAt"]


def test_a_conda_file_comes_back_as_json_text_with_an_indent_of_2(arm: Arm, name: str) -> None:
    text = put_environment(arm, name).json()["properties"]["condaFile"]

    assert text == json.dumps(yaml.safe_load(CONDA), indent=2)
    assert text.startswith('{\n  "name": "inference",\n  "channels": [\n    "conda-forge"\n  ],\n')


def test_an_environment_can_be_put_again_as_the_sdk_reads_it(client: MLClient, arm: Arm, name: str) -> None:
    put_environment(arm, name)
    read = client.environments.get(name, "1")

    again = client.environments.create_or_update(read)

    assert read.conda_file == yaml.safe_load(CONDA)
    assert (again.id, again.creation_context.created_at) == (read.id, read.creation_context.created_at)


BOMB = "k0: &k0 [x]\n" + "".join(f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * 9)}]\n" for n in range(1, 9))


@pytest.mark.parametrize(
    "text",
    ["name: [", "just words", "name: .nan", "? [a]\n: b", BOMB, f"name: {'x' * 200_000}"],
    ids=["broken", "no mapping", "not a number", "a list as key", "aliases of aliases", "too long"],
)
def test_a_conda_file_that_cannot_be_json_stays_as_it_was_sent(text: str) -> None:
    assert as_json_text(text) == text


def test_a_code_is_not_anonymous_whatever_was_sent(arm: Arm, name: str) -> None:
    body = {"properties": {"codeUri": "https://somewhere/code", "isAnonymous": True}}

    first, again = (arm.send("PUT", f"/codes/{name}/versions/1", body) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 200)
    assert [answer.json()["properties"]["isAnonymous"] for answer in (first, again)] == [False, False]
    assert "location" not in again.headers


def test_a_model_is_logged_and_its_uri_is_spelled_as_azure_does(arm: Arm, name: str) -> None:
    group = arm.root.partition("/providers/")[0]
    tail = "/workspaces/local/datastores/workspaceblobstore/paths/LocalUpload/0/model.pkl"
    sent = "azureml:/" + group.replace("/resourceGroups/", "/resourcegroups/") + tail
    body = {"properties": {"modelUri": sent, "modelType": "custom_model", "isAnonymous": True}}

    first, again = (arm.send("PUT", f"/models/{name}/versions/1", body) for _ in range(2))

    properties = again.json()["properties"]
    assert (first.status_code, again.status_code) == (201, 200)
    assert arm.http.get(first.headers["location"]).json()["id"] == first.json()["id"]
    assert properties["modelUri"] == f"azureml:/{group}{tail}"
    assert {key: properties[key] for key in ("stage", "intellectualProperty", "isAnonymous", "flavors", "jobName")} == {
        "stage": "Logged",
        "intellectualProperty": None,
        "isAnonymous": True,
        "flavors": {},
        "jobName": None,
    }


def test_assets_have_all_six_fields_of_system_data(arm: Arm, name: str) -> None:
    uris = {"models": {"modelUri": "azureml://x"}, "codes": {"codeUri": "https://x"}, "environments": {"image": "x"}}

    for kind, properties in uris.items():
        answer = arm.send("PUT", f"/{kind}/{name}/versions/1", {"properties": properties}).raise_for_status()
        assert sorted(answer.json()["systemData"]) == SIX


def test_an_mlflow_model_has_the_flavors_of_its_file_and_is_copied_by_the_service(
    client: MLClient, arm: Arm, name: str, mlflow_folder: Path, tmp_path: Path
) -> None:
    made = client.models.create_or_update(Model(name=name, version="1", path=str(mlflow_folder), type="mlflow_model"))
    properties = arm.send("GET", f"/models/{name}/versions/1").json()["properties"]
    client.models.download(name, "1", download_path=str(tmp_path / "down"))

    assert properties["flavors"] == {
        "python_function": {
            "data": {
                "env": '{"conda": "conda.yaml", "virtualenv": "python_env.yaml"}',
                "loader_module": "mlflow.sklearn",
                "python_version": "3.10",
            }
        },
        "sklearn": {"data": {"pickled_model": "model.pkl", "sklearn_version": "1.5.0"}},
    }
    head, _, path = properties["modelUri"].partition("/paths/")
    assert head.endswith("/workspaces/local/datastores/workspaceblobstore")
    assert "/resourceGroups/rollway/" in head
    assert [path.split("/")[number] for number in (0, 2, 4)] == ["ServiceReplicated", "LocalUpload", "model"]
    assert str(made.path) == properties["modelUri"]
    assert next((tmp_path / "down").rglob("model.pkl")).read_bytes() == b"\x80\x04pickle"


def test_an_mlflow_model_keeps_the_flavors_that_the_client_sends_and_stays_where_it_is(
    client: MLClient, arm: Arm, name: str, mlflow_folder: Path
) -> None:
    sent = {
        "sklearn": {"sklearn_version": "0.23.2"},
        "python_function": {"loader_module": "office.plrmodel", "python_version": "3.8.5"},
    }
    wanted = Model(
        name=name, version="3", path=str(mlflow_folder), type="mlflow_model", flavors=sent, stage="Production"
    )
    client.models.create_or_update(wanted)
    (listed,) = arm.send("GET", f"/models/{name}/versions?stage=Production").json()["value"]
    client.models.archive(name, version="3")  # a PUT of all that the client has read

    properties = arm.send("GET", f"/models/{name}/versions/3").json()["properties"]
    assert properties["flavors"] == {flavor: {"data": settings} for flavor, settings in sent.items()}
    assert (properties["stage"], properties["isArchived"]) == ("Production", True)
    assert "/paths/LocalUpload/" in properties["modelUri"]
    assert listed["properties"] == {**properties, "isArchived": False}


def test_an_mlflow_model_that_is_put_again_stays_where_it_is_and_cannot_change(
    client: MLClient, arm: Arm, name: str, mlflow_folder: Path
) -> None:
    def register() -> Model:
        model = Model(name=name, version="1", path=str(mlflow_folder), type="mlflow_model")
        made: Model = client.models.create_or_update(model)
        return made

    first, again = register(), register()
    again.tags = {"team": "ml"}
    tagged = client.models.create_or_update(again)
    (mlflow_folder / "model.pkl").write_bytes(b"other")
    with pytest.raises(Exception, match="already exists"):
        register()

    properties = arm.send("GET", f"/models/{name}/versions/1").json()["properties"]
    assert tagged.tags == properties["tags"] == {"team": "ml"}
    assert {str(one.path).lower() for one in (first, again, tagged)} == {properties["modelUri"].lower()}
    assert properties["flavors"] != {}


@pytest.mark.parametrize("text", ["flavors: [", "flavors: sklearn", "- list", "", "flavors: {sklearn: text}"])
def test_a_file_that_is_no_mlmodel_has_no_flavors(text: str) -> None:
    assert parse_flavors(text) == {}


def test_an_mlflow_model_without_content_is_registered_as_it_was_sent(arm: Arm, name: str) -> None:
    uri = "azureml://datastores/workspaceblobstore/paths/nothing/here"
    body = {"properties": {"modelUri": uri, "modelType": "mlflow_model"}}

    properties = arm.send("PUT", f"/models/{name}/versions/1", body).raise_for_status().json()["properties"]

    assert (properties["modelUri"], properties["flavors"]) == (uri, {})


def test_rollway_sees_no_difference_to_what_it_registered(
    client: MLClient, name: str, tmp_path: Path, mlflow_folder: Path
) -> None:
    (tmp_path / "conda.yaml").write_text(CONDA)
    environment = Environment(name=name, image="docker.io/library/python:3.11", conda_file=str(tmp_path / "conda.yaml"))
    first, again = (Model(name=name, path=str(mlflow_folder), type="mlflow_model") for _ in range(2))
    client.environments.create_or_update(environment)
    client.models.create_or_update(first)

    assert assets._is_same_environment(client.environments.get(name, "1"), environment)
    assert assets._is_same_model(client.models.get(name, "1"), again)
