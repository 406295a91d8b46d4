"""Findings about followed models: the reads from Azure, and the decision."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.ai.ml.entities import Model
from azure.ai.ml.entities._system_data import SystemData
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from rollway.azure.session import Session
from rollway.azure.watching import list_model_versions, read_finding
from rollway.errors import AccessDenied, InvalidRollout, NotFound
from rollway.rollout.follow import Finding, ModelSource, ModelVersion, Verdict
from tests.support.builders import WORKSPACE_ID, RolloutFolder
from tests.support.fake_azure import FakeAzure, run

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
DIABETES = ModelSource(name="diabetes")


class FakeModels:
    """The model versions of a workspace or registry; archived ones can be read but are not listed."""

    def __init__(self) -> None:
        self.versions: list[Model] = []
        self.archived: list[str] = []
        self.error: HttpResponseError | None = None

    def have(self, version: str, minutes: int = 0, name: str = "diabetes", **values: Any) -> None:
        """Register a version, `minutes` after a fixed moment."""
        context = SystemData(created_at=NOW - timedelta(days=1) + timedelta(minutes=minutes))
        model_id = f"{WORKSPACE_ID}/models/{name}/versions/{version}"
        self.versions.append(
            Model(name=name, version=version, path="x", id=model_id, creation_context=context, **values)
        )

    def list(self, name: str) -> list[Model]:
        if self.error is not None:
            raise self.error
        return [one for one in self.versions if one.name == name and one.version not in self.archived]

    def get(self, name: str, version: str) -> Model:
        for one in self.versions:
            if (one.name, one.version) == (name, version):
                return one
        raise ResourceNotFoundError(f"no model {name}:{version}")


class Watched:
    """A workspace with an endpoint, models and one registry, `team`."""

    def __init__(self) -> None:
        self.azure, self.models, self.team = FakeAzure(), FakeModels(), FakeModels()

    @property
    def session(self) -> Session:
        session: Any = self.azure.session
        session.ml.models = self.models
        session.workspace = SimpleNamespace(name="ws")
        session.registry = self._registry
        return cast(Session, session)

    def serve(self, version: str, **tags: str) -> None:
        """Send all traffic to a version of the model."""
        self.azure.have_endpoint(traffic={"main": 100}, tags=tags)
        self.azure.have("main", model=f"{WORKSPACE_ID}/models/diabetes/versions/{version}")

    def look(self, folder: RolloutFolder) -> Finding | None:
        return run(read_finding(self.session, str(folder.path), NOW))

    def _registry(self, name: str) -> Any:
        if name != "team":
            raise ResourceNotFoundError(f"Registry {name} not found")
        return SimpleNamespace(models=self.team)


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.fixture
def following(folder: RolloutFolder) -> RolloutFolder:
    """A folder that follows the model of the workspace."""
    folder.change("deployment.yml", model="azureml:diabetes@latest")
    return folder


def test_a_new_version_is_found_with_everything_that_its_rollout_needs(
    watched: Watched, following: RolloutFolder
) -> None:
    watched.models.have("1")
    watched.models.have("2", 1)
    watched.serve("1")

    finding = watched.look(following)

    assert finding == Finding(
        rollout="diabetes",
        endpoint="diabetes",
        model="diabetes",
        version="2",
        live_version="1",
        verdict=Verdict.START,
        reason="newest version",
        idempotency_key="ws/diabetes:diabetes:2@2026-11-19T12:01:00+00:00",
    )


def test_a_version_is_read_with_its_tags_stage_and_time(watched: Watched) -> None:
    watched.models.have("1", tags={"approved": "yes"}, stage="Production")

    assert run(list_model_versions(watched.session, DIABETES)) == (
        ModelVersion(
            name="diabetes",
            version="1",
            id=f"{WORKSPACE_ID}/models/diabetes/versions/1",
            created_at=NOW - timedelta(days=1),
            tags={"approved": "yes"},
            stage="Production",
        ),
    )


def test_a_version_of_unknown_age_is_the_oldest_of_all(watched: Watched) -> None:
    watched.models.have("1")
    watched.models.versions[0]._creation_context = None

    (version,) = run(list_model_versions(watched.session, DIABETES))

    assert version.created_at.year == 1


def test_a_folder_that_names_a_version_follows_nothing(watched: Watched, folder: RolloutFolder) -> None:
    assert watched.look(folder) is None


def test_the_rules_of_the_folder_are_applied(watched: Watched, folder: RolloutFolder) -> None:
    folder.change("rollout.yml", follow={"tags": {"approved": "yes"}})
    watched.models.have("2", tags={"approved": "yes"})
    watched.models.have("3", 1)

    finding = watched.look(folder)

    assert finding is not None
    assert (finding.verdict, finding.version) == (Verdict.START, "2")
    assert [(one.version, one.reason) for one in finding.skipped] == [("3", "its tag approved is (not set), not yes")]


def test_a_live_version_that_was_archived_is_not_replaced_by_an_older_one(
    watched: Watched, following: RolloutFolder
) -> None:
    watched.models.have("1")
    watched.models.have("2", 1)
    watched.models.archived.append("2")
    watched.serve("2")

    finding = watched.look(following)

    assert finding is not None
    assert (finding.verdict, finding.live_version) == (Verdict.UP_TO_DATE, "2")


def test_a_live_version_that_was_deleted_is_replaced(watched: Watched, following: RolloutFolder) -> None:
    watched.models.have("1")
    watched.serve("2")

    finding = watched.look(following)

    assert finding is not None
    assert (finding.verdict, finding.version) == (Verdict.START, "1")


def test_rejected_versions_and_the_pause_are_read_from_the_record(watched: Watched, following: RolloutFolder) -> None:
    for version in ("1", "2", "3"):
        watched.models.have(version, int(version))
    watched.serve("1", **{"rollway:rejected": "diabetes:3", "rollway:paused": "rolled back"})

    finding = watched.look(following)

    assert finding is not None
    assert (finding.verdict, finding.version, finding.reason) == (Verdict.PAUSED, "2", "2 waits: rolled back")


def test_a_model_of_a_registry_is_read_from_the_registry(watched: Watched, folder: RolloutFolder) -> None:
    folder.change("deployment.yml", model="azureml://registries/team/models/diabetes/labels/latest")
    watched.models.have("7")
    watched.team.have("3")

    finding = watched.look(folder)

    assert finding is not None
    assert (finding.model, finding.version) == ("team/diabetes", "3")


def test_an_unknown_model_has_no_versions(watched: Watched) -> None:
    watched.models.error = HttpResponseError("no such model")
    watched.models.error.status_code = 404

    assert run(list_model_versions(watched.session, DIABETES)) == ()


def test_an_unknown_registry_is_an_error(watched: Watched) -> None:
    with pytest.raises(NotFound) as caught:
        run(list_model_versions(watched.session, ModelSource(name="diabetes", registry="nobodys")))

    assert caught.value.what == "cannot list the versions of the model 'diabetes'"
    assert caught.value.where == "registry nobodys, model diabetes"


def test_no_access_is_an_error_and_not_an_empty_list(watched: Watched, following: RolloutFolder) -> None:
    watched.models.error = HttpResponseError("no")
    watched.models.error.status_code = 403

    with pytest.raises(AccessDenied, match="cannot list the versions of the model 'diabetes'"):
        watched.look(following)


def test_an_invalid_folder_is_an_error(watched: Watched, following: RolloutFolder) -> None:
    following.write("rollout.yml", "{}")

    with pytest.raises(InvalidRollout, match="smoke_test: Field required"):
        watched.look(following)
