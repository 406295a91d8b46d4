"""The status of a workspace: the calls to Azure, and endpoints and models that are deleted between them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NoReturn, cast

import pytest
from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint
from azure.ai.ml.exceptions import ValidationException
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from rollway.azure import evidence, status
from rollway.azure.session import Session
from rollway.azure.status import read_status
from rollway.errors import AccessDenied, NotFound, RollwayError
from rollway.rollout.entries import Underway
from rollway.rollout.evidence import Counts, Minute
from rollway.rollout.record import LEASE, MODEL, EndpointRecord, with_record
from rollway.rollout.status import LastOutcome, WorkspaceStatus
from rollway.spec import Judge, Progression, Step
from tests.support.builders import Clock, good_folder
from tests.support.fake_azure import run

BEGAN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


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
        return cast(Session, SimpleNamespace(ml=ml, workspace="rg/ws", now=lambda: BEGAN))

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


def begun(source: Literal["metrics", "probes"]) -> dict[str, str]:
    """Return the tags of an endpoint whose progressive rollout is in its first step."""
    underway = Underway(run="run", canary="green", until="2026-01-02T05:00:00+00:00", since=(BEGAN.isoformat(),))
    progression = Progression(steps=(Step(weight=5), Step(weight=100)), judge=Judge(source=source))
    return with_record({}, EndpointRecord().going_on(underway, progression))


def test_the_evidence_is_read_only_if_it_is_asked_for_and_in_azure_monitor(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.endpoints = {"a": begun("metrics"), "b": begun("probes"), "c": {}}
    read: list[str] = []

    async def minutes_of(_: Session, name: str, *__: Any, **___: Any) -> tuple[Minute, ...]:
        read.append(name)
        return (Minute(at=BEGAN, canary=Counts(requests=9), stable=Counts(requests=90)),)

    monkeypatch.setattr(evidence, "read_minutes", minutes_of)
    without = run(read_status(workspace.session))
    asked = run(read_status(workspace.session, with_evidence=True))

    assert [one.evidence for one in without.endpoints] == [None, None, None]
    assert read == ["a"]
    found = [one.evidence for one in asked.endpoints]
    assert found[1:] == [None, None]
    assert found[0] is not None
    assert found[0].judgement.sentence.startswith("inconclusive: 9 of 300 requests")


def test_evidence_that_may_not_be_read_is_a_verdict_and_no_error(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.endpoints = {"a": begun("metrics")}

    async def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AccessDenied("cannot read the metrics of 'a'", why="a role is missing")

    monkeypatch.setattr(evidence, "read_minutes", refuse)
    (found,) = run(read_status(workspace.session, with_evidence=True)).endpoints

    assert found.evidence is not None
    assert found.evidence.judgement.sentence == "could not measure: cannot read the metrics of 'a': a role is missing"


class Stopped(Exception):
    """The person has pressed Ctrl-C."""


def watched(monkeypatch: pytest.MonkeyPatch, workspace: Workspace, looks: int) -> tuple[list[tuple[int, str]], Clock]:
    """Watch the status for some looks; return how many endpoints and which problem each of them showed."""
    shown: list[tuple[int, str]] = []

    async def connected(_: object) -> Session:
        return workspace.session

    def show(found: WorkspaceStatus, problem: str) -> None:
        shown.append((len(found.endpoints), problem))
        if len(shown) == looks:
            raise Stopped
        workspace.trouble = {"b": HttpResponseError("busy")} if len(shown) == 1 else {}

    monkeypatch.setattr(status, "sign_in", connected)
    clock = Clock()
    with pytest.raises(Stopped):
        run(status.watch_workspace_status((), None, show, clock=clock))
    return shown, clock


def test_a_watched_status_shows_what_it_read_last_while_azure_does_not_answer(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, clock = watched(monkeypatch, workspace, looks=3)

    assert shown == [(3, ""), (3, "cannot read the endpoint 'b': busy"), (3, "")]
    assert clock.now() == 2 * status.WATCH_SECONDS


def test_many_endpoints_are_read_more_rarely(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace.endpoints = {f"e{number}": {} for number in range(200)}

    _, clock = watched(monkeypatch, workspace, looks=2)

    assert clock.now() == 200


@pytest.mark.parametrize(("minutes", "outcome"), [(1, LastOutcome.RUNNING), (11, LastOutcome.ORPHANED)])
def test_the_age_of_a_lease_is_counted_from_its_renewal(
    workspace: Workspace, minutes: int, outcome: LastOutcome
) -> None:
    renewed = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat(timespec="seconds")
    workspace.endpoints["a"] = {LEASE: f"run/1 300 {renewed}"}

    last = run(read_status(workspace.session, ["a"])).endpoints[0].last_rollout

    assert last is not None
    assert last.outcome is outcome


def test_somebody_is_asked_which_runs_have_ended_only_if_a_rollout_seems_to_run(workspace: Workspace) -> None:
    asked: list[frozenset[str]] = []

    async def find_ended(attempts: frozenset[str]) -> frozenset[str]:
        asked.append(attempts)
        return frozenset({"dead/1"})

    now = datetime.now(UTC).isoformat(timespec="seconds")
    workspace.endpoints["a"] = {LEASE: f"dead/1 300 {now}"}
    workspace.endpoints["b"] = {LEASE: f"alive/1 300 {now}"}

    seen = run(read_status(workspace.session, ["a", "b", "c"], find_ended=find_ended)).endpoints
    quiet = run(read_status(workspace.session, ["c"], find_ended=find_ended))

    assert asked == [{"dead/1", "alive/1"}]
    assert [one.last_rollout and one.last_rollout.outcome for one in seen] == [
        LastOutcome.ORPHANED,
        LastOutcome.RUNNING,
        None,
    ]
    assert quiet.is_healthy


def test_an_orphaned_rollout_names_the_command_that_goes_on(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good_folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    workspace.endpoints = {"diabetes": {LEASE: "run/1 300 2026-01-02T03:04:05+00:00"}}

    (seen,) = run(read_status(workspace.session)).endpoints

    assert seen.problems == (
        "no run works on its rollout any more: run/1 has done nothing since 2026-01-02 03:04 UTC; "
        "`rollway deploy deployments/diabetes` goes on with it",
    )
