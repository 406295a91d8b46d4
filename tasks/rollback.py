"""Tasks that only a rollback has: its target and its plan."""

from prefect.logging import get_run_logger

from rollway.azure.session import WorkspaceFacts
from rollway.azure.state import read_endpoint
from rollway.prefect.artifacts import publish_markdown
from rollway.prefect.run import attempt_id
from rollway.prefect.task import task
from rollway.reports import plan as plan_report
from rollway.rollout import rollback
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.rollback import Target
from rollway.spec import RolloutSpec
from tasks.connect import open_session


@task(
    "choose what to go back to",
    run_name="choose what to go back to",
    timeout_seconds=300,
    retries=2,
    is_kept_for_retry=True,
)
async def choose_target(connected: WorkspaceFacts, spec: RolloutSpec, to: str | None) -> Target:
    """Choose the online deployment or model version to go back to; kept for retries.

    Args:
        to: Name or version; default: the previous online deployment.
    """
    endpoint = await read_endpoint(await open_session(connected.workspace), spec.endpoint.name)
    target = rollback.choose(endpoint, to)
    how = "which still exists" if target.online_deployment else "by rolling it out again"
    get_run_logger().info("Going back to %s, %s", target, how)
    return target


@task("plan", run_name="plan", timeout_seconds=300, retries=2)
async def plan_rollback(connected: WorkspaceFacts, spec: RolloutSpec, target: Target) -> PlannedRollout:
    """Plan to give all traffic to the target's online deployment; the plan is an artifact."""
    today = await read_endpoint(await open_session(connected.workspace), spec.endpoint.name)
    plan = rollback.plan_rollback(today, str(target.online_deployment))
    get_run_logger().info("Plan: %s", plan_report.headline(plan))
    await publish_markdown("plan", spec.name, plan_report.markdown(plan), "Plan of this rollback")
    return PlannedRollout(
        workspace=connected.workspace,
        spec=spec,
        plan=plan,
        scoring_uri=today.scoring_uri,
        weight=100,
        force="",
        is_dry_run=False,
        goes_back_to=plan.online_deployment,
        pause_reason=_reason(target),
    ).detached()


def as_rollback(planned: PlannedRollout, target: Target) -> PlannedRollout:
    """Turn the plan of a folder into a rollback; raises ConfigurationError if it does not lead back."""
    rollback.require_way_back(planned.plan, planned.spec.folder, target)
    return planned.model_copy(update={"pause_reason": _reason(target)})


def _reason(target: Target) -> str:
    return f"rolled back to {target} by {attempt_id()}"
