"""The timeline of a run: when each task ran, as a picture."""

from collections.abc import Sequence
from datetime import datetime

from rollway.reports.svg import as_image, escaped
from rollway.spec import Frozen


class TaskTime(Frozen):
    """Start and end of one try of a task."""

    name: str
    started: datetime
    ended: datetime
    is_completed: bool = True

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return (self.ended - self.started).total_seconds()


def timeline_picture(timeline: Sequence[TaskTime]) -> str:
    """Return the timeline as an image inside Markdown; `timeline` must not be empty."""
    return as_image(timeline_svg(timeline), "timeline")


def timeline_svg(timeline: Sequence[TaskTime]) -> str:
    """Return an SVG document with one bar per task on a common time axis."""
    start = min(task.started for task in timeline)
    total = max((task.ended - start).total_seconds() for task in timeline) or 1.0
    label, width, row = 300, 520, 24
    bars = []
    for index, task in enumerate(sorted(timeline, key=lambda task: task.started)):
        offset = (task.started - start).total_seconds()
        x, length = label + width * offset / total, max(2.0, width * task.seconds / total)
        colour = "#2a9d6f" if task.is_completed else "#d1495b"
        y = index * row
        bars.append(
            f'<text x="{label - 8}" y="{y + 16}" text-anchor="end">{escaped(task.name[:44])}</text>'
            f'<rect x="{x:.1f}" y="{y + 4}" width="{length:.1f}" height="16" rx="3" fill="{colour}"/>'
            f'<text x="{x + length + 6:.1f}" y="{y + 16}">{task.seconds:.1f} s</text>'
        )
    height = len(bars) * row + 4
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{label + width + 70}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(bars)}</svg>'
    )
