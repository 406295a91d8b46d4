"""The steps that decide, take the endpoint, and bring the online deployment up."""

from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact, acreate_progress_artifact, aupdate_progress_artifact
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from rollway.azure import endpoints, lease, online_deployments
from rollway.azure.preflight import run_preflight
from rollway.azure.session import WorkspaceFacts
from rollway.azure.state import read_endpoint
from rollway.prefect.concurrency import has_ended
from rollway.prefect.labels import note
from rollway.prefect.task import log_changes, run_id, step
from rollway.reports import rollout as report
from rollway.rollout import plan as planning
from rollway.rollout import traffic
from rollway.rollout.plan import Kind, Plan
from rollway.rollout.preflight import require_no_blockers
from rollway.rollout.rollback import hold, plan_rollback
from rollway.rollout.state import PINNED, EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.settings import Workspace
from rollway.spec import Frozen, RolloutSpec
from tasks.connect import open_session

PROGRESS_INTERVAL_SECONDS = 5.0


class PlannedRollout(Frozen):
    """All that the steps after the plan need, in one value, so that the run's graph has one arrow to each of them.

    `goes_back_to` names the online deployment of a rollback, None when the folder decides. `pinned` says why new model
    versions are not to be rolled out by themselves afterwards; empty: they are.
    """

    workspace: Workspace
    spec: RolloutSpec
    plan: Plan
    scoring_uri: str | None
    weight: int
    force: str
    is_dry_run: bool
    goes_back_to: str | None = None
    pinned: str = ""

    @property
    def name(self) -> str:
        """The name of the online deployment."""
        return self.plan.online_deployment

    @property
    def has_leftovers(self) -> bool:
        """Whether there is anything to remove first."""
        return self.plan.has(Kind.REMOVE)

    @property
    def writes_online_deployment(self) -> bool:
        """Whether it is created, adopted or changed: a rollback takes it as it is."""
        return self.goes_back_to is None or self.plan.has(Kind.UPDATE)

    @property
    def candidate_key(self) -> str:
        """The same for the attempts of a run as long as the folder and the online deployment are the same.

        An abort that deleted the online deployment makes it another one.
        """
        return f"{self.spec.model_dump_json()} {self.name} {self.plan.written_by or run_id()}"

    @property
    def traffic_key(self) -> str:
        """The same as long as its traffic is, too."""
        return f"{self.candidate_key} {self.plan.traffic_after} {self.plan.moved_by or run_id()}"


@step("plan", run_name="plan", timeout_seconds=300, tags=["azure"], retries=2)
async def make_plan(
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    is_dry_run: bool,
    force: bool,
    weight: int,
) -> PlannedRollout:
    """Decides what to do, and whether anything stands in its way; the plan is an artifact."""
    session = await open_session(connected.workspace)
    today = await read_endpoint(session, spec.endpoint.name)
    # The flow run's id: a retry of a forced rollout goes on with what it has made.
    token = str(flow_run.id) if force else ""
    plan = planning.plan(spec, model, environment, today, weight=weight, force=token)
    pinned = today.tags.get(PINNED)
    if pinned and _is_by_schedule():
        plan = hold(plan, pinned)
    else:
        plan = await run_preflight(session, connected, spec, plan, today)
    get_run_logger().info("Plan: %s", report.headline(plan))
    await note(model=str(model or ""), traffic=traffic.describe(today.traffic))
    await acreate_markdown_artifact(
        report.plan_markdown(plan), key=f"plan-{report.artifact_key(spec.name)}", description="What this rollout does"
    )
    for finding in plan.findings:
        get_run_logger().warning("%s: %s", finding.severity.value, finding)
    if not is_dry_run:
        require_no_blockers(plan.findings)
    planned = PlannedRollout(
        workspace=connected.workspace,
        spec=spec,
        plan=plan,
        scoring_uri=today.scoring_uri,
        weight=weight,
        force=token,
        is_dry_run=is_dry_run,
    )
    # Prefect draws an arrow from each step of whose result it finds any part, down to the strings, inside an argument:
    # what has been through JSON has only one origin.
    return PlannedRollout.model_validate_json(planned.model_dump_json())


def _is_by_schedule() -> bool:
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.auto_scheduled is True


