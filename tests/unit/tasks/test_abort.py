"""The abort of a run that failed: first Azure, then people. `rollway.azure.abort` has tests of its own."""

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceResponseError
from prefect.exceptions import PrefectSignal

from rollway.azure import abort as azure_abort
from rollway.errors import (
    AzureUnavailable,
    Cause,
    CouldNotMeasure,
    ForeignChange,
    ProvisioningFailed,
    RollwayError,
    SmokeTestFailed,
    TrafficNotRestored,
)
from rollway.rollout.entries import End, Ended, Lease
from rollway.rollout.facts import Facts
from rollway.rollout.follow import content_digest, rejection
from rollway.rollout.moves import Kind, Move
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.record import CREATED_BY, FAILURES, LAST, REJECTED, RUN, EndpointRecord, with_record
from rollway.rollout.request import Request
from rollway.settings import Workspace
from rollway.terminal import program
from tasks import abort
from tests.support.builders import NOW, Clock, a_plan, planned_rollout, rollout_spec, wanted
from tests.support.fake_azure import OURS, THEIRS, FakeAzure
from tests.support.runs import SlowServer, run_after

SMOKE = SmokeTestFailed("the smoke test failed: status 500", log="--- log ---\nValueError: no such column")
MODEL = "diabetes:2"


