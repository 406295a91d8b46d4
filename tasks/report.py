"""The last step: what happened, as an artifact."""

from collections.abc import Mapping

from prefect.artifacts import acreate_markdown_artifact

from rollway import report
from rollway.report import RolloutReport
from rollway.rollout.plan import Plan
from rollway.rollout.smoke import SmokeTestResult
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec
from tasks.step import step, timeline


@step("report", run_name="report", timeout_seconds=60)
async def write_report(
    spec: RolloutSpec,
    plan: Plan,
    endpoint: EndpointState,
    *,
    is_dry_run: bool = False,
    traffic_after: Mapping[str, int] | None = None,
    smoke_tests: tuple[SmokeTestResult, ...] = (),
    retired: tuple[str, ...] = (),
) -> RolloutReport:
    """What was deployed where, how long each step took, and how it answered."""
    result = RolloutReport(
        rollout=spec.name,
        outcome=report.outcome_of(plan, is_dry_run),
        plan=plan,
        scoring_uri=endpoint.scoring_uri,
        traffic_after=dict(plan.traffic_before if traffic_after is None else traffic_after),
        smoke_tests=smoke_tests,
        retired=retired,
        timeline=timeline(),
    )
    await acreate_markdown_artifact(
        report.markdown(result), key=f"rollout-{report.artifact_key(spec.name)}", description=f"Rollout of {spec.name}"
    )
    return result
