"""Tasks of the watcher: look at all rollouts, start what is due, report."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from prefect.client.schemas.objects import FlowRun
from prefect.logging import get_run_logger

from rollway.azure.session import WorkspaceFacts
from rollway.azure.threads import in_thread
from rollway.azure.watching import look_at_workspace
from rollway.prefect import watching
from rollway.prefect.artifacts import publish_table
from rollway.prefect.concurrency import has_ended
from rollway.prefect.events import emit_broken, emit_finding
from rollway.prefect.task import task
from rollway.reports.watch import newly_broken, watch_table
from rollway.rollout.watch import Finding, Look, Verdict, WatchedFolders, after_crash, broken, unrecorded_failures
from rollway.settings import known_rollouts
from tasks.connect import open_session

CRASHES_SINCE = timedelta(days=1)


@task("list rollouts", run_name="list rollouts", timeout_seconds=300)
async def list_rollouts() -> WatchedFolders:
    """List all rollout folders, by the workspace block of their Prefect deployments."""
    blocks = await watching.workspace_blocks()
    by_block: dict[str | None, tuple[str, ...]] = {}
    lost: list[Look] = []
    for name in await in_thread(known_rollouts):
        if name in blocks:
            by_block[blocks[name]] = (*by_block.get(blocks[name], ()), name)
        else:
            lost.append(broken(name, watching.no_deployment(f"{watching.DEPLOY}/{name}")))
    return WatchedFolders(by_block=tuple(by_block.items()), lost=tuple(lost))


@task("look", run_name="look at {connected.workspace.name}", timeout_seconds=900, retries=2)
async def look(connected: WorkspaceFacts, rollouts: Sequence[str], interval_seconds: int) -> tuple[Look, ...]:
    """Look at the endpoints of a workspace; what is wrong with one folder is its look."""
    session = await open_session(connected.workspace)
    looks = await look_at_workspace(session, rollouts, datetime.now(UTC), interval_seconds)
    for one in looks:
        if one.finding is not None:
            get_run_logger().info("%s: %s, %s", one.rollout, one.finding.verdict.value, one.finding.reason)
    return looks


@task("start runs", run_name="start runs", timeout_seconds=900)
async def start_runs(looks: Sequence[Look]) -> tuple[Look, ...]:
    """Create the run of each rollout for which something is due, unless one has not ended."""
    now = datetime.now(UTC)
    under_way = await watching.runs_under_way(now)
    crashed = await watching.crashed_rollouts(now - CRASHES_SINCE) - under_way.keys()
    started = []
    for given in looks:
        one = await _without_a_dead_run(given, under_way)
        if one.rollout in crashed:
            one = after_crash(one, await watching.ended_runs(one.rollout))
        if one.finding is not None and one.finding.verdict is Verdict.START:
            try:
                run = under_way.get(one.rollout)
                finding = _running(one.finding, str(run.id), str(run.state_name)) if run else await _start(one.finding)
                started.append(one.model_copy(update={"finding": finding}))
            except Exception as error:  # noqa: BLE001 (the other rollouts go on)
                started.append(broken(one.rollout, error))
        else:
            started.append(one)
    return tuple(started)


@task("report findings", run_name="report findings", timeout_seconds=300)
async def report_looks(looks: Sequence[Look]) -> None:
    """Store a table as an artifact, and emit an event per finding and per newly broken folder."""
    for one in newly_broken(looks, await watching.last_table()):
        emit_broken(one)
    for one in looks:
        if one.finding is not None:
            emit_finding(one.finding)
        else:
            get_run_logger().error("%s could not be watched: %s", one.rollout, one.error)
    await publish_table(watching.TABLE, watch_table(looks), "Endpoints, and what is due there")


async def _without_a_dead_run(one: Look, under_way: Mapping[str, FlowRun]) -> Look:
    """Return the look with the verdict START if the run of a progressive rollout has ended before it."""
    found = one.finding
    if found is None or found.works_on_it is None or found.verdict is not Verdict.RUNNING:
        return one
    if one.rollout in under_way or not await has_ended(f"{found.works_on_it}/"):
        return one
    reason = f"{found.reason}; its run {found.works_on_it} has ended"
    return one.model_copy(update={"finding": found.model_copy(update={"verdict": Verdict.START, "reason": reason})})


def _running(finding: Finding, run: str, state: str) -> Finding:
    reason = f"{finding.reason}; a run has not ended, it is {state}"
    return finding.model_copy(update={"verdict": Verdict.RUNNING, "reason": reason, "run": run})


async def _start(finding: Finding) -> Finding:
    ended = await watching.ended_runs(finding.rollout)
    if because := unrecorded_failures(ended, finding.last_attempt, datetime.now(UTC)):
        return finding.model_copy(update={"verdict": Verdict.HELD_BACK, "reason": f"{finding.reason}; {because}"})
    run = await watching.start_run(finding)
    get_run_logger().info("Flow run %s (%s) was started for %s: %s", run.name, run.id, finding.rollout, finding.reason)
    return finding.model_copy(update={"run": str(run.id)})
