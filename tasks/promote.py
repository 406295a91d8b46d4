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
from rollway.rollout.smoke import REQUEST_ID, SmokeTestResult, answer_timeout_seconds, excerpt
from rollway.rollout.state import OnlineDeploymentState
from tasks.connect import open_session

Route = Literal["pinned", "by traffic"]


@task(
    "smoke test",
    run_name="smoke test {rollout.name} ({route})",
    timeout_seconds=1200,
    tags=["scoring"],
    retries=2,
    key=lambda given: f"{given['route']} {_key_of(given['rollout'], given['route'])}",
)
async def smoke_test(rollout: PlannedRollout, route: Route) -> SmokeTestResult:
    """Send real requests: pinned to the online deployment, or by traffic as clients do.

    Raises SmokeTestFailed if the model is at fault, and CouldNotMeasure if nothing is known about it.
    """
    session = await open_session(rollout.workspace)
    test, name = rollout.spec.rollout.smoke_test, rollout.name
    endpoint = await read_endpoint(session, rollout.plan.endpoint)
    async with (
        lease.renewed(session, endpoint.name, attempt_id()),
        Scorer(session, endpoint, timeout_seconds=answer_timeout_seconds(rollout.spec)) as scorer,
    ):
        result = await scorer.smoke_test(
            rollout.spec.smoke_request,
            test,
            name,
            is_pinned=route == "pinned",
            others_may_answer=route == "by traffic" and len(rollout.plan.traffic_after) > 1,
        )
    measurement = result.measurement
    if not result.has_passed:
        details = f"answer: {excerpt(measurement.body)}"
        if measurement.status != 200:
            details += f"\n\n{await online_deployments.read_logs(session, endpoint.name, name)}"
        raise SmokeTestFailed(
            f"the smoke test of {name!r} failed: {'; '.join(result.problems)}",
            where=f"{rollout.spec.folder}/rollout.yml: smoke_test, endpoint {endpoint.name}",
            hint=result.hint,
            request_id=measurement.headers.get(REQUEST_ID),
            details=details,
        )
    get_run_logger().info("%s answered in %.2f s", name, measurement.latency_seconds)
    return result


@task(
    "move traffic",
    run_name="move traffic to {rollout.name}",
    timeout_seconds=3600,
    tags=["azure"],
    retries=3,
    key=lambda given: given["rollout"].traffic_key(attempt_id()),
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
    tags=["azure"],
    retries=2,
    key=lambda given: given["rollout"].traffic_key(attempt_id()),
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


def _key_of(rollout: PlannedRollout, route: Route) -> str:
    return (rollout.candidate_key if route == "pinned" else rollout.traffic_key)(attempt_id())
