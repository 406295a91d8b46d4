"""Status of the endpoints of a workspace: text for pipes and logs, a table for terminals."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rollway.reports import evidence as evidence_report
from rollway.rollout.status import EndpointStatus, OnlineDeploymentStatus, Role, WorkspaceStatus

COLUMNS = ("endpoint", "traffic", "model", "since", "last rollout", "without traffic")


def plain(status: WorkspaceStatus) -> str:
    """Return a line per endpoint in aligned columns, then a line per problem."""
    if not status.endpoints:
        return f"no endpoints in {status.workspace}"
    rows = [COLUMNS, *map(_row, status.endpoints)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *_problems(status)])


def table(status: WorkspaceStatus) -> Group:
    """Return the status as a table with colours, then a line per problem, then the evidence of progressive rollouts."""
    if not status.endpoints:
        return Group(Text(plain(status)))
    rows = Table(*COLUMNS, title=escape(status.workspace))
    for one in status.endpoints:
        colour = "red" if one.problems else "green" if one.of_role(Role.LIVE) else ""
        rows.add_row(*map(escape, _row(one)), style=colour)
    return Group(rows, *map(Text, _problems(status)), *(part for one in status.endpoints for part in _evidence(one)))


class Watch:
    """A status that is shown again and again: in place on a terminal; after each change in a pipe, or as JSON lines."""

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self._console, self._as_json, self._last = console, as_json, ""
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="visible")

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, status: WorkspaceStatus, problem: str) -> None:
        """Show the newest status, and why it could not be read again."""
        now = f"{datetime.now().astimezone():%H:%M:%S}"
        if self._console.is_terminal and not self._as_json:
            footer = f"{now}  could not read it again: {problem}" if problem else f"{now}  Ctrl-C ends"
            self._live.start()
            self._live.update(Group(table(status), Text(footer, "red" if problem else "dim")), refresh=True)
            return
        words = status.model_dump_json() if self._as_json else _with_evidence(status)
        if problem and not self._as_json:
            words += f"\n! {problem}"
        if words != self._last:
            self._console.out(words if self._as_json else f"{now}\n{words}", highlight=False)
            self._last = words


def _with_evidence(status: WorkspaceStatus) -> str:
    return "\n".join([plain(status), *(evidence_report.text(one.evidence) for one in status.endpoints if one.evidence)])


def _evidence(one: EndpointStatus) -> Iterator[RenderableType]:
    if one.evidence is not None:
        yield Rule(Text(one.name), align="left")
        yield evidence_report.table(one.evidence)


def _problems(status: WorkspaceStatus) -> list[str]:
    return [f"! {one.name}: {problem}" for one in status.endpoints for problem in one.problems]


def _row(one: EndpointStatus) -> Sequence[str]:
    live, idle = one.of_role(Role.LIVE, Role.MIRROR), one.of_role(Role.PREVIOUS, Role.LEFTOVER)
    last = one.last_rollout
    return (
        one.name if one.is_ours else f"{one.name} (not Rollway's)",
        ", ".join(map(_share, live)) or "nothing",
        ", ".join(dict.fromkeys(map(_model, live))) or "-",
        one.live_since or "-",
        " ".join(filter(None, (last.outcome.value, last.at))) + _notes(one) if last else "-" + _notes(one),
        ", ".join(map(_idle, idle)) or "-",
    )


def _share(one: OnlineDeploymentStatus) -> str:
    return f"{one.name} {one.weight} %" if one.role is Role.LIVE else f"{one.name} (mirror)"


def _model(one: OnlineDeploymentStatus) -> str:
    if one.model is None:
        return "(none)"
    if one.newest is None:
        return one.model
    return f"{one.model} (newest)" if one.is_newest else f"{one.model} (newest is {one.newest})"


def _idle(one: OnlineDeploymentStatus) -> str:
    kept = ", kept to roll back to" if one.role is Role.PREVIOUS else ""
    kept += f" until {one.stays_until} at least" if one.stays_until else ""
    state = "" if one.provisioning_state == "Succeeded" else f", {one.provisioning_state}"
    size = f"{one.cost.value} cost: {one.instance_count} x {one.instance_type or 'unknown size'}"
    return f"{one.name} ({size}{kept}{state})"


def _notes(one: EndpointStatus) -> str:
    notes = [one.progress] if one.progress else []
    notes += [f"{one.canary} waits for promote or abort"] if one.canary else []
    notes += [f"told to {one.order}"] if one.order else []
    notes += [f"paused: {one.pause_reason}"] if one.pause_reason else []
    notes += [f"temporary failures: {one.failures.count}, last at {one.failures.at}"] if one.failures else []
    notes += [f"rejected: {', '.join(one.rejected)}"] if one.rejected else []
    return f" ({'; '.join(notes)})" if notes else ""
