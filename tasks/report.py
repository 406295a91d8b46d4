"""The last task: the report."""

from collections.abc import Mapping

from rollway.prefect.artifacts import publish_markdown
from rollway.prefect.events import emit_completed
from rollway.prefect.run import current_run
from rollway.prefect.task import task
from rollway.reports import rollout as rollout_report
from rollway.reports.rollout import RolloutReport
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.smoke import SmokeTestResult


@task("report", run_name="report", timeout_seconds=300)
async def write_report(
    rollout: PlannedRollout,
    *,
    traffic_after: Mapping[str, int] | None = None,
    smoke_tests: tuple[SmokeTestResult, ...] = (),
    retired: tuple[str, ...] = (),
) -> RolloutReport:
    """Store the report as an artifact: traffic, smoke tests, timeline, reasons. Announce the completion."""
    name, plan = rollout.spec.name, rollout.plan
    result = RolloutReport(
        rollout=name,
        outcome=rollout_report.outcome_of(plan, rollout.is_dry_run),
        plan=plan,
        scoring_uri=rollout.scoring_uri,
        traffic_after=dict(plan.traffic_before if traffic_after is None else traffic_after),
        smoke_tests=smoke_tests,
        retired=retired,
        timeline=current_run().timeline,
    )
    await publish_markdown("rollout", name, rollout_report.markdown(result), f"Rollout of {name}")
    emit_completed(result)
    return result
