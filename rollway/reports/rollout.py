"""What happened, as text, markdown and a picture: strings only, no I/O."""

import base64
import html
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from rollway.rollout import traffic
from rollway.rollout.plan import Change, Kind, Plan
from rollway.rollout.preflight import Finding, describe
from rollway.rollout.smoke import SmokeTestResult, excerpt
from rollway.spec import Frozen


class Outcome(StrEnum):
    """How a rollout that did not fail ended."""

    PROMOTED = "promoted"
    CANARY = "canary"
    ROLLED_BACK = "rolled back"
    UPDATED = "updated in place"
    TIDIED = "leftovers removed"
    NO_OP = "nothing to do"
    PLANNED = "planned only"


class StepTime(Frozen):
    """When one step ran."""

    name: str
    started: datetime
    ended: datetime
    is_completed: bool = True

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.started).total_seconds()


class RolloutReport(Frozen):
    """The end of a run. Traffic in percent by online deployment."""

    rollout: str
    outcome: Outcome
    plan: Plan
    scoring_uri: str | None
    traffic_after: dict[str, int]
    smoke_tests: tuple[SmokeTestResult, ...] = ()
    retired: tuple[str, ...] = ()
    timeline: tuple[StepTime, ...] = ()


def outcome_of(plan: Plan, is_dry_run: bool) -> Outcome:
    """The outcome of a plan that was carried out, or only made."""
    if is_dry_run:
        return Outcome.PLANNED
    if plan.has(Kind.GO_BACK):
        return Outcome.ROLLED_BACK
    if plan.has(Kind.MOVE_TRAFFIC) or plan.has(Kind.PROVE):
        return Outcome.CANARY if len(plan.traffic_after) > 1 else Outcome.PROMOTED
    if plan.has(Kind.UPDATE) or plan.has(Kind.UPDATE_ENDPOINT):
        return Outcome.UPDATED
    # Waiting for what somebody else has started changes nothing.
    return Outcome.TIDIED if plan.has(Kind.REMOVE) or plan.has(Kind.RETIRE) else Outcome.NO_OP


