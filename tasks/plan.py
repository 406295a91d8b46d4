"""The plan of a run, everything that would stop it, and the next move."""

from prefect.logging import get_run_logger

from rollway.azure import online_deployments, planning
from rollway.azure.session import WorkspaceFacts
from rollway.azure.state import read_endpoint_patiently
from rollway.errors import RollwayError
from rollway.prefect.artifacts import publish_result
from rollway.prefect.concurrency import ended_attempts
from rollway.prefect.run import current_run, rename_run
from rollway.prefect.task import task
from rollway.prefect.waiting import woken
from rollway.reports import plan as plan_report
from rollway.rollout import traffic
from rollway.rollout.decide import decide
from rollway.rollout.moves import Move, Outcome, refusal, require_good_end
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.preflight import require_no_blockers
from rollway.rollout.request import Models, Request
from rollway.rollout.state import EndpointState, ResolvedAsset
from rollway.spec import RolloutSpec
from tasks.connect import open_session


@task("plan", run_name="plan", timeout_seconds=300, retries=2)
async def make_plan(
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    request: Request,
    models: Models,
    environment: ResolvedAsset | None,
) -> PlannedRollout:
    """Decide what to do and find everything that would stop it; the plan is an artifact, which the report replaces.

    Raises PreflightFailed if the plan has a blocker, unless this is a dry run.
    """
    session, run = await open_session(connected.workspace), current_run()
    facts = run.start(spec, session.now(), await woken())

    async def find_ended(endpoint: EndpointState) -> frozenset[str]:
        return await ended_attempts(endpoint, run.attempt_id)

    rollout = await planning.make_plan(session, connected, spec, request, models, environment, facts, find_ended)
    plan = rollout.plan
    get_run_logger().info("Plan: %s", plan_report.headline(plan))
    run.label(model=str(plan.model or ""), traffic=traffic.describe(plan.traffic_before))
    await rename_run(plan.model)
    await publish_result("rollout", spec.name, plan_report.markdown(plan), f"Plan of the rollout of {spec.name}")
    for finding in plan.findings:
        get_run_logger().warning("%s: %s", finding.severity.value, finding)
    for skipped in plan.skipped:
        get_run_logger().info("Version %s is not rolled out: %s", skipped.version, skipped.reason)
    if not request.is_dry_run:
        require_no_blockers(plan.findings)
    run.plans(rollout)
    return rollout


def seen() -> EndpointState:
    """Return the endpoint that the move was decided on."""
    endpoint = current_run().endpoint
    if endpoint is None:
        raise AssertionError("a move is decided on a reading")
    return endpoint


async def next_move(rollout: PlannedRollout, *, is_logged: bool = True) -> Move:
    """Read the endpoint and decide; raises RollwayError if the run cannot go on."""
    run, session = current_run(), await open_session(rollout.workspace)
    endpoint = await read_endpoint_patiently(session, rollout.endpoint)
    run.look(endpoint, session.now(), await ended_attempts(endpoint, run.attempt_id))
    move = decide(rollout.spec, rollout.wanted, endpoint, run.facts)
    run.last_move = move
    if move.outcome is Outcome.WORSE:
        raise await _canary_failed(rollout, move)
    require_good_end(move)
    if is_logged and not move.is_end:
        get_run_logger().info("Next: %s, because %s", move, move.why)
    return move


async def _canary_failed(rollout: PlannedRollout, move: Move) -> RollwayError:
    """Return the error of a canary that is worse than stable, with the logs of its containers."""
    error = refusal(move)
    session = await open_session(rollout.workspace)
    try:
        error.log = await online_deployments.read_logs(session, rollout.endpoint, move.target)
    except RollwayError as unread:
        error.log = f"its logs could not be read: {unread.what}"
    return error
