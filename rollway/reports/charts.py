"""Charts of a progressive rollout: traffic, errors and latency over time, and the evidence against its limits."""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from pydantic import AwareDatetime, Field

from rollway.reports.axes import RIGHT, Axes, round_top
from rollway.reports.columns import Column, Piece, Point, area, columns, line, minute
from rollway.reports.svg import WIDTH, as_image, document, number, path, rect, text, text_width
from rollway.spec import Frozen
from rollway.spec.wording import shortened

__all__ = [
    "Bar",
    "Interval",
    "Mark",
    "Point",
    "as_image",
    "errors_chart",
    "evidence_chart",
    "latency_chart",
    "traffic_chart",
]

Interval = Callable[[int, int], tuple[float, float]]

NO_DATA = "no data yet"
MOST_SHARES, MOST_RATES = 120, 40
RATE_SECONDS = 300  # the error rate of a single minute is mostly noise
_SMALLEST_TOP = {"%": 0.1, "s": 0.001}
_TITLE_HEIGHT, _ROW_HEIGHT, _MOST_ROWS, _RIBBON_HEIGHT = 48, 28, 4, 8
_LONGEST_LABEL, _LONGEST_NAME, _SAMPLE_WIDTH = 20, 30, 46
_BAR_ROW, _BAR_HEIGHT, _LIMIT_AT = 70, 22, 0.7


class Mark(Frozen):
    """Start of a step, with its verdict; an empty verdict means that there is none yet."""

    at: AwareDatetime
    label: str
    verdict: str = ""


class Bar(Frozen):
    """Evidence that the canary is worse in one metric, and the limit from which on it counts."""

    name: str
    evidence: float = Field(ge=0)
    limit: float = Field(gt=0, allow_inf_nan=False)


class _Sign(NamedTuple):
    character: str
    colour: str


_SIGNS = {
    "": _Sign("…", "ink"),
    "successful": _Sign("✓", "good"),
    "failed": _Sign("✗", "bad"),
    "inconclusive": _Sign("?", "unsure"),
    "error": _Sign("!", "unsure"),
    "no data": _Sign("–", "none"),  # noqa: RUF001
}
_LINES = [("canary", "line canary"), ("stable", "line dashed stable")]


def traffic_chart(points: Sequence[Point], marks: Sequence[Mark]) -> str:
    """Return the canary's and stable's share of the requests over time, as a stacked area."""
    title = "Share of the requests"
    found = columns(points, _begins(marks), MOST_SHARES)
    shares = [
        Piece(one, 100 * one.canary[1] / (one.canary[1] + one.stable[1]))
        for one in found
        if one.canary[1] + one.stable[1]
    ]
    if not shares:
        return _empty(title)
    axes = _axes(found, marks, 100, "%")
    rest = [Piece(one.column, 100, one.value) for one in shares]
    drawn = [
        path(area(axes, rest), "stable pale"),
        path(area(axes, shares), "canary"),
    ]
    now = f"The canary had {shares[-1].value:.3g} % of the requests at the end."
    return _chart(title, now, axes, marks, drawn, [("canary", "canary"), ("stable", "stable pale")])


def errors_chart(points: Sequence[Point], marks: Sequence[Mark], interval: Interval) -> str:
    """Return the error rates over time, and a band for where the canary's true rate probably is.

    Args:
        interval: Gives the lowest and the highest probable share of errors, from errors and requests.
    """
    title = "Error rate"
    found = columns(points, _begins(marks), MOST_RATES, RATE_SECONDS)
    canary = [Piece(one, _percent(*one.canary)) for one in found if one.canary[1]]
    stable = [Piece(one, _percent(*one.stable)) for one in found if one.stable[1]]
    if not canary and not stable:
        return _empty(title)
    band = []
    for piece in canary:
        low, high = interval(*piece.column.canary)
        band.append(Piece(piece.column, 100 * min(max(high, 0), 1), 100 * min(max(low, 0), 1)))
    largest = max(piece.value for piece in canary + stable)
    if band:  # few requests make a wide band: it may leave the picture, the lines may not
        largest = max(largest, statistics.median(piece.value for piece in band))
    axes = _axes(found, marks, largest, "%")
    drawn = [path(area(axes, band), "canary pale"), *_lines(axes, canary, stable)]
    return _chart(
        title, _ends("errors", canary, stable, "%"), axes, marks, drawn, [*_LINES, ("95 % interval", "canary pale")]
    )