class Failing:
    """A run whose block fails, on a fake Azure; `artifacts` and `lines` are what it left for people."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        self.azure, self.artifacts, self._caplog = FakeAzure(), list[str](), caplog
        self.azure.have_endpoint(traffic={"blue": 100})
        self.azure.have("blue")
        self.azure.have("green", tags={CREATED_BY: OURS, RUN: OURS})
        self.spec = rollout_spec()
        finding = Finding(
            severity=Severity.WARNING, field="deployment.yml: instance_type", message="unread", hint="Reader"
        )
        plan = a_plan(self.spec, model_version="2").model_copy(
            update={"online_deployment": "green", "traffic_before": {"blue": 100}, "findings": (finding,)}
        )
        rollout = planned_rollout(self.spec, plan, wanted=wanted("2"))
        self.run: Any = SimpleNamespace(
            attempt_id=OURS,
            rollout=rollout,
            workspace=rollout.workspace,
            endpoint=None,
            studio_page=None,
            facts=Facts(attempt=OURS),
            moves=[],
            has_moved_traffic=False,
            has_promoted=False,
            failed_task="smoke test",
            timeline=(),
            label=lambda **labels: self.labels.update(labels),
            labels_written=self._nothing,
        )
        self.labels: dict[str, str] = {}
        flow_run = SimpleNamespace(parameters={"model_version": "2", "weight": 10})
        for name, value in {
            "open_session": self._open_session,
            "publish_result": self._publish,
            "get_run_logger": lambda: logging.getLogger("abort"),
            "current_run": lambda: self.run,
            "flow_run": flow_run,
            "run_url": lambda: "http://prefect/run",
        }.items():
            monkeypatch.setattr(abort, name, value)
        # Without Prefect and the timeline around the task.
        monkeypatch.setattr(abort, "report_abort", inspect.unwrap(abort.report_abort.fn))
        monkeypatch.setattr(azure_abort, "delete_autoscale_of", self._nothing)
        monkeypatch.setattr(azure_abort, "abort", functools.partial(azure_abort.abort, clock=Clock()))

    @property
    def lines(self) -> list[str]:
        """The lines that it logged."""
        return [record.getMessage() for record in self._caplog.records if record.name == "abort"]

    @property
    def record(self) -> EndpointRecord:
        """The record on the endpoint."""
        assert self.azure.endpoint is not None
        return EndpointRecord.of(self.azure.endpoint.tags or {})

    def moves_traffic(self, holder: str = OURS) -> None:
        """All traffic moved from `blue` to `green`, and no live smoke test has passed."""
        assert self.azure.endpoint is not None
        lease = Lease(holder=holder, ttl_seconds=300, renewed_at="then")
        record = EndpointRecord().moved(holder, {"green": 100}, {"blue": 100}).claimed(lease)
        self.azure.endpoint.traffic = {"green": 100}
        self.azure.endpoint.tags = with_record({}, record)
        self.run.has_moved_traffic = True
        self.run.moves = [Move(kind=Kind.MOVE_TRAFFIC, target="green", why="it is ready")]

    def __call__(self, error: BaseException) -> BaseException:
        """Let the block fail with an error; return the error that comes out."""

        async def fail() -> None:
            async with abort.aborted_if_it_fails(self.spec):
                raise error

        with pytest.raises(BaseException) as caught:
            asyncio.run(fail())
        return caught.value

    async def _open_session(self, _: Workspace, *, is_known_enough: bool = False) -> Any:
        assert is_known_enough
        return self.azure.session

    async def _publish(
        self, _kind: str, _rollout: str, markdown: str, _description: str, *, is_needed: bool = False
    ) -> None:
        assert is_needed  # a server that is only slow must not cost the dossier
        self.artifacts.append(markdown)

    async def _nothing(self, *_: object) -> None:
        pass


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Failing:
    """Of our run, which created `green` for version 2 and moved no traffic yet."""
    return Failing(monkeypatch, caplog)


def test_the_error_of_the_block_comes_out_and_its_end_is_recorded(failing: Failing) -> None:
    assert failing(SMOKE) is SMOKE

    last = failing.record.last
    assert last is not None
    assert (last.outcome, last.attempt) == (End.ABORTED, OURS)


def test_all_traffic_goes_back_to_stable_in_the_write_that_records_the_end(failing: Failing) -> None:
    failing.moves_traffic()

    failing(SMOKE)

    assert failing.azure.writes == ["put endpoint {'blue': 100}", "delete green"]
    assert failing.azure.holder is None
    assert failing.azure.tags[LAST].startswith(f"aborted {OURS} ")
    assert failing.labels["traffic"] == "blue 100 %"


def test_traffic_that_another_rollout_holds_is_left_to_it(failing: Failing) -> None:
    failing.moves_traffic(holder=THEIRS)

    failing(SMOKE)

    assert failing.azure.writes == []
    assert failing.azure.traffic == {"green": 100}


def test_traffic_that_passed_its_live_smoke_test_stays(failing: Failing) -> None:
    failing.moves_traffic()
    failing.run.endpoint = SimpleNamespace(traffic={"green": 100})
    failing.run.facts = Facts(attempt=OURS, proven={"green": 100})

    failing(RollwayError("the record could not be written"))

    assert failing.azure.traffic == {"green": 100}
    assert failing.azure.holder is None


def test_a_candidate_that_failed_its_smoke_test_is_deleted_and_its_model_rejected(failing: Failing) -> None:
    failing(SMOKE)

    assert set(failing.azure.online_deployments) == {"blue"}
    assert failing.record.rejected == (rejection(MODEL, failing.spec),)
    assert failing.record.failures is None


def test_a_model_is_rejected_even_if_its_online_deployment_is_kept(failing: Failing) -> None:
    rollout = failing.spec.rollout.model_copy(update={"failed": "keep"})
    failing.spec = failing.spec.model_copy(update={"rollout": rollout})
    failing.run.rollout = failing.run.rollout.model_copy(update={"spec": failing.spec})

    failing(SMOKE)

    assert set(failing.azure.online_deployments) == {"blue", "green"}
    assert failing.record.rejected == (rejection(MODEL, failing.spec),)


@pytest.mark.parametrize(
    "error",
    [
        ProvisioningFailed("it", code="ImageBuildFailure"),
        ProvisioningFailed("it", code="OutOfQuota", cause=Cause.QUOTA),
        CouldNotMeasure("503 of the gateway"),
        ForeignChange("somebody changed it"),
        RollwayError("it"),
    ],
    ids=repr,
)
def test_a_model_that_is_not_to_blame_is_not_rejected_and_its_failure_is_counted(
    failing: Failing, error: RollwayError
) -> None:
    failing(error)

    assert REJECTED not in failing.azure.tags
    failures = failing.record.failures
    assert failures is not None
    assert (failures.content, failures.count) == (content_digest(MODEL, failing.spec), 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_a_run_that_was_cancelled_says_nothing_about_its_model(failing: Failing, error: BaseException) -> None:
    failing.moves_traffic()

    assert type(failing(error)) is type(error)

    assert failing.azure.traffic == {"blue": 100}
    assert not {REJECTED, FAILURES} & set(failing.azure.tags)
    assert "green" in failing.azure.online_deployments


def test_a_folder_that_has_changed_since_the_canary_was_made_is_not_rejected_with_it(failing: Failing) -> None:
    going_on = failing.run.rollout.wanted.model_copy(update={"has_other_files": True})
    failing.run.rollout = failing.run.rollout.model_copy(update={"wanted": going_on})

    failing(SMOKE)

    assert not {REJECTED, FAILURES} & set(failing.azure.tags)


def test_the_target_of_a_rollback_is_neither_deleted_nor_rejected(failing: Failing) -> None:
    failing.run.rollout = failing.run.rollout.model_copy(update={"wanted": wanted("2", goes_back_to="green")})

    failing(SMOKE)

    assert "green" in failing.azure.online_deployments
    assert not {REJECTED, FAILURES} & set(failing.azure.tags)


def test_a_signal_of_prefect_is_no_failure(failing: Failing) -> None:
    failing.moves_traffic()
    signal = PrefectSignal()

    assert failing(signal) is signal
    assert (failing.azure.writes, failing.artifacts) == ([], [])


@pytest.mark.parametrize("is_planned", [False, True], ids=["before the plan", "of a dry run"])
def test_a_failure_without_anything_to_restore_writes_nothing_and_leaves_a_dossier(
    failing: Failing, is_planned: bool
) -> None:
    dry_run = Request(folder="diabetes", is_dry_run=True)
    failing.run.rollout = failing.run.rollout.model_copy(update={"request": dry_run}) if is_planned else None

    failing(RollwayError("there is no such model"))

    assert failing.azure.writes == []
    assert "  what: there is no such model\n  workspace: rg/ws (subscription 0)\n  next:" in failing.lines[-1]
    assert "; now unknown" in failing.lines[-1]


def test_the_log_ends_with_the_short_text_and_the_command_of_the_run(failing: Failing) -> None:
    failing(SMOKE)

    assert failing.lines[-1].splitlines()[:2] == [
        "diabetes: aborted at 'smoke test' (permanent)",
        "  what: the smoke test failed: status 500",
    ]
    assert "  traffic: before blue 100 %; now blue 100 %\n" in failing.lines[-1]
    retry = f"{program()} deploy deployments/diabetes --model-version 2 --weight 10"
    assert f"  retry: {retry}\n" in failing.lines[-1]
    assert "ValueError: no such column" in failing.artifacts[0]


def test_the_quota_findings_of_the_preflight_are_told_again(failing: Failing) -> None:
    failing(ProvisioningFailed("it", code="OutOfQuota", cause=Cause.QUOTA))

    assert "### Quota\n\n- deployment.yml: instance_type: unread; Reader" in failing.artifacts[0]


def test_a_failure_after_the_promotion_is_called_that(failing: Failing) -> None:
    failing.run.has_promoted = True

    failing(RollwayError("it"))

    assert failing.lines[-1].startswith("diabetes: promoted, then failed at")


def test_a_failure_after_the_promotion_does_not_make_it_an_abort(failing: Failing) -> None:
    assert failing.azure.endpoint is not None
    promoted = Ended(outcome=End.PROMOTED, attempt=OURS, at=NOW.isoformat())
    failing.azure.endpoint.tags = with_record({}, EndpointRecord(last=promoted))

    failing(RollwayError("the report failed"))

    assert failing.record.last == promoted


def refuse(_: Any) -> None:
    raise HttpResponseError("a policy forbids it")


def lose(_: Any) -> None:
    raise ServiceResponseError("closed")


@pytest.mark.parametrize(
    ("method", "answer", "why"),
    [
        ("_put_endpoint", refuse, "cannot change the endpoint 'diabetes': a policy forbids it"),
        ("_get_endpoint", refuse, "cannot read the endpoint 'diabetes': a policy forbids it"),
        ("_get_endpoint", lose, "cannot read the endpoint 'diabetes': no connection: closed"),
    ],
)
def test_traffic_that_cannot_be_brought_back_is_the_worst_error_and_leaves_a_dossier(
    failing: Failing, method: str, answer: Callable[[Any], None], why: str
) -> None:
    failing.moves_traffic()
    setattr(failing.azure, method, answer)

    error = failing(SMOKE)

    assert isinstance(error, TrafficNotRestored)
    assert error.exit_code == 4
    assert error.what == "the rollout failed and the traffic of 'diabetes' could not be restored"
    assert error.why == f"{why}\n  after: the smoke test failed: status 500"
    assert error.__cause__ is SMOKE
    assert failing.lines[-1].startswith("diabetes: TRAFFIC NOT RESTORED at")
    assert failing.artifacts[0].startswith("## diabetes: TRAFFIC NOT RESTORED at")
    assert "ValueError: no such column" in failing.artifacts[0]
    assert failing.labels["traffic"] == "not restored, look at once"


def test_a_failed_abort_of_a_run_that_moved_no_traffic_leaves_the_first_error(failing: Failing) -> None:
    failing.azure._get_endpoint = lose  # type: ignore[method-assign, assignment]

    assert failing(SMOKE) is SMOKE
    assert "everything, because the abort failed: cannot read the endpoint 'diabetes'" in failing.artifacts[0]


@pytest.mark.parametrize("has_moved", [False, True])
def test_a_fault_in_the_abort_itself_hides_no_error(failing: Failing, has_moved: bool) -> None:
    def break_down(_: Any) -> None:
        raise AttributeError("no such attribute")

    if has_moved:
        failing.moves_traffic()
    failing.azure._get_endpoint = break_down  # type: ignore[method-assign, assignment]

    error = failing(SMOKE)

    assert isinstance(error, TrafficNotRestored) if has_moved else error is SMOKE
    assert "because the abort failed: AttributeError('no such attribute')" in failing.artifacts[0]


def test_no_failure_of_prefect_keeps_traffic_on_a_failed_candidate(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unavailable(*_: Any) -> None:
        raise OSError("the Prefect server is away")

    failing.moves_traffic()
    monkeypatch.setattr(abort, "report_abort", unavailable)

    assert failing(SMOKE) is SMOKE
    assert failing.azure.traffic == {"blue": 100}


def test_the_dossier_does_not_blame_a_task_whose_retry_recovered(
    failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = SlowServer()
    monkeypatch.setattr("rollway.prefect.run.get_client", lambda: server)
    recovered = run_after(
        server,
        ("connect", AzureUnavailable("cannot sign in")),
        ("connect", None),
        ("smoke test main-new (pinned)", SMOKE),
    )
    failing.run.failed_task, failing.run.timeline = recovered.failed_task, recovered.timeline

    failing(SMOKE)

    assert failing.lines[-1].splitlines()[0] == "diabetes: aborted at 'smoke test main-new (pinned)' (permanent)"
    assert "- **task**: smoke test main-new (pinned)" in failing.artifacts[0]
