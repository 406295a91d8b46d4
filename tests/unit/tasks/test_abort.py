"""The abort task: its decisions, log and artifact; the calls to Azure are tested with `rollway.azure.abort`."""

import functools
import inspect
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceResponseError

from rollway.azure import abort as azure_abort
from rollway.azure.endpoints import move_traffic
from rollway.azure.session import WorkspaceFacts
from rollway.errors import (
    AzureUnavailable,
    Cause,
    ProvisioningFailed,
    RollwayError,
    SmokeTestFailed,
    TrafficNotRestored,
)
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.record import CREATED_BY, REJECTED, RUN
from rollway.settings import Workspace
from tasks import abort
from tests.support.builders import Clock, a_plan, rollout_spec
from tests.support.fake_azure import OURS, FakeAzure, run
from tests.support.runs import SlowServer, run_after

WORKSPACE = Workspace(subscription_id="0", resource_group="rg", name="ws")
SMOKE = SmokeTestFailed("the smoke test failed: status 500", details="--- log ---\nValueError: no such column")


class Aborting:
    """The task without Prefect; `artifacts` and `lines` are what it left."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, azure: FakeAzure, caplog: pytest.LogCaptureFixture) -> None:
        self.azure, self.artifacts, self._caplog = azure, list[str](), caplog
        self.task_run = SimpleNamespace(run_count=1)
        self.spec = rollout_spec()
        finding = Finding(
            severity=Severity.WARNING, field="deployment.yml: instance_type", message="unread", hint="Reader"
        )
        plan = a_plan(self.spec, model_version="2").model_copy(
            update={"online_deployment": "green", "traffic_before": {"blue": 100}, "findings": (finding,)}
        )
        self.planned: PlannedRollout | None = PlannedRollout(
            workspace=WORKSPACE,
            spec=self.spec,
            plan=plan,
            scoring_uri=None,
            weight=100,
            force="",
            is_dry_run=False,
        )

        async def open_session(_: Workspace) -> Any:
            return azure.session

        async def keep(_kind: str, _rollout: str, markdown: str, _description: str) -> None:
            self.artifacts.append(markdown)

        async def labels_written() -> None:
            pass

        self.run: Any = SimpleNamespace(
            failed_task="smoke test", timeline=(), label=lambda **_: None, labels_written=labels_written
        )

        flow_run = SimpleNamespace(parameters={"model_version": "2", "weight": 10}, ui_url="http://prefect/run")
        for name, value in {
            "open_session": open_session,
            "publish_markdown": keep,
            "get_run_logger": lambda: logging.getLogger("abort"),
            "attempt_id": lambda: OURS,
            "current_run": lambda: self.run,
            "flow_run": flow_run,
            "task_run": self.task_run,
        }.items():
            monkeypatch.setattr(abort, name, value)
        monkeypatch.setattr(azure_abort, "abort", functools.partial(azure_abort.abort, clock=Clock()))

    @property
    def lines(self) -> list[str]:
        """The lines that it logged."""
        return [record.getMessage() for record in self._caplog.records if record.name == "abort"]

    def __call__(self, error: BaseException, is_promoted: bool = False) -> azure_abort.AbortResult:
        act = inspect.unwrap(abort.abort_rollout.fn)  # without the clock around it, which asks Prefect
        facts = WorkspaceFacts(
            workspace=WORKSPACE, region="westeurope", public_network_access="Enabled", isolation_mode="Disabled"
        )
        result: azure_abort.AbortResult = run(act(facts, self.spec, self.planned, error, is_promoted))
        return result


@pytest.fixture
def aborting(monkeypatch: pytest.MonkeyPatch, held: FakeAzure, caplog: pytest.LogCaptureFixture) -> Aborting:
    """Of our rollout, which created `green` and holds the endpoint."""
    return Aborting(monkeypatch, held, caplog)


@pytest.fixture
def held() -> FakeAzure:
    azure = FakeAzure()
    azure.have_endpoint(traffic={"blue": 100})
    azure.have("blue")
    azure.have("green", tags={CREATED_BY: OURS, RUN: OURS})
    azure.lease_to(OURS)
    return azure


def keep_what_failed(aborting: Aborting) -> None:
    rollout = aborting.spec.rollout.model_copy(update={"failed": "keep"})
    aborting.spec = aborting.spec.model_copy(update={"rollout": rollout})


def test_what_failed_its_smoke_test_is_deleted_and_its_model_rejected(aborting: Aborting) -> None:
    aborting(SMOKE)

    assert set(aborting.azure.online_deployments) == {"blue"}
    assert aborting.azure.tags[REJECTED] == "diabetes:2"


def test_a_model_is_rejected_also_when_what_failed_is_kept(aborting: Aborting) -> None:
    keep_what_failed(aborting)

    aborting(SMOKE)

    assert set(aborting.azure.online_deployments) == {"blue", "green"}
    assert aborting.azure.tags[REJECTED] == "diabetes:2"


@pytest.mark.parametrize(
    "error",
    [
        ProvisioningFailed("it", code="ImageBuildFailure"),
        ProvisioningFailed("it", code="OutOfQuota", cause=Cause.QUOTA),
        RollwayError("it"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_a_model_that_never_ran_is_not_rejected(aborting: Aborting, error: BaseException) -> None:
    aborting(error)

    assert REJECTED not in aborting.azure.tags


def test_the_log_ends_with_the_short_text_and_the_command_of_the_run(aborting: Aborting) -> None:
    aborting(SMOKE)

    assert aborting.lines[-1].splitlines()[:2] == [
        "diabetes: aborted at 'smoke test' (permanent)",
        "  what: the smoke test failed: status 500",
    ]
    assert "  traffic: before blue 100 %; now blue 100 %\n" in aborting.lines[-1]
    assert "  retry: rollway deploy deployments/diabetes --model-version 2 --weight 10\n" in aborting.lines[-1]
    assert "ValueError: no such column" in aborting.artifacts[0]


def test_what_the_preflight_said_about_quota_is_told_again(aborting: Aborting) -> None:
    aborting(ProvisioningFailed("it", code="OutOfQuota", cause=Cause.QUOTA))

    assert "### Quota\n\n- deployment.yml: instance_type: unread; Reader" in aborting.artifacts[0]


def test_a_failure_after_the_promotion_is_called_that(aborting: Aborting) -> None:
    aborting(RollwayError("it"), is_promoted=True)

    assert aborting.lines[-1].startswith("diabetes: promoted, then failed at")


def move_away(azure: FakeAzure) -> None:
    moving = move_traffic(
        azure.session,
        "diabetes",
        {"green": 100},
        expected={"blue": 100},
        proven={"blue": 100},
        run_id=OURS,
        clock=Clock(),
    )
    run(moving)


def test_traffic_that_cannot_be_brought_back_leaves_a_dossier_and_is_the_worst_error(aborting: Aborting) -> None:
    move_away(aborting.azure)

    def refuse(_: Any) -> None:
        raise HttpResponseError("a policy forbids it")

    aborting.azure._put_endpoint = refuse  # type: ignore[method-assign, assignment]

    with pytest.raises(TrafficNotRestored) as caught:
        aborting(SMOKE)

    assert caught.value.what == "the rollout failed and the traffic of 'diabetes' could not be restored"
    assert caught.value.why == (
        "cannot move the traffic of 'diabetes': a policy forbids it\n  after: the smoke test failed: status 500"
    )
    assert aborting.lines[-1].startswith("diabetes: TRAFFIC NOT RESTORED at")
    assert aborting.artifacts[0].startswith("## diabetes: TRAFFIC NOT RESTORED at")
    assert "ValueError: no such column" in aborting.artifacts[0]


@pytest.mark.parametrize(("run_count", "kind"), [(1, AzureUnavailable), (3, AzureUnavailable), (4, TrafficNotRestored)])
def test_an_azure_that_stays_away_is_tried_again_and_then_the_worst_error(
    aborting: Aborting, run_count: int, kind: type[RollwayError]
) -> None:
    def lose(_: Any) -> None:
        raise ServiceResponseError("closed")

    aborting.azure._get_endpoint = lose  # type: ignore[method-assign, assignment]
    aborting.task_run.run_count = run_count

    with pytest.raises(kind):
        aborting(SMOKE)

    assert len(aborting.artifacts) == (kind is TrafficNotRestored)


def test_one_that_failed_before_there_was_a_plan_leaves_a_dossier_too(aborting: Aborting) -> None:
    aborting.planned = None

    def refuse(_: Any) -> None:
        raise HttpResponseError("no access")

    aborting.azure._get_endpoint = refuse  # type: ignore[method-assign, assignment]

    aborting(RollwayError("there is no such model"))

    assert "  what: there is no such model\n  next:" in aborting.lines[-1]
    assert "traffic: before unknown; now unknown" in aborting.lines[-1]


def test_the_dossier_does_not_blame_a_task_whose_retry_recovered(
    aborting: Aborting, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SlowServer()
    monkeypatch.setattr("rollway.prefect.run.get_client", lambda: server)
    recovered = run_after(
        server,
        ("connect", AzureUnavailable("cannot sign in")),
        ("connect", None),
        ("smoke test main-new (pinned)", SMOKE),
    )
    aborting.run.failed_task, aborting.run.timeline = recovered.failed_task, recovered.timeline

    aborting(SMOKE)

    assert aborting.lines[-1].splitlines()[0] == "diabetes: aborted at 'smoke test main-new (pinned)' (permanent)"
    assert "| task | smoke test main-new (pinned) |" in aborting.artifacts[0]
