"""The status of a workspace: the calls to Azure, and endpoints and models that are deleted between them."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint
from azure.ai.ml.exceptions import ValidationException
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from rollway.azure.session import Session
from rollway.azure.status import read_status
from rollway.errors import NotFound, RollwayError
from rollway.rollout.record import LEASE, MODEL
from rollway.rollout.status import LastOutcome
from tests.support.fake_azure import run


class Workspace:
    """Endpoints by name, each with an online deployment `main` with all traffic; newest versions by model name."""

    def __init__(self) -> None:
        self.endpoints: dict[str, dict[str, str]] = {}  # tags
        self.models: dict[str, Any] = {}
        self.calls: list[str] = []
        self.trouble: dict[str, Exception] = {}

    @property
    def session(self) -> Session:
        ml = SimpleNamespace(
            online_endpoints=SimpleNamespace(list=self._list),
            online_deployments=SimpleNamespace(list=self._list_behind),
            models=SimpleNamespace(get=self._newest),
        )
        return cast(Session, SimpleNamespace(ml=ml, workspace="rg/ws"))

    def _list(self) -> list[ManagedOnlineEndpoint]:
        self.calls.append("endpoints")
        return [
            ManagedOnlineEndpoint(name=name, tags=tags, traffic={"main": 100}, provisioning_state="Succeeded")
            for name, tags in self.endpoints.items()
        ]

    def _list_behind(self, name: str) -> list[ManagedOnlineDeployment]:
        self.calls.append(f"behind {name}")
        if name in self.trouble:
            raise self.trouble[name]
        tags = {MODEL: "diabetes:1"}
        return [
            ManagedOnlineDeployment(
                name="main", endpoint_name=name, instance_type="x", tags=tags, provisioning_state="Succeeded"
            )
        ]

    def _newest(self, name: str, label: str) -> Any:
        self.calls.append(f"{label} {name}")
        if isinstance(self.models[name], Exception):
            raise self.models[name]
        return SimpleNamespace(version=self.models[name])


@pytest.fixture
def workspace() -> Workspace:
    """Three endpoints with the same model."""
    workspace = Workspace()
    workspace.endpoints = {"c": {}, "a": {}, "b": {}}
    workspace.models = {"diabetes": 2}
    return workspace


def test_all_endpoints_are_read_with_one_list_of_each_kind_and_each_model_once(workspace: Workspace) -> None:
    found = run(read_status(workspace.session))

    assert [one.name for one in found.endpoints] == ["a", "b", "c"]
    assert found.workspace == "rg/ws"
    assert [one.online_deployments[0].newest for one in found.endpoints] == ["2", "2", "2"]
    assert sorted(workspace.calls) == ["behind a", "behind b", "behind c", "endpoints", "latest diabetes"]


def test_only_the_named_endpoints_are_read(workspace: Workspace) -> None:
    found = run(read_status(workspace.session, ["B", "b"]))

    assert [one.name for one in found.endpoints] == ["b"]
    assert "behind a" not in workspace.calls


def test_an_unknown_name_is_an_error_that_lists_the_known_ones(workspace: Workspace) -> None:
    workspace.endpoints = {"diabetes": {}, "churn": {}}

    with pytest.raises(NotFound) as caught:
        run(read_status(workspace.session, ["diabetis"]))

    assert caught.value.what == "there is no endpoint 'diabetis'"
    assert caught.value.hint == "the workspace has churn, diabetes, did you mean 'diabetes'?"


def test_an_endpoint_that_is_deleted_after_the_list_is_left_out(workspace: Workspace) -> None:
    workspace.trouble["b"] = ResourceNotFoundError("gone")

    assert [one.name for one in run(read_status(workspace.session)).endpoints] == ["a", "c"]


def test_an_endpoint_that_cannot_be_read_is_an_error_that_names_it(workspace: Workspace) -> None:
    workspace.trouble["b"] = HttpResponseError("forbidden")

    with pytest.raises(RollwayError) as caught:
        run(read_status(workspace.session))

    assert caught.value.what == "cannot read the endpoint 'b'"


@pytest.mark.parametrize(
    "trouble",
    [
        ResourceNotFoundError("gone"),
        ValidationException(message="none", no_personal_data_message="none"),
    ],
    ids=["deleted", "archived"],
)
def test_a_model_without_versions_has_no_newest_one(workspace: Workspace, trouble: Exception) -> None:
    workspace.models["diabetes"] = trouble

    assert run(read_status(workspace.session, ["a"])).endpoints[0].online_deployments[0].newest is None


@pytest.mark.parametrize(("minutes", "outcome"), [(1, LastOutcome.RUNNING), (11, LastOutcome.INTERRUPTED)])
def test_the_age_of_a_lease_is_counted_from_its_renewal(
    workspace: Workspace, minutes: int, outcome: LastOutcome
) -> None:
    renewed = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat(timespec="seconds")
    workspace.endpoints["a"] = {LEASE: f"run/1 300 {renewed}"}

    last = run(read_status(workspace.session, ["a"])).endpoints[0].last_rollout

    assert last is not None
    assert last.outcome is outcome


def test_a_lease_without_a_time_counts_as_valid(workspace: Workspace) -> None:
    workspace.endpoints["a"] = {LEASE: "run/1 300 yesterday"}

    last = run(read_status(workspace.session, ["a"])).endpoints[0].last_rollout

    assert last is not None
    assert last.outcome is LastOutcome.RUNNING
