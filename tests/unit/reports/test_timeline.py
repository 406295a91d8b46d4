"""The timeline as a picture."""

import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rollway.reports.svg import text_width
from rollway.reports.timeline import LEFT, LONGEST_NAME, RIGHT, TaskTime, timeline_svg

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

    bars = [one for one in svg if one.get("class") in ("good", "bad") and one.tag.endswith("rect")]
    assert len(bars) == len(timeline)
    assert all(
        0 <= float(bar.get("x", "")) <= float(bar.get("x", "")) + float(bar.get("width", "")) <= RIGHT for bar in bars
    )
    assert all(float(one.get("y", "0")) < float(svg.get("height", "")) for one in svg)


def test_a_task_that_failed_has_another_colour_and_a_sign() -> None:
    failed, completed = timeline_svg([a_task(is_completed=False)]), timeline_svg([a_task(is_completed=True)])

    assert ('<rect class="bad"' in failed, "✗ 2.0 s" in failed) == (True, True)
    assert ('<rect class="bad"' in completed, "✗" in completed) == (False, False)


def test_the_timeline_has_colours_for_a_dark_page() -> None:
    assert "prefers-color-scheme:dark" in timeline_svg([a_task()])


def test_a_long_name_does_not_run_into_the_time() -> None:
    svg = timeline_svg([a_task("x" * 60)])

    assert f">{'x' * (LONGEST_NAME - 1)}…<" in svg
    assert LEFT + text_width("x" * LONGEST_NAME) < RIGHT - text_width("✗ 86400.0 s")
