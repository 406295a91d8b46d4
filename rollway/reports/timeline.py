"""The timeline of a run: when each task ran, as a picture."""

from collections.abc import Sequence
from datetime import datetime

from rollway.reports.svg import WIDTH, as_image, document, rect, text
from rollway.spec import Frozen
from rollway.spec.wording import shortened

LEFT, RIGHT, ABOVE, ROW, BAR = 24, WIDTH - 24, 38, 46, 9
LONGEST_NAME = 46


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
    """Return an SVG document with one bar per task on a common time axis; each bar is below the name of its task."""
    start = min(task.started for task in timeline)
    total = max((task.ended - start).total_seconds() for task in timeline) or 1.0
    parts: list[str] = []
    for index, task in enumerate(sorted(timeline, key=lambda task: task.started)):
        y = ABOVE + index * ROW
        at, length = (task.started - start).total_seconds() / total, task.seconds / total
        took, colour = f"{task.seconds:.1f} s", "good" if task.is_completed else "bad"
        parts += [
            text(LEFT, y, shortened(task.name, LONGEST_NAME)),
            text(
                RIGHT,
                y,
                took if task.is_completed else f"✗ {took}",
                "ink end" if task.is_completed else "bad title end",
            ),
            rect(LEFT, y + 8, RIGHT - LEFT, BAR, "grid"),
            rect(min(LEFT + (RIGHT - LEFT) * at, RIGHT - 2), y + 8, max(2.0, (RIGHT - LEFT) * length), BAR, colour),
        ]
    said = [f"{task.name}: {task.seconds:.1f} s{'' if task.is_completed else ', failed'}." for task in timeline]
    return document("Timeline", " ".join(said), ABOVE + ROW * len(timeline), parts)
