"""The timeline as a picture."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rollway.reports.timeline import TaskTime, timeline_svg

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_task(name: str = "connect", start: float = 0.0, seconds: float = 2.0, is_completed: bool = True) -> TaskTime:
    started = NOON + timedelta(seconds=start)
    return TaskTime(name=name, started=started, ended=started + timedelta(seconds=seconds), is_completed=is_completed)


TIMELINES = st.lists(
    st.builds(
        a_task,
        st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=60),
        st.floats(0, 1e5),
        st.floats(0, 1e5),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(TIMELINES)
def test_the_timeline_is_a_picture_with_a_bar_per_task_inside_its_frame(timeline: list[TaskTime]) -> None:
    svg = ET.fromstring(timeline_svg(timeline))  # noqa: S314

    bars = [one for one in svg if one.tag.endswith("rect")][1:]
    assert len(bars) == len(timeline)
    assert all(float(bar.get("x", "")) + float(bar.get("width", "")) <= float(svg.get("width", "")) for bar in bars)


def test_a_task_that_failed_has_another_colour() -> None:
    assert "#d1495b" in timeline_svg([a_task(is_completed=False)])
    assert "#d1495b" not in timeline_svg([a_task(is_completed=True)])
