"""The rollouts of a fleet as text, Markdown and picture."""

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rollway.reports.fleet import markdown, picture, terminal
from rollway.reports.svg import svgs_in
from rollway.rollout.fleet import Fleet, Member, Progress

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def member(
    name: str, wave: int = 1, progress: Progress = Progress.DONE, start: float = 0, seconds: float = 9
) -> Member:
    if progress is Progress.NOT_STARTED:
        return Member(rollout=name, wave=wave)
    started = NOON + timedelta(seconds=start)
    end = None if progress is Progress.RUNNING else started + timedelta(seconds=seconds)
    why = {Progress.FAILED: "the smoke test failed | 424"}.get(progress, "")
    return Member(rollout=name, wave=wave, progress=progress, run=f"run-{name}", why=why, started=started, ended=end)


FLEET = Fleet(
    members=(
        member("team-a"),
        member("team-bb", progress=Progress.FAILED, seconds=12),
        member("team-c", wave=2, progress=Progress.NOT_STARTED),
    )
)
FLEETS = st.lists(
    st.builds(
        member,
        st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=40),
        st.integers(1, 3),
        st.sampled_from(Progress),
        st.floats(0, 1e5),
        st.floats(0, 1e5),
    ),
    min_size=1,
    max_size=90,
    unique_by=lambda one: one.rollout,
).map(lambda members: Fleet(members=tuple(members)))


def test_the_terminal_shows_the_numbers_and_a_line_for_each_folder() -> None:
    assert terminal(FLEET, NOON).splitlines() == [
        "fleet: 1 not started, 1 done, 1 failed; no further wave: 1 went wrong, and the limit is 1",
        "  wave 1  team-a   done             9 s",
        "  wave 1  team-bb  failed          12 s  the smoke test failed | 424",
        "  wave 2  team-c   not started",
    ]


def test_the_report_has_a_picture_and_a_table_with_links_to_the_runs() -> None:
    text = markdown(FLEET, NOON, {"run-team-a": "http://prefect/runs/run-team-a"})

    assert len(svgs_in(text)) == 1
    assert "| 1 | [team-a](http://prefect/runs/run-team-a) | done | 9 s |  |" in text
    assert r"| 1 | team-bb | failed | 12 s | the smoke test failed \| 424 |" in text
    assert "| 2 | team-c | not started |  |  |" in text


@given(FLEETS)
def test_everything_in_the_picture_is_inside_its_frame(fleet: Fleet) -> None:
    svg = ET.fromstring(picture(fleet, NOON + timedelta(days=3)))  # noqa: S314

    width, height = float(svg.get("width", "")), float(svg.get("height", ""))
    for bar in [one for one in svg if one.tag.endswith("rect")][1:]:
        assert float(bar.get("x", "")) + float(bar.get("width", "")) <= width
        assert float(bar.get("y", "")) + float(bar.get("height", "")) <= height


def test_of_many_rollouts_the_picture_shows_all_that_went_wrong() -> None:
    good = tuple(member(f"good-{number}") for number in range(100))
    fleet = Fleet(members=(*good, member("bad", progress=Progress.FAILED)), stop_after=2)

    shown = re.findall(r"(?:good-\d+|bad)(?=</text>)", picture(fleet, NOON))

    assert (len(shown), "bad" in shown) == (60, True)
