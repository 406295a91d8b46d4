"""Plans: everything that they need is read from Azure, no more than that, and nothing is written."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from rollway.azure import planning
from rollway.azure import session as session_module
from rollway.azure.assets import register_environment
from rollway.azure.folder import load_folder
from rollway.azure.models import find_models
from rollway.azure.online_deployments import create_online_deployment
from rollway.azure.session import WorkspaceFacts
from rollway.errors import AzureUnavailable, ConfigurationError, NotFound
from rollway.rollout.entries import Served
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Kind, Outcome
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.request import Request
from rollway.rollout.rollback import Target
from rollway.rollout.wanted import RequestedBy
from tests.support.builders import Clock, RolloutFolder, autoscale_document
from tests.support.fake_assets import FIRST
from tests.support.fake_azure import THEIRS, FakeAzure, run
from tests.support.fake_monitor import WORKSPACE, forbidden

CONNECTED = WorkspaceFacts(
    workspace=WORKSPACE, region="westeurope", public_network_access="Enabled", isolation_mode="Disabled"
)
NOW = FIRST + timedelta(days=1)
FIRST_ROLLOUT = (
    Kind.CREATE_ENDPOINT,
    Kind.CREATE,
    Kind.WAIT_UNTIL_READY,
    Kind.SMOKE_TEST,
    Kind.MOVE_TRAFFIC,
    Kind.TEST_LIVE,
    Kind.PROMOTE,
)


@pytest.fixture
def workspace(folder: RolloutFolder) -> FakeAzure:
    """Two versions of the model that the folder follows, its environment, and no endpoint."""
    folder.change("deployment.yml", model="azureml:diabetes@latest")
    azure = FakeAzure()
    azure.models.have("1", "2")
    run(register_environment(azure.session, load_folder(str(folder.path))))
    azure.environments.writes = 0
    return azure


@pytest.fixture
def serving(workspace: FakeAzure, folder: RolloutFolder) -> FakeAzure:
    """The newest version, rolled out and promoted by an earlier run."""
    planned = plan(workspace, folder)
    (create,) = (one for one in planned.plan.moves if one.kind is Kind.CREATE)
    workspace.have_endpoint(traffic={create.target: 100})
    created = create_online_deployment(workspace.session, planned.spec, planned.wanted, create, THEIRS, clock=Clock())
    run(created)
    live = Served(online_deployment=create.target, model="diabetes:2")
    workspace.remember(lambda record: record.promoted(THEIRS, NOW.isoformat(), live, {create.target: 100}))
    for one in (workspace, workspace.models, workspace.environments, workspace.monitor):
        one.requests.clear()
    workspace.writes.clear()
    return workspace


def plan(azure: FakeAzure, folder: RolloutFolder, **request: Any) -> PlannedRollout:
    """Plan a run as its flow does, after it signed in."""
    asked = Request(folder=str(folder.path), **request)

    async def planned() -> PlannedRollout:
        session, spec = azure.session, load_folder(asked.folder)
        models = await find_models(session, spec, asked)
        environment = await register_environment(session, spec, is_dry_run=asked.is_dry_run)
        facts = Facts(attempt="run/1", started=NOW, now=NOW)
        return await planning.make_plan(session, CONNECTED, spec, asked, models, environment, facts)

    found = run(planned())
    assert (azure.writes, azure.environments.writes) == ([], 0), "a plan writes nothing"
    return found


def kinds(planned: PlannedRollout) -> tuple[Kind, ...]:
    return tuple(one.kind for one in planned.plan.moves)


MOST_READS_OF_A_NO_OP = 6  # with the one that signs in


def test_a_run_with_nothing_to_do_writes_nothing_and_reads_each_thing_once(
    serving: FakeAzure, folder: RolloutFolder
) -> None:
    planned = plan(serving, folder)

    assert planned.is_over, "so the flow reads nothing after its plan"
    assert planned.plan.end.outcome is Outcome.DONE
    assert serving.all_requests == ["get endpoint", "list", "list models", "list environments"]
    assert 1 + len(serving.all_requests) <= MOST_READS_OF_A_NO_OP


@pytest.mark.parametrize("requested_by", list(RequestedBy))
@pytest.mark.parametrize("version", [None, "2"])
def test_whoever_asks_a_run_with_nothing_to_do_is_as_cheap(
    serving: FakeAzure, folder: RolloutFolder, requested_by: RequestedBy, version: str | None
) -> None:
    planned = plan(serving, folder, requested_by=requested_by, version=version)

    assert planned.is_over
    assert 1 + len(serving.all_requests) <= MOST_READS_OF_A_NO_OP


def test_the_first_rollout_plans_everything_and_reads_no_autoscale_settings(
    workspace: FakeAzure, folder: RolloutFolder
) -> None:
    planned = plan(workspace, folder)

    assert (kinds(planned), planned.plan.findings) == (FIRST_ROLLOUT, ())
    assert str(planned.plan.model) == "diabetes:2"
    assert planned.plan.traffic_after == {planned.plan.online_deployment: 100}
    assert workspace.monitor.requests == []
    assert sorted(workspace.requests) == ["get endpoint", "get endpoint", "sizes", "usage"]


def test_a_dry_run_plans_the_same_and_is_over_after_it(workspace: FakeAzure, folder: RolloutFolder) -> None:
    dry, wet = plan(workspace, folder, is_dry_run=True), plan(workspace, folder)

    assert (dry.plan, dry.is_over, wet.is_over) == (wet.plan, True, False)


def test_a_new_version_replaces_the_live_one_and_takes_its_autoscale_rules(
    serving: FakeAzure, folder: RolloutFolder
) -> None:
    (live,) = serving.online_deployments
    target = f"{WORKSPACE.endpoint_id('diabetes')}/deployments/{live}"
    serving.monitor.documents["by-hand"] = autoscale_document(target)
    serving.models.have("3")

    planned = plan(serving, folder)

    assert kinds(planned) == (
        Kind.CREATE,
        Kind.WAIT_UNTIL_READY,
        Kind.SMOKE_TEST,
        Kind.COPY_AUTOSCALE,
        Kind.MOVE_TRAFFIC,
        Kind.TEST_LIVE,
        Kind.PROMOTE,
    )
    assert planned.plan.replaces == (live,)
    assert [one.name for one in planned.autoscale] == ["by-hand"]
    assert serving.monitor.requests == ["list"]
    (create, *_) = planned.plan.moves
    assert create.instances == 2, "the least that its rules allow, and the file says 1"


def test_autoscale_settings_that_may_not_be_read_are_a_finding_of_a_plan_that_moves_traffic(
    serving: FakeAzure, folder: RolloutFolder
) -> None:
    serving.monitor.errors["list"] = forbidden()
    serving.models.have("3")

    (finding,) = plan(serving, folder).plan.findings

    assert finding.message == "they may not be read; rules of the replaced online deployment are not copied"


def test_they_are_no_finding_of_a_plan_that_only_changes_in_place(serving: FakeAzure, folder: RolloutFolder) -> None:
    serving.monitor.errors["list"] = forbidden()
    folder.change("deployment.yml", instance_count=2)

    planned = plan(serving, folder)

    assert kinds(planned) == (Kind.CHANGE, Kind.SMOKE_TEST)
    assert planned.plan.findings == ()


@pytest.mark.parametrize("requested_by", [RequestedBy.WATCHER, RequestedBy.SCHEDULE])
def test_automation_leaves_a_paused_endpoint_alone(
    serving: FakeAzure, folder: RolloutFolder, requested_by: RequestedBy
) -> None:
    serving.remember(lambda record: record.paused("rolled back"))
    serving.models.have("3")

    planned = plan(serving, folder, requested_by=requested_by)

    assert (planned.is_over, planned.plan.end.why) == (True, "it is paused: rolled back")


def test_a_run_for_a_version_that_is_older_than_the_live_one_is_superseded(
    serving: FakeAzure, folder: RolloutFolder
) -> None:
    planned = plan(serving, folder, requested_by=RequestedBy.WATCHER, version="1")

    assert (planned.is_superseded, planned.is_over) == (True, True)
    assert planned.plan.end.why == "superseded: 2 is live and newer than 1"


def test_versions_that_the_rules_of_the_folder_leave_out_are_told(workspace: FakeAzure, folder: RolloutFolder) -> None:
    folder.change("rollout.yml", follow={"tags": {"approved": "yes"}})
    workspace.models.versions[0].tags = {"approved": "yes"}

    planned = plan(workspace, folder)

    assert str(planned.plan.model) == "diabetes:1"
    assert [(one.version, one.reason) for one in planned.plan.skipped] == [
        ("2", "its tag approved is (not set), not yes")
    ]


def test_a_rollback_to_a_version_that_would_change_nothing_is_refused(
    serving: FakeAzure, folder: RolloutFolder
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plan(serving, folder, is_rollback=True, target=Target(model="diabetes", version="2"))

    assert caught.value.what == "rolling out model diabetes:2 again changes nothing"
    assert caught.value.exit_code == 2


def test_a_plan_is_made_of_what_one_call_says_about_the_workspace(
    workspace: FakeAzure, folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*_: Any) -> WorkspaceFacts:
        return CONNECTED.model_copy(update={"public_network_access": "Disabled"})

    async def open_session(*_: Any) -> Any:
        return workspace.session

    monkeypatch.setattr(session_module, "connect", connect)
    monkeypatch.setattr(session_module, "open_session", open_session)
    monkeypatch.setenv("AZURE_SUBSCRIPTION_ID", "s")
    monkeypatch.setenv("AZURE_RESOURCE_GROUP", "rg")
    monkeypatch.setenv("AZUREML_WORKSPACE", "ws")

    found = asyncio.run(planning.plan_rollout(Request(folder=str(folder.path))))

    assert tuple(one.kind for one in found.moves) == FIRST_ROLLOUT
    assert (workspace.writes, workspace.environments.writes) == ([], 0)


@pytest.mark.parametrize(
    ("status", "error"), [(503, AzureUnavailable), (404, NotFound)], ids=["unavailable", "no such workspace"]
)
def test_an_endpoint_that_cannot_be_read_is_no_plan(
    workspace: FakeAzure, folder: RolloutFolder, status: int, error: type[Exception]
) -> None:
    def fail(_: str) -> Any:
        refused = HttpResponseError("it says no")
        refused.status_code = status
        raise refused

    workspace.instead(get_endpoint=fail)

    with pytest.raises(error, match="cannot read the endpoint 'diabetes'"):
        plan(workspace, folder)
