"""Tasks of the watcher: look at each rollout, start those with a new model version, report."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from rollway.azure import watching
from rollway.azure.session import WorkspaceFacts
from rollway.azure.threads import in_thread
from rollway.errors import NotFound
from rollway.prefect.artifacts import publish_table
from rollway.prefect.events import emit_finding
from rollway.prefect.task import task
from rollway.reports.watch import watch_table
from rollway.rollout.follow import Finding, Look, Verdict
from rollway.settings import known_rollouts
from tasks.connect import open_session


@task("list rollouts", run_name="list rollouts", timeout_seconds=300)
async def list_rollouts() -> tuple[str, ...]:
    """List the names of all rollout folders."""
    return tuple(await in_thread(known_rollouts))


@task("look", run_name="look at {rollout}", timeout_seconds=300, retries=2)
async def look(connected: WorkspaceFacts, rollout: str) -> Finding | None:
    """Compare the newest eligible version of the model with the live one; return None if it follows no model."""
    finding = await watching.read_finding(await open_session(connected.workspace), rollout, datetime.now(UTC))
    if finding is None:
        get_run_logger().info("%s follows no model", rollout)
    else:
        get_run_logger().info("%s: %s, %s", rollout, finding.verdict.value, finding.reason)
    return finding


@task("start rollout", run_name="start {finding.rollout} with version {finding.version}", timeout_seconds=300)
async def start_rollout(finding: Finding) -> Finding:
    """Create the flow run that rolls the version out, unless an earlier run of the watcher created it."""
    key = str(finding.idempotency_key)
    async with get_client() as client:
        known = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key]))
        )
    try:
        run = await arun_deployment(
            f"deploy-endpoint/{finding.rollout}",
            parameters={"rollout": finding.rollout, "model_version": finding.version},
            idempotency_key=key,
            timeout=0,
            as_subflow=False,
        )
    except ObjectNotFound as error:
        raise NotFound(
            f"there is no Prefect deployment for the rollout {finding.rollout!r}",
            where=f"prefect.yaml: deployments, {finding.rollout}",
            hint="add it to prefect.yaml and run `prefect deploy --all`",
        ) from error
    get_run_logger().info("Flow run %s (%s) rolls out %s:%s", run.name, run.id, finding.model, finding.version)
    if not known:
        return finding.model_copy(update={"run": str(run.id)})
    reason = f"its flow run was started before and is {run.state_name}"
    if run.state is not None and run.state.is_final():
        reason += ": retry it, or roll the version out by hand"
    return finding.model_copy(update={"run": str(run.id), "verdict": Verdict.STARTED, "reason": reason})


@task("report findings", run_name="report findings", timeout_seconds=300)
async def report_findings(looks: Sequence[Look]) -> None:
    """Store a table as an artifact, and emit an event per finding for automations."""
    await publish_table("watch-endpoints", watch_table(looks), "New model versions and decisions")
    for finding in (one.finding for one in looks if one.finding is not None):
        emit_finding(finding)
