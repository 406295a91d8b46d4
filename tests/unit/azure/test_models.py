"""The model of a run: one that is fixed, or the versions among which the endpoint's state decides."""

from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from rollway.azure.folder import load_folder
from rollway.azure.models import find_models, list_model_versions, with_live_versions
from rollway.errors import AccessDenied, NotFound
from rollway.rollout.follow import ModelSource, ModelVersion
from rollway.rollout.request import Models, Request
from rollway.rollout.rollback import Target
from rollway.rollout.wanted import RequestedBy
from tests.support.builders import WORKSPACE_ID, RolloutFolder
from tests.support.fake_assets import FIRST, FakeModels
from tests.support.fake_azure import FakeAzure, not_found_once, run
from tests.support.fake_monitor import forbidden

DIABETES = ModelSource(name="diabetes")
LATEST, FIXED = "azureml:diabetes@latest", "azureml:diabetes:1"


@pytest.fixture
def workspace() -> FakeAzure:
    """A workspace with three versions of a model, and an endpoint that serves the second."""
    azure = FakeAzure()
    azure.models.have("1", "2", "3")
    azure.have_endpoint(traffic={"main": 100})
    azure.have("main", model=f"{WORKSPACE_ID}/models/diabetes/versions/2")
    return azure


def find(azure: FakeAzure, folder: RolloutFolder, model: Any, **request: Any) -> Models:
    folder.change("deployment.yml", model=model)
    path = str(folder.path)
    return run(find_models(azure.session, load_folder(path), Request(folder=path, **request)))


def fixed(models: Models) -> str:
    """The text of a fixed model."""
    assert (models.source, models.versions) == (None, ())
    return str(models.fixed)


def versions(models: Models) -> list[str]:
    """The versions to choose from."""
    assert (models.source, models.fixed) == (DIABETES, None)
    return [one.version for one in models.versions]


def test_a_version_that_the_folder_names_is_fixed_for_a_person(workspace: FakeAzure, folder: RolloutFolder) -> None:
    assert fixed(find(workspace, folder, FIXED)) == "diabetes:1"
    assert workspace.all_requests == ["get model 1"]


def test_a_version_that_a_person_names_is_fixed(workspace: FakeAzure, folder: RolloutFolder) -> None:
    assert fixed(find(workspace, folder, LATEST, version="2")) == "diabetes:2"
    assert workspace.all_requests == ["get model 2"]


def test_a_version_that_a_rollback_goes_back_to_is_fixed(workspace: FakeAzure, folder: RolloutFolder) -> None:
    target = Target(model="diabetes", version="2")

    assert fixed(find(workspace, folder, LATEST, is_rollback=True, target=target)) == "diabetes:2"


@pytest.mark.parametrize("requested_by", list(RequestedBy))
def test_the_versions_of_a_followed_model_are_read_and_the_choice_comes_later(
    workspace: FakeAzure, folder: RolloutFolder, requested_by: RequestedBy
) -> None:
    assert versions(find(workspace, folder, LATEST, requested_by=requested_by)) == ["1", "2", "3"]
    assert workspace.all_requests == ["list models"]


def test_a_folder_with_rules_follows_the_model_of_the_version_that_it_names(
    workspace: FakeAzure, folder: RolloutFolder
) -> None:
    folder.change("rollout.yml", follow={})

    assert versions(find(workspace, folder, FIXED)) == ["1", "2", "3"]


@pytest.mark.parametrize("version", [None, "1"])
def test_automation_always_reads_the_versions_because_a_newer_one_may_be_live(
    workspace: FakeAzure, folder: RolloutFolder, version: str | None
) -> None:
    found = find(workspace, folder, FIXED, requested_by=RequestedBy.WATCHER, version=version)

    assert versions(found) == ["1", "2", "3"]


def test_an_online_deployment_that_takes_over_as_it_is_needs_no_model(
    workspace: FakeAzure, folder: RolloutFolder
) -> None:
    target = Target(online_deployment="main", model="gone", version="1")

    assert find(workspace, folder, LATEST, is_rollback=True, target=target) == Models()
    assert workspace.all_requests == []


def test_a_single_404_hides_no_version_that_the_folder_names(
    workspace: FakeAzure, folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace.models, "get", not_found_once(workspace.models.get))

    assert fixed(find(workspace, folder, FIXED)) == "diabetes:1"


