"""The steps that decide, create the online deployment and wait for it."""

from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact, acreate_progress_artifact, aupdate_progress_artifact
from prefect.logging import get_run_logger

from rollway import report
from rollway.azure import online_deployments
from rollway.azure.session import WorkspaceFacts, open_session
from rollway.rollout import plan as planning
from rollway.rollout.plan import Action, Plan
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.spec import RolloutSpec
from tasks.step import run_id, step

PROGRESS_INTERVAL_SECONDS = 5.0


@step("plan", run_name="plan", timeout_seconds=60)
async def make_plan(
    spec: RolloutSpec, model: ResolvedAsset | None, environment: ResolvedAsset | None, endpoint: EndpointState
) -> Plan:
    """Decides what to do; the plan is an artifact."""
    plan = planning.plan(spec, model, environment, endpoint)
    get_run_logger().info("Plan: %s %s", plan.action.value, plan.online_deployment)
    await acreate_markdown_artifact(
        report.plan_markdown(plan), key=f"plan-{report.artifact_key(spec.name)}", description="What this rollout does"
    )
    return plan


@step(
    "create online deployment",
    run_name="create {plan.online_deployment}",
    timeout_seconds=1800,
    tags=["azure"],
    retries=2,
)
async def create_online_deployment(
    connected: WorkspaceFacts, spec: RolloutSpec, plan: Plan
) -> OnlineDeploymentState | None:
    """Starts creating the online deployment at weight 0 (or changing the live one in place)."""
    opened = await open_session(connected.workspace)
    if plan.action is Action.IN_PLACE:
        await online_deployments.update_online_deployment(opened, plan, run_id())
        return None
    return await online_deployments.create_online_deployment(opened, spec, plan, run_id())


@step("wait until ready", run_name="wait until {plan.online_deployment} is ready", timeout_seconds=7800, tags=["azure"])
async def wait_until_ready(connected: WorkspaceFacts, spec: RolloutSpec, plan: Plan) -> OnlineDeploymentState:
    """Polls the state up to the deadline of rollout.yml; the progress artifact shows how much of it is used."""
    logger, allowed = get_run_logger(), spec.rollout.ready_timeout_seconds
    artifact = UUID(str(await acreate_progress_artifact(0.0, description=f"{plan.online_deployment}: asked for")))
    last_state, next_update = "", 0.0

    async def on_progress(state: str, waited: float) -> None:
        nonlocal last_state, next_update
        if state != last_state:
            logger.info("%s is %s after %.0f s", plan.online_deployment, state, waited)
        if state != last_state or waited >= next_update:
            text = f"{plan.online_deployment}: {state} for {waited:.0f} s of {allowed} s allowed"
            await aupdate_progress_artifact(artifact, progress=min(99.0, 100 * waited / allowed), description=text)
            last_state, next_update = state, waited + PROGRESS_INTERVAL_SECONDS

    ready = await online_deployments.wait_until_ready(
        await open_session(connected.workspace),
        plan.endpoint,
        plan.online_deployment,
        timeout_seconds=allowed,
        on_progress=on_progress,
    )
    await aupdate_progress_artifact(artifact, progress=100.0, description=f"{plan.online_deployment}: ready")
    return ready
