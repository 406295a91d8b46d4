"""The plan of a rollout, and everything that would stop it."""

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from rollway.azure import planning
from rollway.azure.session import WorkspaceFacts
from rollway.prefect.artifacts import publish_markdown
from rollway.prefect.run import current_run
from rollway.prefect.task import task
from rollway.reports import plan as plan_report
from rollway.rollout import traffic
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.preflight import require_no_blockers
from rollway.rollout.state import ResolvedAsset
from rollway.spec import RolloutSpec
from tasks.connect import open_session


@task("plan", run_name="plan", timeout_seconds=300, retries=2)
async def make_plan(
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    is_dry_run: bool,
    force: bool,
    weight: int,
) -> PlannedRollout:
    """Decide what to do and find everything that would stop it; the plan is an artifact.

    Raises PreflightFailed if the plan has a blocker, unless this is a dry run.
    """
    # The flow run's id, so that a retry of a forced rollout continues with what it created.
    token = str(flow_run.id) if force else ""
    today, plan = await planning.make_plan(
        await open_session(connected.workspace),
        connected,
        spec,
        model,
        environment,
        weight=weight,
        force=token,
        is_by_schedule=_is_by_schedule(),
    )
    get_run_logger().info("Plan: %s", plan_report.headline(plan))
    current_run().label(model=str(model or ""), traffic=traffic.describe(today.traffic))
    await publish_markdown("plan", spec.name, plan_report.markdown(plan), "Plan of this rollout")
    for finding in plan.findings:
        get_run_logger().warning("%s: %s", finding.severity.value, finding)
    if not is_dry_run:
        require_no_blockers(plan.findings)
    return PlannedRollout(
        workspace=connected.workspace,
        spec=spec,
        plan=plan,
        scoring_uri=today.scoring_uri,
        weight=weight,
        force=token,
        is_dry_run=is_dry_run,
    ).detached()


def _is_by_schedule() -> bool:
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.auto_scheduled is True
