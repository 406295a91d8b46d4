"""Bring up the online deployment: endpoint, lease, leftovers, creation, readiness."""

from prefect.logging import get_run_logger

from rollway.azure import endpoints, lease, online_deployments
from rollway.prefect.artifacts import Progress
from rollway.prefect.concurrency import has_ended
from rollway.prefect.logs import log_changes
from rollway.prefect.run import attempt_id, current_run
from rollway.prefect.task import task
from rollway.reports.plan import headline
from rollway.rollout import plan as planning
from rollway.rollout import traffic
from rollway.rollout.plan import Kind, Plan
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.rollback import plan_rollback
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from tasks.connect import open_session

PROGRESS_INTERVAL_SECONDS = 5.0


@task(
    "ensure endpoint",
    run_name="ensure endpoint",
    timeout_seconds=7200,
    retries=2,
)
async def ensure_endpoint(rollout: PlannedRollout) -> EndpointState:
    """Create the endpoint, or change it to what endpoint.yml says."""
    spec = rollout.spec
    endpoint = await endpoints.ensure_endpoint(
        await open_session(rollout.workspace),
        spec,
        attempt_id(),
        has_ended=has_ended,
        on_progress=log_changes(spec.endpoint.name),
    )
    get_run_logger().info("Endpoint %s: %s, %s", endpoint.name, endpoint.provisioning_state, endpoint.scoring_uri)
    return endpoint


@task("claim endpoint", run_name="claim {rollout.plan.endpoint}", timeout_seconds=9600, retries=2)
async def claim_endpoint(rollout: PlannedRollout, _endpoint: EndpointState | None = None) -> PlannedRollout:
    """Take the lease on the endpoint and plan again, now that nobody else writes to it."""
    plan = rollout.plan
    state = await lease.acquire(
        await open_session(rollout.workspace),
        plan.endpoint,
        attempt_id(),
        timeout_seconds=endpoints.lease_timeout_seconds(rollout.spec),
        has_ended=has_ended,
        on_progress=log_changes(plan.endpoint),
    )
    again = _plan_again(rollout, state)
    current_run().label(model=str(plan.model or ""), traffic=traffic.describe(state.traffic))
    if again.actions != plan.actions:
        get_run_logger().info("New plan, after claiming the endpoint: %s", headline(again))
    again = again.model_copy(update={"findings": plan.findings})
    claimed = rollout.model_copy(update={"plan": again, "scoring_uri": state.scoring_uri})
    return claimed.detached()


def _plan_again(rollout: PlannedRollout, state: EndpointState) -> Plan:
    if rollout.goes_back_to is not None:
        return plan_rollback(state, rollout.goes_back_to)
    plan = rollout.plan
    return planning.plan(rollout.spec, plan.model, plan.environment, state, weight=rollout.weight, force=rollout.force)


@task("remove leftovers", run_name="remove leftovers", timeout_seconds=7200, retries=2)
async def remove_leftovers(rollout: PlannedRollout) -> tuple[str, ...]:
    """Delete online deployments that earlier rollouts left without traffic; return their names."""
    session, plan = await open_session(rollout.workspace), rollout.plan
    for name in plan.targets(Kind.REMOVE):
        await online_deployments.delete_online_deployment(session, plan.endpoint, name, attempt_id())
        get_run_logger().info("%s deleted", name)
    return plan.targets(Kind.REMOVE)


@task(
    "create online deployment",
    run_name="create {rollout.name}",
    timeout_seconds=3600,
    retries=2,
)
async def create_online_deployment(rollout: PlannedRollout) -> None:
    """Start creating the online deployment at weight 0, or changing the existing one in place."""
    session = await open_session(rollout.workspace)
    if rollout.plan.has(Kind.UPDATE):
        await online_deployments.update_online_deployment(session, rollout.plan, attempt_id())
    else:
        await online_deployments.create_online_deployment(session, rollout.spec, rollout.plan, attempt_id())


@task(
    "wait until ready",
    run_name="wait until {rollout.name} is ready",
    timeout_seconds=7800,
)
async def wait_until_ready(rollout: PlannedRollout) -> OnlineDeploymentState:
    """Poll the state up to the deadline in rollout.yml; the progress artifact shows the used part of it."""
    allowed = rollout.spec.rollout.ready_timeout_seconds
    progress = Progress()
    await progress.show(0.0, f"{rollout.name}: requested")
    log_progress, last_state, next_update = log_changes(rollout.name), "", 0.0

    async def on_progress(state: str, waited: float) -> None:
        nonlocal last_state, next_update
        await log_progress(state, waited)
        if state != last_state or waited >= next_update:
            text = f"{rollout.name}: {state} for {waited:.0f} s of {allowed} s allowed"
            await progress.show(min(99.0, 100 * waited / allowed), text)
            last_state, next_update = state, waited + PROGRESS_INTERVAL_SECONDS

    ready = await online_deployments.wait_until_ready(
        await open_session(rollout.workspace),
        rollout.plan.endpoint,
        rollout.name,
        timeout_seconds=allowed,
        on_progress=on_progress,
    )
    await progress.show(100.0, f"{rollout.name}: ready")
    return ready
