"""Status of the endpoints of a workspace: a line per endpoint for pipes and logs, a table for terminals.

A pipe gets absolute times, so that its lines change only if something has happened.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from rollway.reports import evidence as evidence_report
from rollway.reports.ages import ago, lasting, remaining
from rollway.rollout.entries import at_text
from rollway.rollout.status import (
    EndpointStatus,
    LastOutcome,
    LastRollout,
    OnlineDeploymentStatus,
    Role,
    WorkspaceStatus,
)
from rollway.terminal import as_called

COLUMNS = ("endpoint", "traffic", "model", "since", "last rollout", "notes", "without traffic", "problems")
# Red: a person must look. Yellow: it goes on, or waits, or went back. Green: all is well. Dim: no traffic.
_COLOURS = {LastOutcome.PROMOTED: "green", LastOutcome.ORPHANED: "red", LastOutcome.UNCONFIRMED: "red"}
_ORDER = (Role.LIVE, Role.MIRROR, Role.CANDIDATE, Role.PREVIOUS, Role.LEFTOVER)
_PURPOSES = {Role.MIRROR: "gets copies", Role.CANDIDATE: "candidate", Role.PREVIOUS: "to roll back to"}


def plain(status: WorkspaceStatus) -> str:
    """Return a line per endpoint, in aligned columns with two blanks or more between them."""
    if not status.endpoints:
        return f"no endpoints in {status.workspace}"
    rows = [COLUMNS, *map(_row, status.endpoints)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def table(status: WorkspaceStatus) -> Group:
    """Return a table for 80 columns or more, then a line per problem, then the evidence of progressive rollouts."""
    if not status.endpoints:
        return Group(Text(plain(status)))
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("endpoint", "traffic", "rollout, model", style="dim")
    for one in status.endpoints:
        rows.add_row(Text(_name(one), f"bold {_colour(one)}"), "", _summary(one, status.at))
        for role in _ORDER:
            for behind in one.of_role(role):
                style = "" if role is Role.LIVE else "dim"
                weight = f"{behind.weight} %" if behind.weight else ""
                rows.add_row(Text(f"  {behind.name}"), weight, Text(_behind(behind, status.at)), style=style)
    problems = (Text(f"! {one.name}: {problem}", "red") for one in status.endpoints for problem in _problems(one))
    return Group(
        Text(status.workspace, "dim"), rows, *problems, *(part for one in status.endpoints for part in _evidence(one))
    )


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


def _row(one: EndpointStatus) -> Sequence[str]:
    live = one.of_role(Role.LIVE, Role.MIRROR)
    last = one.last_rollout
    return (
        _name(one),
        ", ".join(map(_share, live)) or "nothing",
        ", ".join(dict.fromkeys(map(_model, live))) or "-",
        at_text(one.live_since) if one.live_since else "-",
        " ".join(filter(None, (last.outcome.value, at_text(last.at or "")))) if last else "-",
        "; ".join(_notes(one)) or "-",
        ", ".join(map(_idle, one.of_role(*_ORDER[2:]))) or "-",
        "; ".join(_problems(one)) or "-",
    )


def _name(one: EndpointStatus) -> str:
    return one.name if one.is_ours else f"{one.name} (not Rollway's)"


def _colour(one: EndpointStatus) -> str:
    if one.problems:
        return "red"
    is_waiting = one.canary or one.pause_reason or one.order
    is_at_rest = one.last_rollout is None or one.last_rollout.outcome is LastOutcome.PROMOTED
    return "yellow" if is_waiting or not is_at_rest else "green" if one.of_role(Role.LIVE) else ""


def _summary(one: EndpointStatus, now: datetime) -> Text:
    """Return the last rollout in its colour, and a line per note."""
    last, words = one.last_rollout, Text()
    if last is not None:
        words.append(_outcome(last, now), _COLOURS.get(last.outcome, "yellow"))
    elif not one.of_role(Role.LIVE):
        words.append("nothing serves yet")
    if one.live_since and (last is None or last.outcome is not LastOutcome.PROMOTED):
        words.append(f"{', ' if last else ''}traffic is so {lasting(one.live_since, now)}")
    for note in _notes(one):
        words.append(f"\n{note}" if words else note)
    return words


def _outcome(last: LastRollout, now: datetime) -> str:
    match last.outcome:
        case LastOutcome.RUNNING | LastOutcome.UNDERWAY:
            return f"{last.outcome.value} {lasting(last.at, now)}".rstrip()
        case LastOutcome.ORPHANED:
            return f"{last.outcome.value}, last seen {ago(last.at, now)}"
    return f"{last.outcome.value} {ago(last.at, now)}" if last.at else last.outcome.value


def _behind(one: OnlineDeploymentStatus, now: datetime) -> str:
    """Return what an online deployment is; what has no traffic also says what it is for, and what it costs."""
    facts = [_model(one), _PURPOSES.get(one.role, "")]
    facts += [remaining(one.stays_until, now)] if one.stays_until else []
    facts += [_size(one)] if one.role not in (Role.LIVE, Role.MIRROR) else []
    facts += [one.provisioning_state] if one.provisioning_state != "Succeeded" else []
    return ", ".join(filter(None, facts))


def _share(one: OnlineDeploymentStatus) -> str:
    return f"{one.name} {one.weight} %" if one.role is Role.LIVE else f"{one.name} (mirror)"


def _model(one: OnlineDeploymentStatus) -> str:
    if one.model is None:
        return "(none)"
    if one.newest is None:
        return one.model
    return f"{one.model} (newest)" if one.is_newest else f"{one.model} (newest is {one.newest})"


def _size(one: OnlineDeploymentStatus) -> str:
    return f"{one.cost.value} cost: {one.instance_count} x {one.instance_type or 'unknown size'}"


def _idle(one: OnlineDeploymentStatus) -> str:
    facts = [_size(one), _PURPOSES.get(one.role, "")]
    facts += [f"until {at_text(one.stays_until)} at least"] if one.stays_until else []
    facts += [one.provisioning_state] if one.provisioning_state != "Succeeded" else []
    return f"{one.name} ({', '.join(filter(None, facts))})"


def _notes(one: EndpointStatus) -> list[str]:
    notes = [one.progress] if one.progress else []
    notes += [f"{one.canary} waits for promote or abort"] if one.canary else []
    notes += [f"told to {one.order}"] if one.order else []
    notes += [f"paused: {one.pause_reason}"] if one.pause_reason else []
    failures = one.failures
    notes += [f"temporary failures: {failures.count}, last at {at_text(failures.at)}"] if failures else []
    notes += [f"rejected: {', '.join(one.rejected)}"] if one.rejected else []
    return notes


def _problems(one: EndpointStatus) -> list[str]:
    return [as_called(problem) for problem in one.problems]
