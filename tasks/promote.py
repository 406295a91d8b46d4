"""Promote the online deployment: smoke test, traffic, smoke test by traffic, retirement of the replaced one."""

from typing import Literal

from prefect.logging import get_run_logger

from rollway.azure import endpoints, lease, online_deployments
from rollway.azure.scoring import Scorer
from rollway.azure.state import read_endpoint
from rollway.errors import SmokeTestFailed
from rollway.prefect.run import attempt_id, current_run
from rollway.prefect.task import task
from rollway.rollout import traffic
from rollway.rollout.plan import Kind
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.smoke import SmokeTestResult, judge
from rollway.rollout.state import OnlineDeploymentState
from tasks.connect import open_session

Route = Literal["pinned", "by traffic"]


@task(
    "smoke test",
    run_name="smoke test {rollout.name} ({route})",
    timeout_seconds=1200,
    retries=2,
)
async def smoke_test(rollout: PlannedRollout, route: Route) -> SmokeTestResult:
    """Send one real request: pinned to the online deployment, or by traffic as clients do.

    Raises SmokeTestFailed with the container's log if the model answered with an error.
    """
    session = await open_session(rollout.workspace)
    test, name = rollout.spec.rollout.smoke_test, rollout.name
    endpoint = await read_endpoint(session, rollout.plan.endpoint)
    # Twice the allowed latency, so that a slow answer is reported as slow and not as a time-out.
    timeout_seconds = max(10.0, 2 * test.expect.max_latency_seconds)
    async with (
        lease.renewed(session, endpoint.name, attempt_id()),
        Scorer(session, endpoint, timeout_seconds=timeout_seconds) as scorer,
    ):
        measurement = await scorer.score(
            rollout.spec.smoke_request,
            online_deployment=name if route == "pinned" else None,
            warm_up_seconds=test.warm_up_seconds,
        )
    # If several have traffic, any of them may answer a request by traffic.
    expected = name if route == "pinned" or len(rollout.plan.traffic_after) == 1 else None
    result = SmokeTestResult(
        online_deployment=name,
        is_pinned=route == "pinned",
        measurement=measurement,
        problems=judge(measurement, test.expect, expected),
    )
    if not result.has_passed:
        has_model_error = measurement.status != 200
        raise SmokeTestFailed(
            f"the smoke test of {name!r} failed: {'; '.join(result.problems)}",
            where=f"{rollout.spec.folder}/rollout.yml: smoke_test, endpoint {endpoint.name}",
            hint="fix the scoring script or the expectation, then run the rollout again",
            details=await online_deployments.read_logs(session, endpoint.name, name) if has_model_error else None,
        )
    get_run_logger().info("%s answered in %.2f s: %s", name, measurement.latency_seconds, measurement.body)
    return result


@task(
    "move traffic",
    run_name="move traffic to {rollout.name}",
    timeout_seconds=3600,
    retries=3,
)
async def move_traffic(rollout: PlannedRollout, ready: OnlineDeploymentState) -> dict[str, int]:
    """Set the traffic map of the plan and read it back; `ready` must be unchanged since its smoke test."""
    session, plan = await open_session(rollout.workspace), rollout.plan
    await online_deployments.require_unchanged(session, plan.endpoint, ready)
    before, wanted = traffic.describe(plan.traffic_before), traffic.describe(plan.traffic_after)
    current_run().label(traffic=f"moving from {before} to {wanted}")
    after = await endpoints.move_traffic(
        session,
        plan.endpoint,
        plan.traffic_after,
        expected=plan.traffic_before,
        proven=plan.traffic_proven,
        run_id=attempt_id(),
    )
    get_run_logger().info("Traffic of %s: %s, before: %s", plan.endpoint, traffic.describe(after), before)
    current_run().label(traffic=traffic.describe(after))
    return after


@task(
    "retire replaced",
    run_name="retire what was replaced",
    timeout_seconds=3600,
    retries=2,
)
async def retire_replaced(rollout: PlannedRollout) -> tuple[str, ...]:
    """Record the promotion, delete the online deployments that the plan retires, and release the lease.

    Returns the names of the deleted online deployments.
    """
    session, plan = await open_session(rollout.workspace), rollout.plan
    canary = "" if rollout.weight == 100 else f"canary at {rollout.weight} %"
    # First, so that no abort returns traffic to an online deployment that is being deleted.
    await endpoints.confirm_promotion(session, plan, attempt_id(), pause_reason=rollout.pause_reason or canary)
    for name in plan.targets(Kind.RETIRE):
        await online_deployments.delete_online_deployment(session, plan.endpoint, name, attempt_id())
        get_run_logger().info("%s deleted", name)
    await lease.release(session, plan.endpoint, attempt_id())
    return plan.targets(Kind.RETIRE)