@step(
    "ensure endpoint",
    run_name="ensure endpoint",
    timeout_seconds=7200,
    tags=["azure"],
    retries=2,
    key=lambda given: given["rollout"].spec.endpoint.model_dump_json(),
)
async def ensure_endpoint(rollout: PlannedRollout) -> EndpointState:
    """Creates the endpoint, or brings it to what endpoint.yml says."""
    spec = rollout.spec
    endpoint = await endpoints.ensure_endpoint(
        await open_session(rollout.workspace),
        spec,
        run_id(),
        has_ended=has_ended,
        on_progress=log_changes(spec.endpoint.name),
    )
    get_run_logger().info("Endpoint %s: %s, %s", endpoint.name, endpoint.provisioning_state, endpoint.scoring_uri)
    return endpoint


@step("claim endpoint", run_name="claim {rollout.plan.endpoint}", timeout_seconds=9600, tags=["azure"], retries=2)
async def claim_endpoint(rollout: PlannedRollout, _endpoint: EndpointState | None = None) -> PlannedRollout:
    """Takes the lease on the endpoint, and plans again from what is there now that nobody else writes."""
    plan = rollout.plan
    state = await lease.acquire(
        await open_session(rollout.workspace),
        plan.endpoint,
        run_id(),
        timeout_seconds=endpoints.lease_timeout_seconds(rollout.spec),
        has_ended=has_ended,
        on_progress=log_changes(plan.endpoint),
    )
    again = _plan_again(rollout, state)
    await note(model=str(plan.model or ""), traffic=traffic.describe(state.traffic))
    if again.actions != plan.actions:
        get_run_logger().info("Plan, now that the endpoint is claimed: %s", report.headline(again))
    again = again.model_copy(update={"findings": plan.findings})
    claimed = rollout.model_copy(update={"plan": again, "scoring_uri": state.scoring_uri})
    return PlannedRollout.model_validate_json(claimed.model_dump_json())  # see make_plan


def _plan_again(rollout: PlannedRollout, state: EndpointState) -> Plan:
    if rollout.goes_back_to is not None:
        return plan_rollback(state, rollout.goes_back_to)
    plan = rollout.plan
    return planning.plan(rollout.spec, plan.model, plan.environment, state, weight=rollout.weight, force=rollout.force)


@step("remove leftovers", run_name="remove leftovers", timeout_seconds=7200, tags=["azure"], retries=2)
async def remove_leftovers(rollout: PlannedRollout) -> tuple[str, ...]:
    """Deletes online deployments that earlier rollouts left without traffic; gives their names."""
    session, plan = await open_session(rollout.workspace), rollout.plan
    for name in plan.targets(Kind.REMOVE):
        await online_deployments.delete_online_deployment(session, plan.endpoint, name, run_id())
        get_run_logger().info("%s deleted", name)
    return plan.targets(Kind.REMOVE)


@step(
    "create online deployment",
    run_name="create {rollout.name}",
    timeout_seconds=3600,
    tags=["azure"],
    retries=2,
    key=lambda arguments: arguments["rollout"].candidate_key,
)
async def create_online_deployment(rollout: PlannedRollout) -> None:
    """Starts creating the online deployment at weight 0, or changing the one that is there in place."""
    session = await open_session(rollout.workspace)
    if rollout.plan.has(Kind.UPDATE):
        await online_deployments.update_online_deployment(session, rollout.plan, run_id())
    else:
        await online_deployments.create_online_deployment(session, rollout.spec, rollout.plan, run_id())


@step(
    "wait until ready",
    run_name="wait until {rollout.name} is ready",
    timeout_seconds=7800,
    tags=["azure"],
    key=lambda arguments: arguments["rollout"].candidate_key,
)
async def wait_until_ready(rollout: PlannedRollout) -> OnlineDeploymentState:
    """Polls the state up to the deadline of rollout.yml; the progress artifact shows how much of it is used."""
    allowed = rollout.spec.rollout.ready_timeout_seconds
    artifact = UUID(str(await acreate_progress_artifact(0.0, description=f"{rollout.name}: asked for")))
    log_progress, last_state, next_update = log_changes(rollout.name), "", 0.0

    async def on_progress(state: str, waited: float) -> None:
        nonlocal last_state, next_update
        await log_progress(state, waited)
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
