"""Minutes of a rollout as columns of a chart, and the lines and areas that they make."""

import itertools
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from pydantic import AwareDatetime, Field

from rollway.reports.axes import MINUTE, Axes
from rollway.reports.svg import number
from rollway.spec import Frozen


class Point(Frozen):
    """Requests of one minute; `at` is its start. The seconds are the percentile that is judged."""

    at: AwareDatetime
    canary_requests: int = Field(ge=0)
    canary_errors: int = Field(ge=0)
    stable_requests: int = Field(ge=0)
    stable_errors: int = Field(ge=0)
    canary_seconds: float | None = Field(default=None, ge=0, le=86_400)
    stable_seconds: float | None = Field(default=None, ge=0, le=86_400)


class Column(NamedTuple):
    """Neighbouring minutes that are drawn as one."""

    start: int
    end: int
    points: tuple[Point, ...]

    @property
    def canary(self) -> tuple[int, int]:
        """Errors and requests of the canary."""
        requests = sum(point.canary_requests for point in self.points)
        return min(sum(point.canary_errors for point in self.points), requests), requests

    @property
    def stable(self) -> tuple[int, int]:
        """Errors and requests of stable."""
        requests = sum(point.stable_requests for point in self.points)
        return min(sum(point.stable_errors for point in self.points), requests), requests

    @property
    def canary_seconds(self) -> float | None:
        """Mean of the canary's percentiles, weighted by its requests."""
        return _mean((point.canary_seconds, point.canary_requests) for point in self.points)

    @property
    def stable_seconds(self) -> float | None:
        """Mean of stable's percentiles, weighted by its requests."""
        return _mean((point.stable_seconds, point.stable_requests) for point in self.points)


class Piece(NamedTuple):
    """A column's value, or the range from `low` to `value`."""

    column: Column
    value: float
    low: float = 0.0


def columns(points: Sequence[Point], begins: Iterable[int], most: int, least_seconds: int = MINUTE) -> list[Column]:
    """Return the minutes as columns of a similar width, with an edge where a step begins.

    Args:
        begins: The minute in which each step begins.
        most: Maximum number of columns, and one more for each step.
        least_seconds: Minimum width of a column, unless its step is shorter.
    """
    if not points:
        return []
    minutes = sorted(points, key=lambda point: point.at)
    steps = set(begins)
    outer = sorted(steps | {minute(minutes[0].at), minute(minutes[-1].at) + MINUTE})
    width = max(least_seconds, (outer[-1] - outer[0]) / most)
    edges = outer[:1]
    for begin, end in itertools.pairwise(outer):
        parts = max(1, int((end - begin) // width))
        edges += [begin + (end - begin) * part // parts // MINUTE * MINUTE for part in range(1, parts + 1)]
    inside: list[list[Point]] = [[] for _ in edges]
    for point in minutes:
        inside[bisect_right(edges, minute(point.at)) - 1].append(point)
    return [Column(*ends, tuple(inside[index])) for index, ends in enumerate(itertools.pairwise(edges))]


def line(axes: Axes, pieces: Sequence[Piece]) -> str:
    """Return the commands of a line in steps, with a gap where a column has no piece."""
    return "".join(_stairs(axes, [(one.column, one.value) for one in run], "M") for run in _runs(pieces))


def area(axes: Axes, pieces: Sequence[Piece]) -> str:
    """Return the commands of an area in steps, with a gap where a column has no piece."""
    commands = []
    for run in _runs(pieces):
        upper = [(one.column, one.value) for one in run]
        lower = [(one.column._replace(start=one.column.end, end=one.column.start), one.low) for one in reversed(run)]
        commands.append(f"{_stairs(axes, upper, 'M')}{_stairs(axes, lower, 'L')}Z")
    return "".join(commands)


def _stairs(axes: Axes, values: Sequence[tuple[Column, float]], command: str) -> str:
    parts = [f"{command}{number(axes.x(values[0][0].start))} {number(axes.y(values[0][1]))}"]
    for column, value in values:
        parts.append(f"V{number(axes.y(value))}H{number(axes.x(column.end))}")
    return "".join(parts)


def _runs(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Return the pieces in groups without a gap."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        if runs and runs[-1][-1].column.end == piece.column.start:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


def _mean(values: Iterable[tuple[float | None, int]]) -> float | None:
    """Return the mean of the values that exist, by weight; without any weight they count alike."""
    found = [(value, weight) for value, weight in values if value is not None]
    total = sum(weight for _, weight in found)
    if not total:
        return statistics.fmean(value for value, _ in found) if found else None
    return sum(value * weight for value, weight in found) / total


def minute(time: datetime) -> int:
    """Return the start of a minute, in seconds since 1970."""
    return int(time.timestamp() // MINUTE) * MINUTE
