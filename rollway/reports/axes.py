"""The axes of a chart: its place in the picture, its scales, and where the ticks are."""

import math
from datetime import UTC, datetime

from rollway.reports.svg import WIDTH, number, path, text, text_width
from rollway.spec import Frozen

MINUTE, HOUR, DAY = 60, 3_600, 86_400
LEFT, RIGHT, PLOT_HEIGHT, BELOW = 92, WIDTH - 24, 190, 38
_WIDTHS = (
    *(minutes * MINUTE for minutes in (1, 2, 3, 5, 10, 15, 20, 30)),
    *(hours * HOUR for hours in (1, 2, 3, 6, 12)),
)
_MOST_TIMES, _MOST_VALUES = 5, 3


class Axes(Frozen):
    """Scales of a chart over time.

    Attributes:
        start: The left end, in seconds since 1970.
        end: The right end.
        top: The value at the upper end; the lower end is zero.
        above: Height of what stands over the plot, in pixels.
        unit: Text behind each value.
    """

    start: float
    end: float
    top: float
    above: float
    unit: str

    @property
    def bottom(self) -> float:
        """Y of the lower end."""
        return self.above + PLOT_HEIGHT

    @property
    def height(self) -> float:
        """Height of the whole picture."""
        return self.bottom + BELOW

    def x(self, time: float) -> float:
        """Return where a time is."""
        return LEFT + (RIGHT - LEFT) * (time - self.start) / (self.end - self.start)

    def y(self, value: float) -> float:
        """Return where a value is; a value over the top is at the top."""
        return self.bottom - PLOT_HEIGHT * min(value / self.top, 1.0)

    def drawn(self) -> list[str]:
        """Return the axes with their ticks."""
        parts = []
        step = value_step(self.top)
        for index in range(round(self.top / step) + 1):
            y = self.y(index * step)
            parts.append(path(f"M{LEFT} {number(y)}H{RIGHT}", "line thin grid"))
            parts.append(text(LEFT - 10, y + 7, f"{index * step:g} {self.unit}", "axis end"))
        parts.append(text(4, self.height - 10, "UTC", "axis"))  # a time may be right below the axis
        step = round_seconds((self.end - self.start) / _MOST_TIMES)
        for index in range(math.ceil(self.start / step), math.floor(self.end / step) + 1):
            x = self.x(index * step)
            label = time_text(index * step)
            half = text_width(label) / 2
            parts.append(path(f"M{number(x)} {number(self.bottom)}v7", "line thin axis"))
            parts.append(text(min(x, WIDTH - 4 - half), self.height - 10, label, "axis middle"))
        return parts


def value_step(top: float) -> float:
    """Return the distance of the ticks of an axis from zero to `top`."""
    rough = top / _MOST_VALUES
    power = 10.0 ** math.floor(math.log10(rough))
    return next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= rough * 0.999)


def round_top(largest: float) -> float:
    """Return the upper end of an axis: the first tick that is not below the largest value."""
    step = value_step(largest)
    return step * math.ceil(largest / step * 0.999)


def round_seconds(least: float) -> int:
    """Return a round number of minutes, hours or days, in seconds, that is not less than `least`."""
    return next((width for width in _WIDTHS if width >= least), math.ceil(least / DAY) * DAY)


def time_text(seconds: float) -> str:
    """Return the time of day in UTC, or the date at midnight."""
    time = datetime.fromtimestamp(seconds, UTC)
    return f"{time.day} {time:%b}" if seconds % DAY == 0 else f"{time:%H:%M}"
