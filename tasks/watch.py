"""The steps of the watcher: look at each rollout, start those that have a new model version, say what was found."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect import get_client
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.deployments import arun_deployment
from prefect.events import emit_event
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from rollway.azure import watching
from rollway.azure.session import WorkspaceFacts
from rollway.azure.threads import in_thread
from rollway.errors import NotFound, WatchIncomplete
from rollway.prefect.task import step
from rollway.rollout.follow import Finding, Verdict
from rollway.settings import known_rollouts
from rollway.spec import Frozen
from tasks.connect import open_session

COLUMNS = ("rollout", "verdict", "reason", "model", "live", "newest eligible", "skipped", "flow run")


class Look(Frozen):
    """How a look at one rollout ended: with a finding, with an error, or with neither when it follows no model."""

    rollout: str
    finding: Finding | None = None
    error: str | None = None


@step("list rollouts", run_name="list rollouts", timeout_seconds=300)
async def list_rollouts() -> tuple[str, ...]:
    """The names of all rollout folders."""
    return tuple(await in_thread(known_rollouts))


@step("look", run_name="look at {rollout}", timeout_seconds=300, tags=["azure"], retries=2)
async def look(connected: WorkspaceFacts, rollout: str) -> Finding | None:
    """Compares the newest eligible version of the model with what is live; None when the rollout follows no model."""
    finding = await watching.look(await open_session(connected.workspace), rollout, datetime.now(UTC))
    if finding is None:
        get_run_logger().info("%s follows no model", rollout)
    else:
        get_run_logger().info("%s: %s, %s", rollout, finding.verdict.value, finding.reason)
    return finding


@step("start rollout", run_name="start {finding.rollout} with version {finding.version}", timeout_seconds=300)
async def start_rollout(finding: Finding) -> Finding:
    """Creates the flow run that rolls the version out; one that an earlier look created stays the only one."""
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
    reason = f"a flow run of it was started before and is {run.state_name}"
    if run.state is not None and run.state.is_final():
        reason += ": retry it, or roll the version out by hand"
    return finding.model_copy(update={"run": str(run.id), "verdict": Verdict.STARTED, "reason": reason})


@step("report findings", run_name="report findings", timeout_seconds=300)
async def report_findings(looks: Sequence[Look]) -> None:
    """A table for people, and an event per finding for automations."""
    rows = [_row(one) for one in looks if one.finding is not None or one.error is not None]
    await acreate_table_artifact(rows, key="watch-models", description="New model versions, and what follows from them")
    for finding in (one.finding for one in looks if one.finding is not None):
        emit_event(
            f"rollway.model-version.{finding.verdict.value}",
            resource={
                "prefect.resource.id": f"rollway.rollout.{finding.rollout}",
                "prefect.resource.name": finding.rollout,
            },
            related=[
                {"prefect.resource.id": f"rollway.endpoint.{finding.endpoint}", "prefect.resource.role": "endpoint"},
                {"prefect.resource.id": f"rollway.model.{finding.model}", "prefect.resource.role": "model"},
            ],
            payload=finding.model_dump(mode="json"),
        )


def require_complete(looks: Sequence[Look]) -> None:
    """Raises WatchIncomplete, with all errors, when any rollout could not be looked at or started."""
    failed = [one for one in looks if one.error is not None]
    if failed:
        raise WatchIncomplete(
            f"{len(failed)} of {len(looks)} rollouts could not be watched: {', '.join(one.rollout for one in failed)}",
            hint="mend what each of them complains about; the next watch looks at all of them again",
            details="\n\n".join(f"{one.rollout}: {one.error}" for one in failed),
        )


def _row(look: Look) -> dict[str, str]:
    finding = look.finding
    if finding is None:  # a table has the columns of its first row
        error = str(look.error).partition("\n")[0]
        return {**dict.fromkeys(COLUMNS, ""), "rollout": look.rollout, "verdict": "error", "reason": error}
    skipped = "; ".join(f"{one.version}: {one.reason}" for one in finding.skipped)
    cells = (
        finding.rollout,
        finding.verdict.value,
        finding.reason,
        finding.model,
        finding.live_version,
        finding.version,
        skipped,
        finding.run,
    )
    return {column: cell or "" for column, cell in zip(COLUMNS, cells, strict=True)}
