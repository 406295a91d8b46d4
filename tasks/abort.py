"""The abort of a rollout that failed, was cancelled or whose process died: traffic back, dossier, hook."""

from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_run_logger
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run, task_run

from rollway.azure import abort
from rollway.azure.abort import AbortResult
from rollway.azure.folder import load_folder
from rollway.azure.session import WorkspaceFacts
from rollway.azure.threads import in_thread
from rollway.errors import RollwayError, TrafficNotRestored
from rollway.prefect.artifacts import publish_markdown
from rollway.prefect.blocks import find_workspace
from rollway.prefect.run import attempt_id, current_run
from rollway.prefect.task import task
from rollway.reports import dossier
from rollway.reports.dossier import Dossier
from rollway.rollout import traffic
from rollway.rollout.planned import PlannedRollout
from rollway.spec import RolloutSpec
from tasks.connect import open_session

RETRIES = 3


@task("abort", run_name="abort: restore traffic", timeout_seconds=7200, retries=RETRIES)
async def abort_rollout(
    connected: WorkspaceFacts | None,
    spec: RolloutSpec,
    planned: PlannedRollout | None,
    error: BaseException,
    is_promoted: bool,
) -> AbortResult:
    """Restore traffic, delete the failed online deployment, and store the dossier as an artifact.

    The dossier is stored even if the endpoint cannot be reached. Raises TrafficNotRestored if traffic may still be on
    the failed online deployment.

    Args:
        connected: None if the run never signed in; then there is nothing to restore.
        planned: None if the run failed before its plan.
        is_promoted: True if only the cleanup after the promotion failed; then traffic stays.
    """
    done, worst = AbortResult(), None
    try:
        if connected is not None:
            done = await _abort(connected, spec, planned, error, is_promoted)
    except RollwayError as failure:
        if failure.retryable and (task_run.run_count or 0) <= RETRIES:
            raise
        done = AbortResult(kept=(f"everything, because the abort failed: {failure.what}",))
        if planned is not None and not is_promoted:  # before the plan there is nothing to restore
            worst = _not_restored(spec.endpoint.name, error, failure)
    if worst is not None:
        current_run().label(traffic="not restored, look at once")
    elif done.traffic_now is not None:
        current_run().label(traffic=traffic.describe(done.traffic_now))
    await current_run().labels_written()
    found = _dossier(worst or error, spec, planned, done, is_promoted)
    get_run_logger().error("%s", dossier.text(found))
    await publish_markdown("failure", spec.name, dossier.markdown(found), f"Why the rollout of {spec.name} was aborted")
    if worst is not None:
        raise worst
    return done


async def _abort(
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    planned: PlannedRollout | None,
    error: BaseException,
    is_promoted: bool,
) -> AbortResult:
    # The target of a rollback served before: this run may neither delete nor reject it.
    made = planned if planned is not None and planned.goes_back_to is None else None
    known = error if isinstance(error, RollwayError) else None
    is_at_fault = made is not None and known is not None and known.is_candidates_fault
    return await abort.abort(
        await open_session(connected.workspace),
        spec.endpoint.name,
        attempt_id(),
        delete=made.name if made and is_at_fault and spec.rollout.failed == "delete" else None,
        keeps_traffic=is_promoted,
        rejects=str(made.plan.model) if made and made.plan.model and known and known.is_models_fault else None,
    )


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
    )
    made.__cause__ = failure
    return made


def _dossier(
    error: BaseException,
    spec: RolloutSpec,
    planned: PlannedRollout | None,
    done: AbortResult,
    is_promoted: bool,
) -> Dossier:
    plan = planned.plan if planned else None
    return dossier.build(
        error,
        spec,
        task=current_run().failed_task or "the flow itself",
        timeline=current_run().timeline,
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
    """Abort a rollout whose process was killed before it could; a hook that the worker runs."""
    logger = flow_run_logger(flow_run)
    attempt = f"{flow_run.id}/{flow_run.run_count}"
    spec = await in_thread(load_folder, flow_run.parameters["rollout"])
    workspace, _ = await find_workspace(flow_run.parameters.get("workspace_block"))
    done = await abort.abort(await open_session(workspace), spec.endpoint.name, attempt)
    for line in (*done.cleaned_up, *done.kept):
        logger.warning("%s", line)
