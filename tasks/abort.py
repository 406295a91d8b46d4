"""The abort of a rollout that failed, was cancelled or whose process died: traffic back, dossier, hook."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import PrefectSignal
from prefect.logging import get_run_logger
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run

from rollway.azure import abort
from rollway.azure.abort import AbortResult
from rollway.azure.folder import load_folder
from rollway.azure.threads import in_thread, shielded
from rollway.azure.waiting import now
from rollway.errors import RollwayError, ToldToAbort, TrafficNotRestored
from rollway.prefect.artifacts import publish_result
from rollway.prefect.best_effort import best_effort
from rollway.prefect.blocks import find_workspace
from rollway.prefect.labels import NOT_RESTORED
from rollway.prefect.run import current_run, run_url
from rollway.prefect.task import task
from rollway.reports import dossier
from rollway.reports.dossier import Dossier, cause_and_next_action
from rollway.rollout import traffic
from rollway.rollout.abort import Failure
from rollway.rollout.follow import content_digest, rejection
from rollway.rollout.planned import PlannedRollout
from rollway.spec import RolloutSpec
from rollway.terminal import as_called, program
from tasks.connect import open_session

DEADLINE_SECONDS, REPORT_SECONDS = 3600, 60


@contextlib.asynccontextmanager
async def aborted_if_it_fails(spec: RolloutSpec) -> AsyncIterator[None]:
    """Abort the rollout if the block fails or is cancelled: first in Azure, with nothing else; then tell people."""
    try:
        yield
    except PrefectSignal:  # the run waits, or another process has it
        raise
    except BaseException as error:  # cancelling a run raises no Exception
        done, worst = AbortResult(), None
        try:
            with contextlib.suppress(asyncio.CancelledError):  # the error that comes first is the one that counts
                done = await shielded(_abort(error), deadline_seconds=DEADLINE_SECONDS)
        except Exception as failure:  # noqa: BLE001 (whatever it is, people must learn of the first error)
            known = failure if isinstance(failure, RollwayError) else _of_the_abort(failure)
            done = AbortResult(kept=(f"everything, because the abort failed: {known.what}",))
            if current_run().has_moved_traffic:
                worst = _not_restored(spec.endpoint.name, error, known)
        telling = report_abort(spec, worst or error, done)
        await best_effort("nobody is told", telling, deadline_seconds=REPORT_SECONDS, is_needed=True)
        if worst:
            raise worst from error
        raise


@task("abort", run_name="abort: restore traffic", timeout_seconds=300)
async def report_abort(spec: RolloutSpec, error: BaseException, done: AbortResult) -> AbortResult:
    """Tell what the abort did: the dossier as an artifact, the log, and the labels that alerts read."""
    run = current_run()
    if isinstance(error, TrafficNotRestored):
        cause, next_action = cause_and_next_action(error)
        run.label(traffic=NOT_RESTORED, cause=cause, next=next_action)
    elif done.traffic_now is not None:
        run.label(traffic=traffic.describe(done.traffic_now))
    await run.labels_written()
    found = _dossier(error, spec, done)
    get_run_logger().error("%s", as_called(dossier.text(found)))
    title = f"Why the rollout of {spec.name} was aborted"
    await publish_result("failure", spec.name, as_called(dossier.markdown(found)), title, is_needed=True)
    return done


async def _abort(error: BaseException) -> AbortResult:
    """Abort in Azure, with nothing else."""
    rollout = current_run().rollout
    if rollout is None or rollout.is_over:  # nothing is to be restored
        return AbortResult()
    session = await open_session(rollout.workspace, is_known_enough=True)
    return await abort.abort(session, rollout.endpoint, _failure(rollout, error))


def _failure(rollout: PlannedRollout, error: BaseException) -> Failure:
    run, spec = current_run(), rollout.spec
    known = error if isinstance(error, RollwayError) else None
    # The target of a rollback served before: this run may neither delete nor reject it.
    made = None if rollout.wanted.goes_back_to or rollout.wanted.stays_because else rollout
    model = str(rollout.wanted.model) if made and rollout.wanted.model else None
    is_at_fault = made is not None and known is not None and known.is_candidates_fault
    # What fails is the folder of the canary's creation. If that has changed, today's has not been tried.
    is_rejected = known is not None and known.is_models_fault and not rollout.wanted.has_other_files
    is_temporary = known is not None and not known.is_models_fault and not isinstance(error, ToldToAbort)
    return Failure(
        attempt=run.attempt_id,
        at=now("milliseconds"),
        candidate=rollout.plan.online_deployment if is_at_fault and spec.rollout.failed == "delete" else None,
        rejects=rejection(model, spec) if model and is_rejected else None,
        delays=content_digest(model, spec) if model and is_temporary else None,
        pauses=error.why or "" if isinstance(error, ToldToAbort) else "",
        keeps_traffic=run.endpoint is not None and run.facts.has_proven(run.endpoint.traffic),
        is_recorded=True,
    )


def _of_the_abort(failure: Exception) -> RollwayError:
    return RollwayError(repr(failure), where="the abort", hint="read the traceback in the run's log, and report it")


def _not_restored(endpoint: str, error: BaseException, failure: RollwayError) -> TrafficNotRestored:
    first = error.what if isinstance(error, RollwayError) else repr(error)
    made = TrafficNotRestored(
        f"the rollout failed and the traffic of {endpoint!r} could not be restored",
        where=f"endpoint {endpoint}",
        why=f"{failure.what}: {failure.why}\n  after: {first}",
        hint=f"look at once: az ml online-endpoint show --name {endpoint} --query traffic",
        cause=failure.cause,
        code=failure.code,
        request_id=failure.request_id,
        error_tree=failure.error_tree,
        details=error.details if isinstance(error, RollwayError) else None,
        log=error.log if isinstance(error, RollwayError) else None,
    )
    made.__cause__ = failure
    return made


def _dossier(error: BaseException, spec: RolloutSpec, done: AbortResult) -> Dossier:
    run = current_run()
    plan = run.rollout.plan if run.rollout else None
    return dossier.build(
        error,
        spec,
        task=run.failed_task or "the flow itself",
        timeline=run.timeline,
        traffic_before=plan.traffic_before if plan else None,
        traffic_now=done.traffic_now,
        cleaned_up=done.cleaned_up,
        kept=done.kept,
        findings=plan.findings if plan else (),
        workspace=str(run.workspace) if run.workspace else None,
        model=str(plan.model) if plan and plan.model else None,
        run_url=run_url(),
        studio_page=run.studio_page,
        parameters=flow_run.parameters,
        is_promoted=run.has_promoted,
        program=program(),
    )


async def abort_after_death(flow: Any, flow_run: FlowRun, state: Any) -> None:  # noqa: ARG001 (Prefect's names)
    """Abort a rollout whose process was killed before it could; a hook that the worker runs."""
    logger = flow_run_logger(flow_run)
    spec = await in_thread(load_folder, flow_run.parameters["rollout"])
    workspace, _ = await find_workspace(flow_run.parameters.get("workspace_block"))
    failure = Failure(attempt=f"{flow_run.id}/{flow_run.run_count}", at=now("milliseconds"))
    done = await abort.abort(await open_session(workspace), spec.endpoint.name, failure)
    for line in (*done.cleaned_up, *done.kept):
        logger.warning("%s", line)
