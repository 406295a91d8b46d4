"""The result of a rollout that did not fail, as text and Markdown."""

from collections.abc import Sequence
from enum import StrEnum

from rollway.reports import plan as plan_report
from rollway.reports.layout import aligned, asset_text, block, code, link, listed
from rollway.reports.plan import plan_lines
from rollway.reports.timeline import TaskTime, timeline_picture
from rollway.rollout import traffic
from rollway.rollout.moves import Kind, Move, Outcome
from rollway.rollout.plan import Plan
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.smoke import SmokeTestResult, excerpt
from rollway.spec import Frozen


class RolloutOutcome(StrEnum):
    """Outcome of a run that did not fail."""

    PROMOTED = "promoted"
    CANARY = "canary"
    ROLLED_BACK = "rolled back"
    UPDATED = "updated in place"
    REPAIRED = "repaired"
    TIDIED = "leftovers removed"
    HELD = "held"
    SUPERSEDED = "superseded"
    NO_OP = "nothing to do"
    PLANNED = "planned only"


NO_NEWS = frozenset({RolloutOutcome.PLANNED, RolloutOutcome.NO_OP, RolloutOutcome.SUPERSEDED, RolloutOutcome.HELD})


UNTESTED_NEWS = "none, as rollout.yml says: Azure calls it ready, and no answer was looked at"


class RolloutReport(Frozen):
    """Result of a run; traffic is in percent by online deployment.

    Attributes:
        has_smoke_test: False if rollout.yml says `smoke_test: none`.
        deleted: The online deployments that the run deleted.
        end: Why the run ended here.
        studio_page: The endpoint's page in Azure ML Studio; None if this cloud has no studio.
        run_url: The run's page in the Prefect UI.
    """

    rollout: str
    outcome: RolloutOutcome
    plan: Plan
    scoring_uri: str | None
    traffic_after: dict[str, int]
    smoke_tests: tuple[SmokeTestResult, ...] = ()
    has_smoke_test: bool = True
    deleted: tuple[str, ...] = ()
    end: str = ""
    timeline: tuple[TaskTime, ...] = ()
    studio_page: str | None = None
    run_url: str | None = None

    @property
    def is_news(self) -> bool:
        """True if the run changed something, so that an earlier failure is over."""
        return self.outcome not in NO_NEWS


def outcome_of(rollout: PlannedRollout, moves: Sequence[Move], last: Move | None) -> RolloutOutcome:
    """Return the outcome of a run from the moves that it made and its end."""
    made = {move.kind for move in moves}
    if rollout.request.is_dry_run:
        return RolloutOutcome.PLANNED
    if rollout.is_superseded or (last is not None and last.outcome is Outcome.SUPERSEDED):
        return RolloutOutcome.SUPERSEDED
    if last is not None and last.outcome is Outcome.HELD:
        return RolloutOutcome.HELD
    if made & {Kind.MOVE_TRAFFIC, Kind.PROMOTE} and not rollout.wanted.stays_because:
        if rollout.request.is_rollback:
            return RolloutOutcome.ROLLED_BACK
        return RolloutOutcome.PROMOTED if rollout.wanted.weight == 100 else RolloutOutcome.CANARY
    if made & {Kind.CHANGE, Kind.CHANGE_ENDPOINT}:
        return RolloutOutcome.UPDATED
    if made & {Kind.PROMOTE, Kind.RESTORE, Kind.RECORD}:
        return RolloutOutcome.REPAIRED
    return RolloutOutcome.TIDIED if Kind.DELETE in made else RolloutOutcome.NO_OP


def text(report: RolloutReport) -> str:
    """Return the report for a terminal: a few aligned lines."""
    if report.outcome is RolloutOutcome.PLANNED:
        return plan_report.text(report.plan)
    lines = [f"{report.rollout}: {report.outcome.value}", *aligned(_facts(report))]
    return "\n".join(lines)


def markdown(report: RolloutReport) -> str:
    """Return the report as an artifact, with the timeline as a picture."""
    # No link, because a browser cannot open it: it takes only POST.
    shown = {"scoring URI": block(report.scoring_uri)} if report.scoring_uri else {}
    facts = [(name, shown.get(name, value)) for name, value in _facts(report)]
    pages = [("Azure ML Studio", report.studio_page), ("Prefect", report.run_url)]
    links = [link(f"open in {name}", page) for name, page in pages if page]
    lines = [
        f"## {report.rollout}: {report.outcome.value}",
        "",
        *listed(facts),
        *(["", " · ".join(links)] if links else []),
    ]
    if not report.has_smoke_test and report.is_news:
        lines += ["", f"> **Warning:** {UNTESTED_NEWS}."]
    if report.smoke_tests:
        lines += ["", "### Smoke tests", ""]
        for test in report.smoke_tests:
            route = "pinned, before traffic" if test.is_pinned else "by traffic"
            route += f": {test.request}" if test.request else ""
            lines.append(f"- {code(test.online_deployment)} {route}, in {_milliseconds(test)}:")
            lines.append(f"  {code(excerpt(test.measurement.body))}")
    if report.timeline:
        lines += ["", "### Timeline", "", timeline_picture(report.timeline)]
    return "\n".join([*lines, "", "### Plan", "", *plan_lines(report.plan)])


def _facts(report: RolloutReport) -> list[tuple[str, str]]:
    plan = report.plan
    facts = [
        ("endpoint", plan.endpoint),
        ("workspace", plan.workspace),
        ("online deployment", plan.online_deployment),
        ("model", asset_text(plan.model)),
        ("environment", asset_text(plan.environment)),
        ("scoring URI", report.scoring_uri or "(none)"),
        ("traffic before", traffic.describe(plan.traffic_before)),
        ("traffic now", traffic.describe(report.traffic_after)),
    ]
    for test in report.smoke_tests:
        route = "pinned" if test.is_pinned else "by traffic"
        name = f": {test.request}" if test.request else ""
        facts.append((f"smoke test {route}{name}", f"passed in {_milliseconds(test)}"))
    if not report.has_smoke_test and report.is_news:
        facts.append(("smoke test", UNTESTED_NEWS))
    if report.deleted:
        facts.append(("deleted", ", ".join(report.deleted)))
    if report.end and report.outcome in NO_NEWS:
        facts.append(("why", report.end))
    facts += [("not rolled out", f"{one.version}: {one.reason}") for one in plan.skipped]
    if report.timeline:
        seconds = (
            max(one.ended for one in report.timeline) - min(one.started for one in report.timeline)
        ).total_seconds()
        facts.append(("took", f"{seconds:.0f} s"))
    return facts


def _milliseconds(test: SmokeTestResult) -> str:
    return f"{1000 * test.measurement.latency_seconds:.0f} ms"
