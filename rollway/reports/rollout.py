"""The result of a rollout that did not fail, as text and Markdown."""

from enum import StrEnum

from rollway.reports import plan as plan_report
from rollway.reports.layout import aligned, asset_text, cell
from rollway.reports.plan import action_table, preflight_markdown
from rollway.reports.timeline import TaskTime, timeline_picture
from rollway.rollout import traffic
from rollway.rollout.plan import Kind, Plan
from rollway.rollout.smoke import SmokeTestResult, excerpt
from rollway.spec import Frozen


class RolloutOutcome(StrEnum):
    """Outcome of a rollout that did not fail."""

    PROMOTED = "promoted"
    CANARY = "canary"
    ROLLED_BACK = "rolled back"
    UPDATED = "updated in place"
    TIDIED = "leftovers removed"
    NO_OP = "nothing to do"
    PLANNED = "planned only"


class RolloutReport(Frozen):
    """Result of a run; traffic is in percent by online deployment."""

    rollout: str
    outcome: RolloutOutcome
    plan: Plan
    scoring_uri: str | None
    traffic_after: dict[str, int]
    smoke_tests: tuple[SmokeTestResult, ...] = ()
    retired: tuple[str, ...] = ()
    timeline: tuple[TaskTime, ...] = ()


def outcome_of(plan: Plan, is_dry_run: bool) -> RolloutOutcome:
    """Return the outcome of a plan that was executed, or only made."""
    if is_dry_run:
        return RolloutOutcome.PLANNED
    if plan.has(Kind.GO_BACK):
        return RolloutOutcome.ROLLED_BACK
    if plan.has(Kind.MOVE_TRAFFIC) or plan.has(Kind.PROVE):
        return RolloutOutcome.CANARY if len(plan.traffic_after) > 1 else RolloutOutcome.PROMOTED
    if plan.has(Kind.UPDATE) or plan.has(Kind.UPDATE_ENDPOINT):
        return RolloutOutcome.UPDATED
    # Waiting for somebody else's operation changes nothing.
    return RolloutOutcome.TIDIED if plan.has(Kind.REMOVE) or plan.has(Kind.RETIRE) else RolloutOutcome.NO_OP


def text(report: RolloutReport) -> str:
    """Return the report for a terminal: a few aligned lines."""
    if report.outcome is RolloutOutcome.PLANNED:
        return plan_report.text(report.plan)
    lines = [f"{report.rollout}: {report.outcome.value}", *aligned(_facts(report))]
    return "\n".join(lines)


def markdown(report: RolloutReport) -> str:
    """Return the report as an artifact, with the timeline as a picture."""
    lines = [f"## {report.rollout}: {report.outcome.value}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {cell(value)} |" for name, value in _facts(report)]
    if report.smoke_tests:
        lines += ["", "### Smoke tests", "", "| online deployment | route | latency | answer |", "|---|---|---|---|"]
        for test in report.smoke_tests:
            route = "pinned, before traffic" if test.is_pinned else "by traffic"
            answer = cell(excerpt(test.measurement.body))
            lines.append(f"| {test.online_deployment} | {route} | {_milliseconds(test)} | `{answer}` |")
    if report.timeline:
        lines += ["", "### Timeline", "", timeline_picture(report.timeline)]
    lines += ["", "### Why", "", *action_table(report.plan)]
    if report.plan.findings:
        lines += ["", preflight_markdown(report.plan.findings)]
    return "\n".join(lines)


def _facts(report: RolloutReport) -> list[tuple[str, str]]:
    plan = report.plan
    facts = [
        ("endpoint", plan.endpoint),
        ("online deployment", plan.online_deployment),
        ("model", asset_text(plan.model)),
        ("environment", asset_text(plan.environment)),
        ("scoring URI", report.scoring_uri or "(none)"),
        ("traffic before", traffic.describe(plan.traffic_before)),
        ("traffic now", traffic.describe(report.traffic_after)),
    ]
    for test in report.smoke_tests:
        route = "pinned" if test.is_pinned else "by traffic"
        facts.append((f"smoke test {route}", f"passed in {_milliseconds(test)}"))
    if report.retired:
        facts.append(("retired", ", ".join(report.retired)))
    if report.timeline:
        seconds = (
            max(one.ended for one in report.timeline) - min(one.started for one in report.timeline)
        ).total_seconds()
        facts.append(("took", f"{seconds:.0f} s"))
    return facts


def _milliseconds(test: SmokeTestResult) -> str:
    return f"{1000 * test.measurement.latency_seconds:.0f} ms"