def latency_chart(points: Sequence[Point], marks: Sequence[Mark], percentile: int) -> str:
    """Return a percentile of the latency of canary and stable over time, in seconds."""
    title = f"Latency, {percentile}th percentile"
    found = columns(points, _begins(marks), MOST_RATES)
    canary = [Piece(one, seconds) for one in found if (seconds := one.canary_seconds) is not None]
    stable = [Piece(one, seconds) for one in found if (seconds := one.stable_seconds) is not None]
    if not canary and not stable:
        return _empty(title)
    axes = _axes(found, marks, max(piece.value for piece in canary + stable), "s")
    return _chart(title, _ends("latency", canary, stable, "s"), axes, marks, _lines(axes, canary, stable), _LINES)


def evidence_chart(bars: Sequence[Bar]) -> str:
    """Return a bar per metric: how strongly its evidence speaks against the canary, on a logarithmic scale."""
    title = "Evidence against the canary"
    if not bars:
        return _empty(title)
    left, right = 24, RIGHT
    limit_x = left + (right - left) * _LIMIT_AT
    above = _TITLE_HEIGHT + _ROW_HEIGHT
    height = above + _BAR_ROW * len(bars) + 12
    parts = [
        text(left, 34, title, "ink title"),
        text(limit_x - 8, above - 8, "limit", "ink end"),
        text(limit_x + 8, above - 8, "canary is worse", "bad"),
    ]
    for index, bar in enumerate(bars):
        y = above + index * _BAR_ROW
        is_over = bar.evidence >= bar.limit
        share = min(math.log1p(bar.evidence) / math.log1p(bar.limit) * _LIMIT_AT, 1.0)
        colour = "bad" if is_over else "canary"
        value = f"{_plain(bar.evidence)}, limit {_plain(bar.limit)}"
        parts.append(text(left, y + 27, shortened(bar.name, _LONGEST_NAME)))
        parts.append(text(right, y + 27, f"✗ {value}" if is_over else value, "bad title end" if is_over else "ink end"))
        parts.append(rect(left, y + 37, limit_x - left, _BAR_HEIGHT, "grid"))
        parts.append(rect(limit_x, y + 37, right - limit_x, _BAR_HEIGHT, "bad pale"))
        parts.append(rect(left, y + 37, max(2, (right - left) * share), _BAR_HEIGHT, colour))
    parts.append(path(f"M{number(limit_x)} {above - 22}V{height - 12}", "line ink"))
    found = [f"{bar.name}: {_plain(bar.evidence)}, limit {_plain(bar.limit)}." for bar in bars]
    return document(title, " ".join(found), height, parts)


def _begins(marks: Sequence[Mark]) -> list[int]:
    return [minute(mark.at) for mark in sorted(marks, key=lambda mark: mark.at)]


def _axes(found: Sequence[Column], marks: Sequence[Mark], largest: float, unit: str) -> Axes:
    top = round_top(max(largest, _SMALLEST_TOP[unit]))
    flat = Axes(start=found[0].start, end=found[-1].end, top=top, above=_TITLE_HEIGHT, unit=unit)
    rows = max((row for _, _, row in _placed(flat, marks)), default=-1) + 1
    return flat.model_copy(update={"above": _TITLE_HEIGHT + rows * _ROW_HEIGHT + _RIBBON_HEIGHT * bool(marks)})


def _chart(
    title: str, summary: str, axes: Axes, marks: Sequence[Mark], drawn: Sequence[str], names: Sequence[tuple[str, str]]
) -> str:
    """Return the document of a chart over time: title, legend, axes, what is drawn, and the steps."""
    start, end = (datetime.fromtimestamp(one, UTC) for one in (axes.start, axes.end))
    steps = [f"{mark.label} {mark.verdict}".strip() for mark in sorted(marks, key=lambda mark: mark.at)]
    description = f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC. {summary}"
    if steps:
        description += f" Steps: {', '.join(steps)}."
    parts = [text(24, 34, title, "ink title"), *_legend(names), *axes.drawn(), *drawn, *_steps(axes, marks)]
    return document(title, description, axes.height, parts)


