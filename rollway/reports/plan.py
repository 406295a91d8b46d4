"""The plan of a rollout and the findings of its preflight, as text and Markdown."""

from collections.abc import Sequence
from datetime import timedelta

from rollway.reports.layout import aligned, asset_text, code
from rollway.rollout import traffic
from rollway.rollout.moves import Change
from rollway.rollout.plan import Plan
from rollway.rollout.preflight import Finding, describe


def headline(plan: Plan) -> str:
    """Return the moves of a plan in a few words."""
    return ", ".join(dict.fromkeys(move.kind.value for move in plan.moves)) or "nothing to do"


def text(plan: Plan) -> str:
    """Return the plan for a terminal: the moves, and the fields that decide them."""
    facts = [
        ("endpoint", plan.endpoint),
        ("workspace", plan.workspace),
        ("online deployment", plan.online_deployment),
        ("model", asset_text(plan.model)),
        ("environment", asset_text(plan.environment)),
        ("traffic today", traffic.describe(plan.traffic_before)),
        ("traffic then", traffic.describe(plan.traffic_after)),
    ]
    lines = [f"plan: {headline(plan)}", *aligned([*facts, *_later(plan)])]
    for move in plan.moves:
        lines.append(f"{move}: {move.why}")
        lines += [f"  {change.field}: {change.today} -> {change.wanted}" for change in move.changes]
    if plan.is_no_op:
        lines.append(f"nothing is due: {plan.end.why}")
    if plan.drift:
        lines.append(f"{plan.online_deployment} is not as Rollway created it; --force rolls out again")
        lines += [f"  {change.field}: {change.today} -> {change.wanted}" for change in plan.drift]
    if plan.findings:
        lines.append(preflight_text(plan.findings))
    return "\n".join(lines)


def markdown(plan: Plan) -> str:
    """Return the plan as an artifact."""
    return "\n".join(
        [
            f"## {headline(plan).capitalize()}: `{plan.online_deployment}`",
            "",
            f"Endpoint `{plan.endpoint}` in {plan.workspace}.",
            "",
            f"Model `{asset_text(plan.model)}`, environment `{asset_text(plan.environment)}`, traffic today "
            f"{traffic.describe(plan.traffic_before)}, then {traffic.describe(plan.traffic_after)}.",
            "",
            *plan_lines(plan),
        ]
    )


def plan_lines(plan: Plan) -> list[str]:
    """Return the Markdown that the plan and the report have in common: what stays, the moves, the preflight."""
    later = [f"- {name}: {value}" for name, value in _later(plan)]
    findings = ["", preflight_markdown(plan.findings)] if plan.findings else []
    return [*([*later, ""] if later else []), *move_list(plan), *findings]


def _later(plan: Plan) -> list[tuple[str, str]]:
    kept = [("kept", line) for line in plan.keeps]
    if plan.takes_seconds:
        took = timedelta(seconds=plan.takes_seconds)
        kept.insert(0, ("takes", f"{took} at least; both online deployments run, and cost, until then"))
    return [*kept, *(("not rolled out", f"{one.version}: {one.reason}") for one in plan.skipped)]


def preflight_text(findings: Sequence[Finding]) -> str:
    """Return the findings of the preflight for a terminal."""
    return f"preflight:\n{describe(findings)}" if findings else "preflight: nothing found"


def preflight_markdown(findings: Sequence[Finding]) -> str:
    """Return the findings of the preflight as a part of an artifact."""
    if not findings:
        return "The preflight found nothing."
    lines = ["Preflight:", ""]
    for one in findings:
        lines += [f"- **{one.severity.value}** {code(one.field)}: {one.message}", f"  - try: {one.hint}"]
    return "\n".join(lines)


def move_list(plan: Plan) -> list[str]:
    """Return the lines of a list: the moves, and below each the fields that decide it.

    A table of the same would be wider than the page.
    """
    if plan.is_no_op and not plan.drift:
        return [f"Nothing is due: {plan.end.why}."]
    lines = []
    for number, move in enumerate(plan.moves, start=1):
        lines.append(f"{number}. **{move.kind.value}** {code(move.target)}: {move.why}")
        lines += _change_list(move.changes)
    if plan.drift:
        lines += [f"- {code(plan.online_deployment)} is not as Rollway created it; a forced rollout replaces it"]
        lines += _change_list(plan.drift)
    return lines


def _change_list(changes: Sequence[Change]) -> list[str]:
    return [f"   - {change.field}: {code(change.today)} → {code(change.wanted)}" for change in changes]
