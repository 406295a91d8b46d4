"""Registries, through azure-ai-ml: the public one with its curated environments, and one with models of a team."""

import os
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from tests.contract.conftest import create_endpoint, describe, serving, set_traffic
from tests.support.emulator_process import EmulatorProcess

LATEST = "azureml://registries/azureml/environments/sklearn-1.5/labels/latest"


@pytest.fixture(scope="module")
def registry(emulator: EmulatorProcess) -> MLClient:
    """A client of the registry, as a user of Azure would make it."""
    credential = DefaultAzureCredential(disable_instance_discovery=True)
    return MLClient(credential, os.environ["AZURE_SUBSCRIPTION_ID"], registry_name="azureml")


@pytest.fixture(scope="module")
def team(emulator: EmulatorProcess) -> MLClient:
    """A client of a registry of the seed."""
    return MLClient(DefaultAzureCredential(disable_instance_discovery=True), registry_name="team")


def register(team: MLClient, name: str, folder: Path, version: str, **settings: Any) -> Model:
    """A version of a model in the registry, with a file of its own."""
    (folder / version).write_text(f"version {version}")
    wanted = Model(name=name, version=version, path=str(folder / version), **settings)
    made: Model = team.models.create_or_update(wanted)
    return made


def test_curated_environments_are_read_from_the_registry(registry: MLClient) -> None:
    latest = registry.environments.get("sklearn-1.5", label="latest")
    first = registry.environments.get("sklearn-1.5", version="26")

    assert (latest.name, latest.version) == ("sklearn-1.5", "27")
    assert latest.image == "mcr.microsoft.com/azureml/curated/sklearn-1.5:27"
    assert first.id == "azureml://registries/azureml/environments/sklearn-1.5/versions/26"


def test_the_registry_lists_its_environments_and_their_versions(registry: MLClient) -> None:
    assert {one.name for one in registry.environments.list()} >= {"sklearn-1.5", "minimal-py312-inference"}
    assert [one.version for one in registry.environments.list("sklearn-1.5")] == ["27", "26"]


def test_what_the_registry_has_not_is_a_404(registry: MLClient) -> None:
    with pytest.raises(ResourceNotFoundError):
        registry.environments.get("tensorflow-0.1", version="1")


def test_an_unknown_registry_is_a_404(emulator: EmulatorProcess) -> None:
    with pytest.raises(ResourceNotFoundError, match="Registry nobodys not found"):
        MLClient(DefaultAzureCredential(disable_instance_discovery=True), registry_name="nobodys")


def test_nobody_writes_to_the_public_registry(registry: MLClient, name: str) -> None:
    wanted = Environment(name=name, version="1", image="docker.io/library/python:3.11")

    with pytest.raises(HttpResponseError, match="does not have authorization to perform action") as caught:
        registry.environments.create_or_update(wanted)

    assert caught.value.status_code == 403


def test_a_deployment_runs_in_the_latest_version_of_a_curated_environment(
    client: MLClient, model: Model, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    client.online_deployments.begin_create_or_update(describe(name, model, LATEST)).result()
    set_traffic(client, name, blue=100)

    answer = serving(client, emulator, name).score({})

    assert client.online_deployments.get("blue", name).environment == LATEST.replace("labels/latest", "versions/27")
    assert (answer.status_code, answer.json()["answer"]) == (200, 42)


@pytest.mark.parametrize("tail", ["absent/labels/latest", "sklearn-1.5/versions/1", "sklearn-1.5/labels/best"])
def test_a_curated_environment_that_does_not_exist_is_refused(
    client: MLClient, model: Model, name: str, tail: str
) -> None:
    create_endpoint(client, name)
    wanted = describe(name, model, f"azureml://registries/azureml/environments/{tail}")

    with pytest.raises(HttpResponseError, match=f"{tail} was not found") as caught:
        client.online_deployments.begin_create_or_update(wanted)

    assert caught.value.status_code == 400


def test_a_model_in_a_registry_is_read_as_it_was_registered(team: MLClient, name: str, tmp_path: Path) -> None:
    register(team, name, tmp_path, "3", tags={"approved": "yes"}, stage="Production")

    found = team.models.get(name, "3")

    assert found.id == f"azureml://registries/team/models/{name}/versions/3"
    assert (found.tags, found.stage) == ({"approved": "yes"}, "Production")
    assert found.creation_context.created_at.tzinfo is not None


def test_versions_in_a_registry_are_listed_and_the_last_created_is_the_latest(
    team: MLClient, name: str, tmp_path: Path
) -> None:
    for version in ("10", "9"):
        register(team, name, tmp_path, version)

    assert [one.version for one in team.models.list(name)] == ["9", "10"]
    assert team.models.get(name, label="latest").version == "9"
    assert name in {one.name for one in team.models.list()}


def test_a_model_in_a_registry_is_archived_with_all_its_versions(team: MLClient, name: str, tmp_path: Path) -> None:
    register(team, name, tmp_path, "1")

    team.models.archive(name)
    hidden = [one.version for one in team.models.list(name)]
    team.models.restore(name)

    assert hidden == []
    assert [one.version for one in team.models.list(name)] == ["1"]


def test_nobody_archives_an_environment_of_the_public_registry(registry: MLClient) -> None:
    with pytest.raises(HttpResponseError, match=r"action 'Microsoft\S+/registries/environments/write'") as caught:
        registry.environments.archive("sklearn-1.5")

    assert caught.value.status_code == 403


def test_a_model_that_a_registry_has_not_is_a_404_and_has_no_versions(team: MLClient, name: str) -> None:
    with pytest.raises(ResourceNotFoundError):
        team.models.get(name, "1")

    assert list(team.models.list(name)) == []


def test_the_content_of_a_version_in_a_registry_cannot_change(team: MLClient, name: str, tmp_path: Path) -> None:
    register(team, name, tmp_path, "1")
    other = tmp_path / "other"
    other.write_text("other")

    with pytest.raises(HttpResponseError, match="already exists") as caught:
        team.models.create_or_update(Model(name=name, version="1", path=str(other)))

    assert caught.value.status_code == 409


@pytest.mark.parametrize("tail", ["versions/1", "labels/latest"])
def test_a_deployment_serves_a_model_of_a_registry(
    client: MLClient,
    team: MLClient,
    environment: Environment,
    emulator: EmulatorProcess,
    name: str,
    tmp_path: Path,
    tail: str,
) -> None:
    registered = register(team, name, tmp_path, "1")
    create_endpoint(client, name)
    wanted = describe(name, f"azureml://registries/team/models/{name}/{tail}", environment)
    client.online_deployments.begin_create_or_update(wanted).result()
    set_traffic(client, name, blue=100)

    answer = serving(client, emulator, name).score({})

    assert client.online_deployments.get("blue", name).model == registered.id
    assert answer.json()["model_version"] == "1"