def artifact_key(name: str) -> str:
    """A rollout's name as a Prefect artifact key allows it: lower-case letters, digits and dashes."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name.lower())


def text(report: RolloutReport) -> str:
    """The report for a terminal: a handful of aligned lines."""
    if report.outcome is Outcome.PLANNED:
        return plan_text(report.plan)
    lines = [f"{report.rollout}: {report.outcome.value}", *_aligned(_facts(report))]
    return "\n".join(lines)


def headline(plan: Plan) -> str:
    """What a plan does, in a few words."""
    return ", ".join(dict.fromkeys(action.kind.value for action in plan.actions)) or "nothing to do"


def plan_text(plan: Plan) -> str:
    """The plan for a terminal: what would be done, and the fields that decide it."""
    facts = [
        ("endpoint", plan.endpoint),
        ("online deployment", plan.online_deployment),
        ("model", _asset(plan.model)),
        ("environment", _asset(plan.environment)),
        ("traffic today", traffic.describe(plan.traffic_before)),
        ("traffic then", traffic.describe(plan.traffic_after)),
    ]
    lines = [f"plan: {headline(plan)}", *_aligned(facts)]
    for action in plan.actions:
        lines.append(f"{action.kind.value} {action.target}: {action.why}")
        lines += [f"  {change.field}: {change.today} -> {change.wanted}" for change in action.changes]
    if plan.drift:
        lines.append(f"{plan.online_deployment} is not as Rollway created it; --force rolls out anew")
        lines += [f"  {change.field}: {change.today} -> {change.wanted}" for change in plan.drift]
    if plan.findings:
        lines.append(preflight_text(plan.findings))
    return "\n".join(lines)


def plan_markdown(plan: Plan) -> str:
    """The plan as an artifact."""
    return "\n".join(
        [
            f"## {headline(plan).capitalize()}: `{plan.online_deployment}`",
            "",
            f"Model `{_asset(plan.model)}`, environment `{_asset(plan.environment)}`, traffic today "
            f"{traffic.describe(plan.traffic_before)}, then {traffic.describe(plan.traffic_after)}.",
            "",
            *_action_table(plan),
            *(["", preflight_markdown(plan.findings)] if plan.findings else []),
        ]
    )


def preflight_text(findings: Sequence[Finding]) -> str:
    """What the preflight found, for a terminal."""
    return f"preflight:\n{describe(findings)}" if findings else "preflight: nothing found"


def preflight_markdown(findings: Sequence[Finding]) -> str:
    """What the preflight found, as a part of an artifact."""
    if not findings:
        return "The preflight found nothing."
    rows = [
        f"| {one.severity.value} | {_cell(one.field)} | {_cell(one.message)} | {_cell(one.hint)} |" for one in findings
    ]
    return "\n".join(["| preflight | where | what | try |", "|---|---|---|---|", *rows])


def markdown(report: RolloutReport) -> str:
    """The report as an artifact, with the timeline as a picture."""
    lines = [f"## {report.rollout}: {report.outcome.value}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in _facts(report)]
    if report.smoke_tests:
        lines += ["", "### Smoke tests", "", "| online deployment | route | latency | answer |", "|---|---|---|---|"]
        for test in report.smoke_tests:
            route = "pinned, before traffic" if test.is_pinned else "by traffic"
            answer = _cell(excerpt(test.measurement.body))
            lines.append(f"| {test.online_deployment} | {route} | {_milliseconds(test)} | `{answer}` |")
    if report.timeline:
        lines += ["", "### Timeline", "", timeline_picture(report.timeline)]
    lines += ["", "### Why", "", *_action_table(report.plan)]
    if report.plan.findings:
        lines += ["", preflight_markdown(report.plan.findings)]
    return "\n".join(lines)


def timeline_picture(timeline: Sequence[StepTime]) -> str:
    """The timeline as an image inside markdown; there must be a step."""
    picture = base64.b64encode(timeline_svg(timeline).encode()).decode()
    return f"![timeline](data:image/svg+xml;base64,{picture})"


def timeline_svg(timeline: Sequence[StepTime]) -> str:
    """A bar per step on a common time axis, as an SVG document."""
    start = min(step.started for step in timeline)
    total = max((step.ended - start).total_seconds() for step in timeline) or 1.0
    label, width, row = 300, 520, 24
    bars = []
    for index, step in enumerate(sorted(timeline, key=lambda step: step.started)):
        offset = (step.started - start).total_seconds()
        x, length = label + width * offset / total, max(2.0, width * step.seconds / total)
        colour = "#2a9d6f" if step.is_completed else "#d1495b"
        y = index * row
        bars.append(
            f'<text x="{label - 8}" y="{y + 16}" text-anchor="end">{html.escape(step.name[:44])}</text>'
            f'<rect x="{x:.1f}" y="{y + 4}" width="{length:.1f}" height="16" rx="3" fill="{colour}"/>'
            f'<text x="{x + length + 6:.1f}" y="{y + 16}">{step.seconds:.1f} s</text>'
        )
    height = len(bars) * row + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{label + width + 70}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(bars)}</svg>'
    )


def _facts(report: RolloutReport) -> list[tuple[str, str]]:
    plan = report.plan
    facts = [
        ("endpoint", plan.endpoint),
        ("online deployment", plan.online_deployment),
        ("model", _asset(plan.model)),
        ("environment", _asset(plan.environment)),
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
            max(step.ended for step in report.timeline) - min(step.started for step in report.timeline)
        ).total_seconds()
        facts.append(("took", f"{seconds:.0f} s"))
    return facts


def _aligned(facts: Sequence[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in facts)
    return [f"  {name:<{width}}  {value}" for name, value in facts]


def _action_table(plan: Plan) -> list[str]:
    if plan.is_no_op and not plan.drift:
        return ["Azure already is as the folder describes it."]
    lines = ["| action | on | why | field | today | wanted |", "|---|---|---|---|---|---|"]
    for action in plan.actions:
        what = f"| {action.kind.value} | {action.target} | {_cell(action.why)} |"
        lines += [f"{what} {row}" for row in _change_cells(action.changes)] or [f"{what} | | |"]
    what = f"| nothing | {plan.online_deployment} | not as Rollway created it; a forced rollout replaces it |"
    return [*lines, *(f"{what} {row}" for row in _change_cells(plan.drift))]


def _change_cells(changes: Sequence[Change]) -> list[str]:
    return [f"{change.field} | {_cell(change.today)} | {_cell(change.wanted)} |" for change in changes]


def _asset(asset: object) -> str:
    return str(asset) if asset is not None else "(none)"


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")


def _milliseconds(test: SmokeTestResult) -> str:
    return f"{1000 * test.measurement.latency_seconds:.0f} ms"
