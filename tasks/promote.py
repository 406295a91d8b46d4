"""The steps that touch live traffic: prove, move, retire, or undo everything."""

from typing import Literal

from prefect.artifacts import acreate_markdown_artifact
from prefect.logging import get_run_logger

from rollway import report
from rollway.azure import endpoints, online_deployments, undo
from rollway.azure.data_plane import Scorer
from rollway.azure.session import WorkspaceFacts
from rollway.errors import RollwayError, SmokeTestFailed, TrafficNotRestored
from rollway.rollout import traffic
from rollway.rollout.smoke import SmokeTestResult, judge
from rollway.spec import RolloutSpec
from tasks.provision import PlannedRollout
from tasks.step import run_id, step
from tasks.workspace import open_session

Route = Literal["pinned", "by traffic"]


@step("smoke test", run_name="smoke test {rollout.name} ({route})", timeout_seconds=1200, tags=["scoring"])
async def smoke_test(rollout: PlannedRollout, route: Route) -> SmokeTestResult:
    """One real request: pinned to the online deployment whatever its weight, or through the endpoint as users do."""
    session = await open_session(rollout.workspace)
    test, name = rollout.spec.rollout.smoke_test, rollout.name
    endpoint = await endpoints.read_endpoint(session, rollout.plan.endpoint)
    # Twice what passes, so that an answer which is merely too slow is seen and reported as such.
    async with Scorer(session, endpoint, timeout_seconds=max(10.0, 2 * test.expect.max_latency_seconds)) as scorer:
        measurement = await scorer.score(
            rollout.spec.smoke_request,
            online_deployment=name if route == "pinned" else None,
            warm_up_seconds=test.warm_up_seconds,
        )
    result = SmokeTestResult(
        online_deployment=name,
        is_pinned=route == "pinned",
        measurement=measurement,
        problems=judge(measurement, test.expect, name),
    )
    if not result.has_passed:
        has_model_error = measurement.status != 200
        raise SmokeTestFailed(
            f"the smoke test of {name!r} failed: {'; '.join(result.problems)}",
            where=f"{rollout.spec.folder}/rollout.yml: smoke_test, endpoint {endpoint.name}",
            hint="mend the scoring script or the expectation and run the rollout again",
            details=await online_deployments.read_logs(session, endpoint.name, name) if has_model_error else None,
        )
    get_run_logger().info("%s answered in %.2f s: %s", name, measurement.latency_seconds, measurement.body)
    return result


@step("move traffic", run_name="move traffic to {rollout.name}", timeout_seconds=3600, tags=["azure"], retries=3)
async def move_traffic(rollout: PlannedRollout) -> dict[str, int]:
    """Sets the traffic map of the plan and reads it back."""
    session, plan = await open_session(rollout.workspace), rollout.plan
    after = await endpoints.move_traffic(
        session, plan.endpoint, plan.traffic_after, expected=plan.traffic_before, run_id=run_id()
    )
    get_run_logger().info(
        "Traffic of %s: %s, before: %s", plan.endpoint, traffic.describe(after), traffic.describe(plan.traffic_before)
    )
    return after


@step("retire replaced", run_name="retire what was replaced", timeout_seconds=3600, tags=["azure"], retries=2)
async def retire_replaced(rollout: PlannedRollout) -> tuple[str, ...]:
    """Deletes the online deployments whose traffic was taken over, unless rollout.yml keeps them; gives their names."""
    if rollout.spec.rollout.replaced == "keep":
        return ()
    session, plan = await open_session(rollout.workspace), rollout.plan
    for name in plan.replaces:
        await online_deployments.delete_online_deployment(session, plan.endpoint, name)
        get_run_logger().info("%s deleted", name)
    return plan.replaces


@step("abort", run_name="abort: back to what was before", timeout_seconds=7200, tags=["azure"], retries=3)
async def abort_rollout(connected: WorkspaceFacts, spec: RolloutSpec, error: str) -> tuple[str, ...]:
    """Brings traffic back, removes what this run created, and leaves an artifact that says what happened."""
    endpoint = spec.endpoint.name
    get_run_logger().warning("Undoing what this run did; an operation still running in Azure must end first")
    try:
        done = await undo.abort(await open_session(connected.workspace), endpoint, run_id())
    except RollwayError as failure:
        if failure.retryable:
            raise
        raise TrafficNotRestored(
            f"the rollout failed and {endpoint!r} could not be brought back to what it was",
            where=f"endpoint {endpoint}",
            why=f"{failure}\n  after: {error}",
            hint=f"look at once: az ml online-endpoint show --name {endpoint} --query traffic",
        ) from failure
    for line in done:
        get_run_logger().warning("%s", line)
    await acreate_markdown_artifact(
        report.failure_markdown(spec, error, done),
        key=f"failure-{report.artifact_key(spec.name)}",
        description=f"Why the rollout of {spec.name} was aborted",
    )
    return done
