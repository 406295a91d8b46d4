"""The watcher's look at a workspace: the requests to Azure, and errors that concern one folder only."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint, Model
from azure.ai.ml.entities._system_data import SystemData
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from rollway.azure.session import Session
from rollway.azure.watching import look_at_workspace
from rollway.errors import AccessDenied
from rollway.rollout.entries import Served
from rollway.rollout.record import EndpointRecord, with_record
from rollway.rollout.watch import Look, Verdict, turns
from rollway.settings import Workspace
from tests.support.builders import WORKSPACE_ID, RolloutFolder, good_folder
from tests.support.fake_azure import run

INTERVAL = 600
FIRST = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)


class FakeWorkspace:
    """Endpoints and model versions, of the workspace and of the registry `team`; `calls` are the requests."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.endpoints: dict[str, ManagedOnlineEndpoint] = {}
        self.behind: dict[str, list[ManagedOnlineDeployment]] = {}
        self.versions: list[Model] = []
        self.archived: list[str] = []
        self.page = 50  # models of one page of their list
        self.trouble: dict[str, Exception] = {}  # the answer to a call

    @property
    def session(self) -> Session:
        return cast(
            Session,
            SimpleNamespace(
                workspace=Workspace(subscription_id="s", resource_group="rg", name="ws"),
                ml=SimpleNamespace(
                    online_endpoints=SimpleNamespace(list=self._list, get=self._get),
                    online_deployments=SimpleNamespace(list=self._list_behind),
                    models=SimpleNamespace(list=self._list_versions, get=self._get_version),
                ),
                registry=self._registry,
            ),
        )

    def have(self, version: str, minutes: int = 0, name: str = "diabetes", **values: Any) -> None:
        """Register a version, `minutes` after a fixed moment."""
        context = SystemData(created_at=FIRST + timedelta(minutes=minutes))
        model_id = f"{WORKSPACE_ID}/models/{name}/versions/{version}"
        self.versions.append(
            Model(name=name, version=version, path="x", id=model_id, creation_context=context, **values)
        )

    def serve(
        self, version: str, endpoint: str = "diabetes", *, is_recorded: bool = True, model: str = "diabetes"
    ) -> None:
        """Send all traffic of an endpoint to a version of its model."""
        live = Served(online_deployment="main", model=f"{model}:{version}") if is_recorded else None
        self.endpoints[endpoint] = ManagedOnlineEndpoint(
            name=endpoint,
            traffic={"main": 100},
            provisioning_state="Succeeded",
            tags=with_record({}, EndpointRecord(live=live)),
        )
        model_id = f"{WORKSPACE_ID}/models/{model}/versions/{version}"
        self.behind[endpoint] = [
            ManagedOnlineDeployment(
                name="main", endpoint_name=endpoint, instance_type="x", model=model_id, provisioning_state="Succeeded"
            )
        ]

    def look(
        self, *folders: RolloutFolder, now: datetime | None = None, interval_seconds: int = INTERVAL
    ) -> tuple[Look, ...]:
        paths = [str(one.path) for one in folders]
        return run(look_at_workspace(self.session, paths, now or quiet(*folders), interval_seconds))

    def _call(self, call: str) -> None:
        self.calls.append(call)
        if call in self.trouble:
            raise self.trouble[call]

    def _list(self) -> list[ManagedOnlineEndpoint]:
        self._call("endpoints")
        return list(self.endpoints.values())

    def _get(self, name: str) -> ManagedOnlineEndpoint:
        self._call(f"endpoint {name}")
        raise ResourceNotFoundError(f"no endpoint {name}")

    def _list_behind(self, endpoint: str) -> list[ManagedOnlineDeployment]:
        self._call(f"behind {endpoint}")
        return self.behind[endpoint]

    def _list_versions(self, name: str | None = None) -> Any:
        if name is None:
            return SimpleNamespace(by_page=self._pages_of_models)
        self._call(f"versions of {name}")
        return [one for one in self.versions if one.name == name and one.version not in self.archived]

    def _pages_of_models(self) -> Iterator[list[SimpleNamespace]]:
        latest = {one.name: one.version for one in self.versions if one.version not in self.archived}
        models = [SimpleNamespace(name=name, latest_version=version) for name, version in latest.items()]
        for start in range(0, max(len(models), 1), self.page):
            self._call("models")
            yield models[start : start + self.page]

    def _get_version(self, name: str, version: str) -> Model:
        self._call(f"version {name}:{version}")
        for one in self.versions:
            if (one.name, one.version) == (name, version):
                return one
        raise ResourceNotFoundError(f"no model {name}:{version}")

    def _registry(self, name: str) -> Any:
        if name != "team":
            raise ResourceNotFoundError(f"Registry {name} not found")
        return SimpleNamespace(models=SimpleNamespace(list=self._list_versions))


def quiet(*folders: RolloutFolder) -> datetime:
    """A time at which no endpoint of the folders has its turn."""
    names = [one.read("endpoint.yml")["name"] for one in folders]
    looks = (FIRST + timedelta(days=1, seconds=number * INTERVAL) for number in range(144))
    return next(now for now in looks if not turns(names, now, INTERVAL))


@pytest.fixture
def watched() -> FakeWorkspace:
    return FakeWorkspace()


@pytest.fixture
def following(folder: RolloutFolder) -> RolloutFolder:
    """A folder that follows the model of the workspace."""
    folder.change("deployment.yml", model="azureml:diabetes@latest")
    return folder


