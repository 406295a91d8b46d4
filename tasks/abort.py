"""What happens when a rollout fails, is cancelled or its process dies: traffic goes back, and the reason is kept."""

from typing import Any

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_run_logger
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run, task_run

from rollway.azure import abort
from rollway.azure.abort import Undone
from rollway.azure.folder import load_folder
from rollway.azure.session import WorkspaceFacts
from rollway.azure.threads import in_thread
from rollway.errors import RollwayError, TrafficNotRestored
from rollway.prefect.labels import note, noted_down
from rollway.prefect.task import failed_step, run_id, step, timeline
from rollway.reports import dossier
from rollway.reports import rollout as report
from rollway.reports.dossier import Dossier
from rollway.rollout import traffic
from rollway.spec import RolloutSpec
from tasks.connect import find_workspace, open_session
from tasks.provision import PlannedRollout

RETRIES = 3


@step("abort", run_name="abort: back to what was before", timeout_seconds=7200, tags=["azure"], retries=RETRIES)
async def abort_rollout(
    connected: WorkspaceFacts | None,
    spec: RolloutSpec,
    planned: PlannedRollout | None,
    error: BaseException,
    is_promoted: bool,
) -> Undone:
    """Brings traffic back, deletes what failed, and leaves an artifact that says what happened.

    What is promoted stays: then only the clearing up behind it has failed. The artifact is there even when the endpoint
    cannot be brought back, or could never be asked for (`connected` None). Raises TrafficNotRestored when there may be
    something left to bring back.
    """
    done, loudest = Undone(), None
    try:
        if connected is not None:
            done = await _undo(connected, spec, planned, error, is_promoted)
    except RollwayError as failure:
        if failure.retryable and (task_run.run_count or 0) <= RETRIES:
            raise
        done = Undone(kept=(f"everything as it is: {failure.what}",))
        if planned is not None and not is_promoted:  # before the plan nothing is done that has to be brought back
            loudest = _not_restored(spec.endpoint.name, error, failure)
    if loudest is not None:
        await note(traffic="not restored, look at once")
    elif done.traffic_now is not None:
        await note(traffic=traffic.describe(done.traffic_now))
    await noted_down()
    found = _dossier(loudest or error, spec, planned, done, is_promoted)
    get_run_logger().error("%s", dossier.text(found))
    await acreate_markdown_artifact(
        dossier.markdown(found),
        key=f"failure-{report.artifact_key(spec.name)}",
        description=f"Why the rollout of {spec.name} was aborted",
    )
    if loudest is not None:
        raise loudest
    return done


async def _undo(
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    planned: PlannedRollout | None,
    error: BaseException,
    is_promoted: bool,
) -> Undone:
    # What a rollback goes back to has served before: it is not this run's to delete, nor to reject.
    made = planned if planned is not None and planned.goes_back_to is None else None
    known = error if isinstance(error, RollwayError) else None
    is_at_fault = made is not None and known is not None and known.is_candidates_fault
    return await abort.abort(
        await open_session(connected.workspace),
        spec.endpoint.name,
        run_id(),
        delete=made.name if made and is_at_fault and spec.rollout.failed == "delete" else None,
        keeps_traffic=is_promoted,
        rejects=str(made.plan.model) if made and made.plan.model and known and known.is_models_fault else None,
    )


def _not_restored(endpoint: str, error: BaseException, failure: RollwayError) -> TrafficNotRestored:
    first = error.what if isinstance(error, RollwayError) else repr(error)
    made = TrafficNotRestored(
        f"the rollout failed and {endpoint!r} could not be brought back to what it was",
        where=f"endpoint {endpoint}",
        why=f"{failure.what}: {failure.why}\n  after: {first}",
        hint=f"look at once: az ml online-endpoint show --name {endpoint} --query traffic",
        cause=failure.cause,
        code=failure.code,
        request_id=failure.request_id,
        error_tree=failure.error_tree,
        details=error.details if isinstance(error, RollwayError) else None,
    )
    made.__cause__ = failure
    return made


def _dossier(
    error: BaseException,
    spec: RolloutSpec,
    planned: PlannedRollout | None,
    done: Undone,
    is_promoted: bool,
) -> Dossier:
    plan = planned.plan if planned else None
    return dossier.build(
        error,
        spec,
        step=failed_step(),
        timeline=timeline(),
        traffic_before=plan.traffic_before if plan else None,
        traffic_now=done.traffic_now,
        cleaned_up=done.cleaned_up,
        kept=done.kept,
        findings=plan.findings if plan else (),
        model=str(plan.model) if plan and plan.model else None,
        run_url=flow_run.ui_url,
        parameters=flow_run.parameters,
        is_promoted=is_promoted,
    )


async def abort_after_death(flow: Any, flow_run: FlowRun, state: Any) -> None:  # noqa: ARG001 (Prefect's names)
    """The same from outside, for a process that was killed before it could do it: a hook that the worker runs."""
    logger = flow_run_logger(flow_run)
    attempt = f"{flow_run.id}/{flow_run.run_count}"
    spec = await in_thread(load_folder, flow_run.parameters["rollout"])
    workspace, _ = await find_workspace(flow_run.parameters.get("workspace_block"))
    done = await abort.abort(await open_session(workspace), spec.endpoint.name, attempt)
    for line in (*done.cleaned_up, *done.kept):
        logger.warning("%s", line)
