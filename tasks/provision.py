"""The steps that decide, create the online deployment and wait for it."""

from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact, acreate_progress_artifact, aupdate_progress_artifact
from prefect.logging import get_run_logger

from rollway import report
from rollway.azure import online_deployments
from rollway.azure.session import WorkspaceFacts
from rollway.rollout import plan as planning
from rollway.rollout.plan import Action, Plan
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.settings import Workspace
from rollway.spec import Frozen, RolloutSpec
from tasks.step import run_id, step
from tasks.workspace import open_session

PROGRESS_INTERVAL_SECONDS = 5.0


class PlannedRollout(Frozen):
    """All that the steps after the plan need, in one value, so that the run's graph has one arrow to each of them."""

    workspace: Workspace
    spec: RolloutSpec
    plan: Plan
    scoring_uri: str | None
    is_dry_run: bool

    @property
    def name(self) -> str:
        """The name of the online deployment."""
        return self.plan.online_deployment


@step("plan", run_name="plan", timeout_seconds=60)
async def make_plan(
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    endpoint: EndpointState,
    is_dry_run: bool,
) -> PlannedRollout:
    """Decides what to do; the plan is an artifact."""
    plan = planning.plan(spec, model, environment, endpoint)
    get_run_logger().info("Plan: %s %s", plan.action.value, plan.online_deployment)
    await acreate_markdown_artifact(
        report.plan_markdown(plan), key=f"plan-{report.artifact_key(spec.name)}", description="What this rollout does"
    )
    planned = PlannedRollout(
        workspace=connected.workspace,
        spec=spec,
        plan=plan,
        scoring_uri=endpoint.scoring_uri,
        is_dry_run=is_dry_run,
    )
    # Prefect draws an arrow from each step of whose result it finds any part, down to the strings, inside an argument:
    # what has been through JSON has only one origin.
    return PlannedRollout.model_validate_json(planned.model_dump_json())


@step(
    "create online deployment",
    run_name="create {rollout.name}",
    timeout_seconds=1800,
    tags=["azure"],
    retries=2,
)
async def create_online_deployment(rollout: PlannedRollout) -> None:
    """Starts creating the online deployment at weight 0 (or changing the live one in place)."""
    session = await open_session(rollout.workspace)
    if rollout.plan.action is Action.IN_PLACE:
        await online_deployments.update_online_deployment(session, rollout.plan, run_id())
    else:
        await online_deployments.create_online_deployment(session, rollout.spec, rollout.plan, run_id())


@step("wait until ready", run_name="wait until {rollout.name} is ready", timeout_seconds=7800, tags=["azure"])
async def wait_until_ready(rollout: PlannedRollout) -> OnlineDeploymentState:
    """Polls the state up to the deadline of rollout.yml; the progress artifact shows how much of it is used."""
    logger, allowed = get_run_logger(), rollout.spec.rollout.ready_timeout_seconds
    artifact = UUID(str(await acreate_progress_artifact(0.0, description=f"{rollout.name}: asked for")))
    last_state, next_update = "", 0.0

    async def on_progress(state: str, waited: float) -> None:
        nonlocal last_state, next_update
        if state != last_state:
            logger.info("%s is %s after %.0f s", rollout.name, state, waited)
        if state != last_state or waited >= next_update:
            text = f"{rollout.name}: {state} for {waited:.0f} s of {allowed} s allowed"
            await aupdate_progress_artifact(artifact, progress=min(99.0, 100 * waited / allowed), description=text)
            last_state, next_update = state, waited + PROGRESS_INTERVAL_SECONDS

    ready = await online_deployments.wait_until_ready(
        await open_session(rollout.workspace),
        rollout.plan.endpoint,
        rollout.name,
        timeout_seconds=allowed,
        on_progress=on_progress,
    )
    await aupdate_progress_artifact(artifact, progress=100.0, description=f"{rollout.name}: ready")
    return ready
