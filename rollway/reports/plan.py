"""The plan of a rollout and the findings of its preflight, as text and Markdown."""

from collections.abc import Sequence

from rollway.reports.layout import aligned, asset_text, cell
from rollway.rollout import traffic
from rollway.rollout.changes import Change
from rollway.rollout.plan import Plan
from rollway.rollout.preflight import Finding, describe


def headline(plan: Plan) -> str:
    """Return the actions of a plan in a few words."""
    return ", ".join(dict.fromkeys(action.kind.value for action in plan.actions)) or "nothing to do"


def text(plan: Plan) -> str:
    """Return the plan for a terminal: the actions, and the fields that decide them."""
    facts = [
        ("endpoint", plan.endpoint),
        ("online deployment", plan.online_deployment),
        ("model", asset_text(plan.model)),
        ("environment", asset_text(plan.environment)),
        ("traffic today", traffic.describe(plan.traffic_before)),
        ("traffic then", traffic.describe(plan.traffic_after)),
    ]
    lines = [f"plan: {headline(plan)}", *aligned(facts)]
    for action in plan.actions:
        lines.append(f"{action.kind.value} {action.target}: {action.why}")
        lines += [f"  {change.field}: {change.today} -> {change.wanted}" for change in action.changes]
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
            f"Model `{asset_text(plan.model)}`, environment `{asset_text(plan.environment)}`, traffic today "
            f"{traffic.describe(plan.traffic_before)}, then {traffic.describe(plan.traffic_after)}.",
            "",
            *action_table(plan),
            *(["", preflight_markdown(plan.findings)] if plan.findings else []),
        ]
    )


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


def action_table(plan: Plan) -> list[str]:
    """Return the lines of a table: one row per field that decides an action."""
    if plan.is_no_op and not plan.drift:
        return ["Azure already is as the folder describes it."]
    lines = ["| action | on | why | field | today | wanted |", "|---|---|---|---|---|---|"]
    for action in plan.actions:
        what = f"| {action.kind.value} | {action.target} | {cell(action.why)} |"
        lines += [f"{what} {row}" for row in _change_cells(action.changes)] or [f"{what} | | |"]
    what = f"| nothing | {plan.online_deployment} | not as Rollway created it; a forced rollout replaces it |"
    return [*lines, *(f"{what} {row}" for row in _change_cells(plan.drift))]


def _change_cells(changes: Sequence[Change]) -> list[str]:
    return [f"{change.field} | {cell(change.today)} | {cell(change.wanted)} |" for change in changes]