def folders(root: Path, *names: str, model: str = "azureml:diabetes@latest") -> list[RolloutFolder]:
    """Folders of these names, each for the endpoint of its name, that follow a model."""
    made = []
    for name in names:
        one = good_folder(root / "of" / name)
        path = one.path.rename(one.path.parent / name)
        one = RolloutFolder(path)
        one.change("endpoint.yml", name=name)
        one.change("deployment.yml", endpoint_name=name, model=model)
        made.append(one)
    return made


def verdicts(looks: tuple[Look, ...]) -> dict[str, str | None]:
    return {one.rollout: one.finding.verdict if one.finding else one.error for one in looks}


def test_a_quiet_workspace_costs_one_list_of_endpoints_and_one_list_per_model(
    watched: FakeWorkspace, tmp_path: Path
) -> None:
    names = [f"endpoint-{number}" for number in range(20)]
    followed = folders(tmp_path, *names)
    fixed = folders(tmp_path, "fixed", model="azureml:other:1")
    watched.have("1")
    for name in (*names, "fixed"):
        watched.serve("1", name)

    looks = watched.look(*followed, *fixed)

    assert set(verdicts(looks).values()) == {Verdict.UP_TO_DATE}
    assert watched.calls == ["endpoints", "versions of diabetes"]


def test_online_deployments_are_read_once_where_something_seems_due(watched: FakeWorkspace, tmp_path: Path) -> None:
    watched.have("1")
    watched.have("2", 1)
    watched.serve("1", "old")
    watched.serve("2", "new")
    watched.serve("2", "unknown", is_recorded=False)

    looks = watched.look(*folders(tmp_path, "old", "new", "unknown", "absent"))

    found = {one.rollout: one.finding for one in looks if one.finding}
    assert {name: one.version for name, one in found.items()} == dict.fromkeys(found, "2")
    assert [found["old"].live_version, found["unknown"].live_version] == ["1", "2"]
    assert (found["old"].verdict, found["absent"].verdict) == (Verdict.START, Verdict.START)
    assert found["new"].verdict is Verdict.UP_TO_DATE
    assert sorted(watched.calls) == ["behind old", "behind unknown", "endpoints", "versions of diabetes"]


def test_each_endpoint_is_looked_behind_once_a_day(watched: FakeWorkspace, following: RolloutFolder) -> None:
    watched.have("1")
    watched.serve("1")
    midnight = FIRST.replace(hour=0)

    for number in range(144):
        watched.look(following, now=midnight + timedelta(seconds=number * INTERVAL))

    assert watched.calls.count("endpoints") == watched.calls.count("versions of diabetes") == 144
    assert watched.calls.count("behind diabetes") == 1


def test_an_endpoint_that_was_deleted_since_it_was_listed_is_created_again(
    watched: FakeWorkspace, following: RolloutFolder
) -> None:
    watched.have("1")
    watched.have("2", 1)
    watched.serve("1")
    watched.trouble["behind diabetes"] = ResourceNotFoundError("no endpoint diabetes")

    [look] = watched.look(following)

    assert look.finding is not None
    assert (look.finding.verdict, look.finding.live_version) == (Verdict.START, None)


def test_a_live_version_that_was_archived_is_not_replaced_by_an_older_one(
    watched: FakeWorkspace, following: RolloutFolder
) -> None:
    watched.have("1")
    watched.have("2", 1)
    watched.archived.append("2")
    watched.serve("2")

    [look] = watched.look(following)

    assert look.finding is not None
    assert (look.finding.verdict, look.finding.live_version) == (Verdict.UP_TO_DATE, "2")
    assert watched.calls == ["endpoints", "versions of diabetes", "version diabetes:2"]


def test_a_live_version_that_was_deleted_is_replaced(watched: FakeWorkspace, following: RolloutFolder) -> None:
    watched.have("1")
    watched.serve("2")

    [look] = watched.look(following)

    assert look.finding is not None
    assert (look.finding.verdict, look.finding.version) == (Verdict.START, "1")


def test_a_model_of_a_registry_is_read_from_the_registry(watched: FakeWorkspace, folder: RolloutFolder) -> None:
    folder.change("deployment.yml", model="azureml://registries/team/models/diabetes/labels/latest")
    watched.have("3")

    [look] = watched.look(folder)

    assert look.finding is not None
    assert (look.finding.model, look.finding.version) == ("team/diabetes", "3")


def test_what_is_wrong_with_one_folder_does_not_concern_the_others(watched: FakeWorkspace, tmp_path: Path) -> None:
    good, broken, refused = folders(tmp_path, "good", "broken", "refused")
    [nobodys] = folders(tmp_path, "nobodys", model="azureml://registries/nobodys/models/m/labels/latest")
    broken.write("rollout.yml", "{}")
    watched.have("1")
    for name in ("good", "refused", "nobodys"):
        watched.serve("1", name)
    watched.serve("1", "refused", is_recorded=False)
    watched.trouble["behind refused"] = HttpResponseError("no")
    cast(HttpResponseError, watched.trouble["behind refused"]).status_code = 403

    found = verdicts(watched.look(good, broken, refused, nobodys))

    assert found["good"] == Verdict.UP_TO_DATE
    assert "smoke_test: is missing" in str(found["broken"])
    assert str(found["refused"]).startswith("cannot read the endpoint 'refused'; where: endpoint refused")
    assert str(found["nobodys"]).startswith("cannot list the versions of the model 'm'; where: registry nobodys")


def test_a_workspace_whose_endpoints_cannot_be_listed_is_an_error(
    watched: FakeWorkspace, following: RolloutFolder
) -> None:
    watched.trouble["endpoints"] = HttpResponseError("no")
    cast(HttpResponseError, watched.trouble["endpoints"]).status_code = 403

    with pytest.raises(AccessDenied) as caught:
        watched.look(following)

    assert (caught.value.what, caught.value.exit_code) == ("cannot list the endpoints", 2)
