"""The rollouts of a fleet as text, as Markdown and as a picture."""

from collections.abc import Mapping
from datetime import datetime

from rollway.reports.layout import cell, link
from rollway.reports.svg import WIDTH, as_image, document, rect, text
from rollway.rollout.fleet import Fleet, Member, Progress, numbers
from rollway.spec.wording import shortened

_COLOURS: Mapping[Progress, str] = {
    Progress.NOT_STARTED: "none",
    Progress.RUNNING: "stable",
    Progress.DONE: "good",
    Progress.HELD: "unsure",
    Progress.FAILED: "bad",
}
_LABEL_WIDTH, _ROW, _WAVE, _TOP = 250, 30, 34, 44
_LONGEST_NAME, _MOST_ROWS = 20, 60


def terminal(fleet: Fleet, now: datetime) -> str:
    """Return the fleet for a terminal: the numbers, and one line for each folder."""
    width = max(len(one.rollout) for one in fleet.members)
    rows = [
        f"  wave {one.wave}  {one.rollout:<{width}}  {one.progress.value:<11}  {_seconds(one, now):>7}  {one.why}"
        for one in fleet.members
    ]
    return "\n".join([f"fleet: {fleet.sentence}", *(row.rstrip() for row in rows)])


def markdown(fleet: Fleet, now: datetime, links: Mapping[str, str]) -> str:
    """Return the fleet as Markdown, with its picture; `links` are the pages of the flow runs by their ids."""
    header = ["| wave | folder | progress | took | state |", "|---|---|---|---|---|"]
    rows = [
        f"| {one.wave} | {_linked(one, links)} | {one.progress.value} | {_seconds(one, now)} | {cell(one.why)} |"
        for one in fleet.members
    ]
    return "\n\n".join(
        [f"**{fleet.sentence}**", as_image(picture(fleet, now), "rollouts by wave"), "\n".join(header + rows)]
    )


def picture(fleet: Fleet, now: datetime) -> str:
    """Return an SVG document: one bar for each rollout that has started, wave by wave, on a common time axis.

    Of many rollouts it shows those that went wrong, and the first of the others.
    """
    begun = [one for one in fleet.members if one.started is not None]
    shown = {one.rollout for one in sorted(begun, key=lambda one: not one.is_regression)[:_MOST_ROWS]}
    start = min((one.started for one in begun if one.started), default=now)
    total = max(((one.ended or now) - start).total_seconds() for one in begun) if begun else 1.0
    parts, y = [text(12, 28, fleet.sentence, "title ink")], float(_TOP)
    for wave in range(1, fleet.waves + 1):
        members = [one for one in fleet.members if one.wave == wave]
        parts.append(text(12, y + 22, f"wave {wave}", "axis"))
        parts.append(text(110, y + 22, numbers(members), "axis"))
        y += _WAVE
        for one in members:
            if one.rollout in shown and one.started is not None:
                parts += _bar(one, y, (one.started - start).total_seconds(), one.seconds(now) or 0.0, total or 1.0)
                y += _ROW
    return document("rollouts by wave", fleet.sentence, y + 10, parts)


def _bar(one: Member, y: float, offset: float, seconds: float, total: float) -> list[str]:
    plot = WIDTH - _LABEL_WIDTH - 90
    x, length = _LABEL_WIDTH + plot * offset / total, max(3.0, plot * seconds / total)
    return [
        text(_LABEL_WIDTH - 8, y + 21, shortened(one.rollout, _LONGEST_NAME), "ink end"),
        rect(x, y + 4, length, _ROW - 8, _COLOURS[one.progress]),
        text(x + length + 8, y + 21, f"{seconds:.0f} s", "axis"),
    ]


def _linked(one: Member, links: Mapping[str, str]) -> str:
    return link(cell(one.rollout), links.get(one.run or ""))


def _seconds(one: Member, now: datetime) -> str:
    seconds = one.seconds(now)
    return "" if seconds is None else f"{seconds:.0f} s"