def _legend(names: Sequence[tuple[str, str]]) -> list[str]:
    """Return the names of the colours, which end at the right."""
    parts, x = [], RIGHT - sum(text_width(name) + _SAMPLE_WIDTH for name, _ in names)
    for name, classes in names:
        is_line = classes.startswith("line")
        parts.append(path(f"M{number(x)} 28h24", classes) if is_line else rect(x, 19, 24, 18, classes))
        parts.append(text(x + 31, 34, name))
        x += text_width(name) + _SAMPLE_WIDTH
    return parts


def _steps(axes: Axes, marks: Sequence[Mark]) -> list[str]:
    """Return a line and a label where each step begins, and a ribbon in the colour of its verdict."""
    ordered = sorted(marks, key=lambda mark: mark.at)
    begins = [axes.x(begin) for begin in _begins(marks)]
    ribbon = axes.above - _RIBBON_HEIGHT
    parts, labels = [], []
    for mark, (begin, end) in zip(ordered, itertools.pairwise([*begins, RIGHT]), strict=True):
        parts.append(
            rect(begin, ribbon, end - begin, _RIBBON_HEIGHT, _sign(mark).colour if mark.verdict else "ink pale")
        )
    rows = {index: (x, row) for index, x, row in _placed(axes, marks)}
    for index, mark in enumerate(ordered):
        top = ribbon
        if index in rows:
            x, row = rows[index]
            top = _TITLE_HEIGHT + row * _ROW_HEIGHT + 4
            labels.append(text(x, top + 17, _label(mark), f"{_sign(mark).colour} title"))
        parts.append(path(f"M{number(begins[index])} {number(top)}V{number(axes.bottom)}", "line thin ink"))
    return parts + labels


def _placed(axes: Axes, marks: Sequence[Mark]) -> list[tuple[int, float, int]]:
    """Return index, x and row of each label that finds a place where it covers no other one."""
    free, placed = [0.0] * _MOST_ROWS, []
    for index, mark in enumerate(sorted(marks, key=lambda mark: mark.at)):
        width = text_width(_label(mark))
        x = min(axes.x(minute(mark.at)) + 6, WIDTH - 4 - width)
        row = next((row for row, begin in enumerate(free) if begin <= x), None)
        if row is not None:
            free[row] = x + width + 12
            placed.append((index, x, row))
    return placed


def _lines(axes: Axes, canary: Sequence[Piece], stable: Sequence[Piece]) -> list[str]:
    return [
        path(line(axes, canary), "line canary"),
        path(line(axes, stable), "line dashed stable"),  # above the other: both are visible where they are equal
    ]


def _empty(title: str) -> str:
    parts = [text(24, 34, title, "ink title"), text(WIDTH / 2, 110, NO_DATA, "axis middle")]
    return document(title, NO_DATA, 180, parts)


def _ends(name: str, canary: Sequence[Piece], stable: Sequence[Piece], unit: str) -> str:
    """Return the last values as a sentence."""
    last = [f"{pieces[-1].value:.3g} {unit}" if pieces else "none" for pieces in (canary, stable)]
    return f"Last {name} of the canary: {last[0]}, of stable: {last[1]}."


def _label(mark: Mark) -> str:
    return f"{shortened(mark.label, _LONGEST_LABEL)} {_sign(mark).character}".strip()


def _sign(mark: Mark) -> _Sign:
    return _SIGNS.get(mark.verdict, _Sign(shortened(mark.verdict, _LONGEST_LABEL), "ink"))


def _percent(errors: int, requests: int) -> float:
    return 100 * errors / requests


def _plain(value: float) -> str:
    if value >= 1e6:
        return "over a million"
    if 0 < value < 0.01:
        return "under 0.01"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
