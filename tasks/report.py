"""The last task: the report."""

from rollway.prefect.artifacts import publish_result
from rollway.prefect.events import emit_completed
from rollway.prefect.run import current_run, run_url
from rollway.prefect.task import task
from rollway.reports import rollout as rollout_report
from rollway.reports.rollout import RolloutReport
from rollway.rollout.planned import PlannedRollout


@task("report", run_name="report", timeout_seconds=300)
async def write_report(rollout: PlannedRollout) -> RolloutReport:
    """Store the report as an artifact: traffic, smoke tests, timeline, reasons. Announce the completion."""
    run, plan = current_run(), rollout.plan
    result = RolloutReport(
        rollout=rollout.spec.name,
        outcome=rollout_report.outcome_of(rollout, run.moves, run.last_move),
        plan=plan,
        scoring_uri=run.endpoint.scoring_uri if run.endpoint else rollout.scoring_uri,
        traffic_after=run.endpoint.serving if run.endpoint else plan.traffic_before,
        smoke_tests=tuple(run.smoke_tests),
        has_smoke_test=rollout.spec.is_smoke_tested,
        deleted=tuple(move.target for move in run.moves if move.deletes_online_deployment),
        end=(run.last_move or plan.end).why,
        timeline=run.timeline,
        studio_page=run.studio_page,
        run_url=run_url(),
    )
    await publish_result("rollout", result.rollout, rollout_report.markdown(result), f"Rollout of {result.rollout}")
    await emit_completed(result)
    await run.labels_written()
    return result