def test_a_single_404_hides_no_versions_and_no_live_one_that_is_archived(
    workspace: FakeAzure, folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in ("list", "get"):
        monkeypatch.setattr(workspace.models, call, not_found_once(getattr(workspace.models, call)))
    workspace.models.archived = ["2"]

    found = find(workspace, folder, LATEST)

    assert versions(found) == ["1", "3"]
    assert versions(run(with_live_versions(workspace.session, found, workspace.state))) == ["1", "3", "2"]


def test_a_model_without_versions_is_an_error_that_says_what_there_is(
    workspace: FakeAzure, folder: RolloutFolder
) -> None:
    with pytest.raises(NotFound) as caught:
        find(workspace, folder, "azureml:diabetis@latest")

    assert (caught.value.what, caught.value.exit_code) == ("there is no model 'diabetis'", 2)
    assert "did you mean 'diabetes'?" in str(caught.value.hint)


def test_a_version_that_nobody_registered_is_an_error_that_says_which_there_are(
    workspace: FakeAzure, folder: RolloutFolder
) -> None:
    with pytest.raises(NotFound) as caught:
        find(workspace, folder, LATEST, version="9")

    assert caught.value.what == "there is no model diabetes:9"
    assert caught.value.hint == "it has the versions 3, 2, 1"


def test_a_model_of_a_registry_is_read_from_the_registry(workspace: FakeAzure, folder: RolloutFolder) -> None:
    workspace.registries["team"] = FakeModels()
    workspace.registries["team"].have("7")

    found = find(workspace, folder, "azureml://registries/team/models/diabetes/labels/latest")

    assert found.source == ModelSource(name="diabetes", registry="team")
    assert [one.version for one in found.versions] == ["7"]


# What serves counts even if lists leave it out


def completed(azure: FakeAzure, source: ModelSource | None = DIABETES) -> dict[str, bool]:
    """Return for each version if it is archived, once those behind the endpoint are added."""
    listed = run(list_model_versions(azure.session, DIABETES))
    azure.models.requests.clear()
    models = run(with_live_versions(azure.session, Models(source=source, versions=listed), azure.state))
    return {one.version: one.is_archived for one in models.versions}


def test_a_live_version_that_was_archived_is_added_or_an_older_one_would_replace_it(workspace: FakeAzure) -> None:
    workspace.models.archived.append("2")

    assert completed(workspace) == {"1": False, "3": False, "2": True}
    assert workspace.models.requests == ["get model 2"]


def test_a_live_version_that_is_listed_costs_no_request(workspace: FakeAzure) -> None:
    assert completed(workspace) == {"1": False, "2": False, "3": False}
    assert workspace.models.requests == []


def test_a_live_version_that_was_deleted_no_longer_counts(workspace: FakeAzure) -> None:
    del workspace.models.versions[1]

    assert completed(workspace) == {"1": False, "3": False}


def test_a_live_version_of_another_model_does_not_count(workspace: FakeAzure) -> None:
    workspace.have("main", model=f"{WORKSPACE_ID}/models/churn/versions/9")

    assert completed(workspace) == {"1": False, "2": False, "3": False}


def test_a_fixed_model_needs_no_other_versions(workspace: FakeAzure) -> None:
    workspace.models.archived.append("2")

    assert completed(workspace, source=None) == {"1": False, "3": False}
    assert workspace.models.requests == []


# Lists


def test_a_version_is_read_with_its_tags_stage_and_time() -> None:
    azure = FakeAzure()
    azure.models.have("1", "2", tags={"approved": "yes"}, stage="Production")

    _, second = run(list_model_versions(azure.session, DIABETES))

    assert second == ModelVersion(
        name="diabetes",
        version="2",
        id=f"{WORKSPACE_ID}/models/diabetes/versions/2",
        created_at=FIRST + timedelta(minutes=1),
        tags={"approved": "yes"},
        stage="Production",
    )


def test_a_version_of_unknown_age_is_the_oldest_of_all(workspace: FakeAzure) -> None:
    workspace.models.versions[2]._creation_context = None

    *_, third = run(list_model_versions(workspace.session, DIABETES))

    assert third.created_at.year == 1


def test_a_model_that_azure_does_not_know_has_no_versions(workspace: FakeAzure) -> None:
    workspace.models.error = HttpResponseError("no such model")
    workspace.models.error.status_code = 404

    assert run(list_model_versions(workspace.session, DIABETES)) == ()


def test_an_unknown_registry_is_an_error(workspace: FakeAzure) -> None:
    with pytest.raises(NotFound) as caught:
        run(list_model_versions(workspace.session, ModelSource(name="diabetes", registry="nobodys")))

    assert caught.value.what == "cannot list the versions of the model 'diabetes'"
    assert caught.value.where == "registry nobodys, model diabetes"


def test_no_access_is_an_error_and_not_an_empty_list(workspace: FakeAzure, folder: RolloutFolder) -> None:
    workspace.models.error = forbidden()

    with pytest.raises(AccessDenied) as caught:
        find(workspace, folder, LATEST)

    assert caught.value.what == "cannot list the versions of the model 'diabetes'"
