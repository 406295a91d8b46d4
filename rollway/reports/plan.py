"""The plan of a rollout and the findings of its preflight, as text and Markdown."""

from collections.abc import Sequence
from datetime import timedelta

from rollway.reports.layout import aligned, asset_text, cell
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
    later = [f"- {name}: {value}" for name, value in _later(plan)]
    return "\n".join(
        [
            f"## {headline(plan).capitalize()}: `{plan.online_deployment}`",
            "",
            f"Endpoint `{plan.endpoint}` in {plan.workspace}.",
            "",
            f"Model `{asset_text(plan.model)}`, environment `{asset_text(plan.environment)}`, traffic today "
            f"{traffic.describe(plan.traffic_before)}, then {traffic.describe(plan.traffic_after)}.",
            "",
            *([*later, ""] if later else []),
            *move_table(plan),
            *(["", preflight_markdown(plan.findings)] if plan.findings else []),
        ]
    )


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
    rows = [
        f"| {one.severity.value} | {cell(one.field)} | {cell(one.message)} | {cell(one.hint)} |" for one in findings
    ]
    return "\n".join(["| preflight | where | what | try |", "|---|---|---|---|", *rows])


def move_table(plan: Plan) -> list[str]:
    """Return the lines of a table: one row per field that decides a move."""
    if plan.is_no_op and not plan.drift:
        return [f"Nothing is due: {cell(plan.end.why)}."]
    lines = ["| move | on | why | field | today | wanted |", "|---|---|---|---|---|---|"]
    for move in plan.moves:
        what = f"| {move.kind.value} | {move.target} | {cell(move.why)} |"
        lines += [f"{what} {row}" for row in _change_cells(move.changes)] or [f"{what} | | |"]
    what = f"| nothing | {plan.online_deployment} | not as Rollway created it; a forced rollout replaces it |"
    return [*lines, *(f"{what} {row}" for row in _change_cells(plan.drift))]


def _change_cells(changes: Sequence[Change]) -> list[str]:
    return [f"{change.field} | {cell(change.today)} | {cell(change.wanted)} |" for change in changes]
