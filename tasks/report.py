"""The last step: what happened, as an artifact."""

from collections.abc import Mapping

from prefect.artifacts import acreate_markdown_artifact

from rollway.prefect.labels import announce
from rollway.prefect.task import step, timeline
from rollway.reports import rollout as report
from rollway.reports.rollout import RolloutReport
from rollway.rollout.smoke import SmokeTestResult
from tasks.provision import PlannedRollout


@step("report", run_name="report", timeout_seconds=300)
async def write_report(
    rollout: PlannedRollout,
    *,
    traffic_after: Mapping[str, int] | None = None,
    smoke_tests: tuple[SmokeTestResult, ...] = (),
    retired: tuple[str, ...] = (),
) -> RolloutReport:
    """What was deployed where, how long each step took, and how it answered."""
    name, plan = rollout.spec.name, rollout.plan
    result = RolloutReport(
        rollout=name,
        outcome=report.outcome_of(plan, rollout.is_dry_run),
        plan=plan,
        scoring_uri=rollout.scoring_uri,
        traffic_after=dict(plan.traffic_before if traffic_after is None else traffic_after),
        smoke_tests=smoke_tests,
        retired=retired,
        timeline=timeline(),
    )
    await acreate_markdown_artifact(
        report.markdown(result), key=f"rollout-{report.artifact_key(name)}", description=f"Rollout of {name}"
    )
    if not rollout.is_dry_run:
        announce(result)
    return result
