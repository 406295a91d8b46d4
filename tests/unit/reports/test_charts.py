"""The charts of a progressive rollout."""

import base64
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollway.reports.axes import LEFT, PLOT_HEIGHT, RIGHT
from rollway.reports.charts import (
    NO_DATA,
    Bar,
    Mark,
    Point,
    as_image,
    errors_chart,
    evidence_chart,
    latency_chart,
    traffic_chart,
)
from rollway.reports.svg import svgs_in

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TEXT, LINES = ("ink", "axis", "good", "bad", "unsure", "none"), ("canary", "stable", "ink")
VERDICTS = {"successful": "✓", "failed": "✗", "inconclusive": "?", "error": "!", "no data": "–", "": "…"}  # noqa: RUF001


def after(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def a_point(minutes: float = 0, canary: int = 25, stable: int = 75, errors: int = 0, seconds: float = 0.25) -> Point:
    return Point(
        at=after(minutes),
        canary_requests=canary,
        canary_errors=errors,
        stable_requests=stable,
        stable_errors=0,
        canary_seconds=seconds if canary else None,
        stable_seconds=seconds if stable else None,
    )


def wide(errors: int, requests: int) -> tuple[float, float]:
    return errors / requests - 0.1, errors / requests + 0.1


def three(points: list[Point], marks: list[Mark]) -> list[str]:
    """Return the charts over time."""
    return [traffic_chart(points, marks), errors_chart(points, marks, wide), latency_chart(points, marks, 95)]


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314


def classes(svg: str, wanted: str) -> list[ET.Element]:
    """Return the elements with exactly these classes, in order."""
    return [one for one in parsed(svg) if one.get("class") == wanted]


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in parsed(svg) if one.tag.endswith("text")]


def corners(commands: str) -> list[tuple[float, float]]:
    """Return the corners of a path with absolute commands (`v` and `h` are ticks and samples)."""
    found, x, y = [], 0.0, 0.0
    for letter, numbers in re.findall(r"([MLHVvhZ])([^A-Za-z]*)", commands):
        values = [float(one) for one in numbers.split()]
        x = values[0] if letter in "MLH" else x + values[0] if letter == "h" else x
        y = values[-1] if letter in "MLV" else y + values[0] if letter == "v" else y
        found.append((x, y))
    return found


def the_path(svg: str, wanted: str) -> list[tuple[float, float]]:
    """Return the corners of what is drawn last with these classes (samples of the legend come first)."""
    return corners(classes(svg, wanted)[-1].get("d", ""))


def bottom_of(svg: str) -> float:
    return corners(classes(svg, "line thin grid")[0].get("d", ""))[0][1]


def share_drawn(svg: str, wanted: str) -> list[float]:
    """Return the heights of a path over the lower end, as shares of the plot."""
    return [round((bottom_of(svg) - y) / PLOT_HEIGHT, 2) for _, y in the_path(svg, wanted)]


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    channels = [int(colour[one : one + 2], 16) / 255 for one in (1, 3, 5)]
    red, green, blue = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


def test_traffic_is_an_area_as_high_as_the_share_of_the_canary_and_stable_is_the_rest() -> None:
    svg = traffic_chart([a_point(0, 10, 90), a_point(1, 50, 50)], [])

    middle = (LEFT + RIGHT) / 2
    assert share_drawn(svg, "canary") == [0.1, 0.1, 0.1, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert [x for x, _ in the_path(svg, "canary")][:5] == [LEFT, LEFT, middle, middle, RIGHT]
    assert max(share_drawn(svg, "stable pale")) == 1.0
    assert min(share_drawn(svg, "stable pale")) == 0.1
    assert "The canary had 50 % of the requests at the end." in svg


def test_errors_are_lines_in_percent_with_a_band_around_the_canary() -> None:
    svg = errors_chart([a_point(0, 100, 100, errors=20)], [], wide)

    assert {"0 %", "10 %", "20 %", "30 %"} <= set(texts(svg))
    assert set(share_drawn(svg, "line canary")) == {round(20 / 30, 2)}
    assert set(share_drawn(svg, "line dashed stable")) == {0.0}
    assert set(share_drawn(svg, "canary pale")) == {round(10 / 30, 2), 1.0}


def test_a_wide_band_leaves_the_picture_before_it_makes_the_lines_flat() -> None:
    points = [a_point(minute, 1 if minute < 5 else 100, errors=0) for minute in range(15)]
    svg = errors_chart(points, [], lambda _, requests: (0.0, 0.9 if requests == 5 else 0.02))

    assert "2 %" in texts(svg)
    assert max(share_drawn(svg, "canary pale")) == 1.0


def test_more_errors_than_requests_are_all_of_the_requests() -> None:
    assert "Last errors of the canary: 100 %, of stable: 0 %." in errors_chart([a_point(errors=99)], [], wide)


def test_latency_is_in_seconds_and_counts_each_minute_by_its_requests() -> None:
    points = [a_point(0, 30, 0, seconds=0.1), a_point(600, 0, 1), a_point(1, 10, 0, seconds=0.5)]
    svg = latency_chart(points, [], 90)

    assert "Latency, 90th percentile" in texts(svg)
    assert "Last latency of the canary: 0.2 s, of stable: 0.25 s." in svg


def test_each_step_has_a_line_and_a_label_with_the_sign_of_its_verdict() -> None:
    marks = [Mark(at=after(10 * index), label=f"{index} %", verdict=one) for index, one in enumerate(VERDICTS)]
    svg = traffic_chart([a_point(minute) for minute in range(60)], marks)

    assert [f"{index} % {sign}" for index, sign in enumerate(VERDICTS.values())] == texts(svg)[-len(marks) :]
    assert [corners(one.get("d", ""))[0][0] for one in classes(svg, "line thin ink")] == [
        pytest.approx(LEFT + (RIGHT - LEFT) * index / 6, abs=0.1) for index in range(6)
    ]
    assert "Steps: 0 % successful, 1 % failed, 2 % inconclusive, 3 % error, 4 % no data, 5 %." in svg


def test_a_verdict_without_a_sign_is_written_out() -> None:
    assert "5 % skipped" in texts(traffic_chart([a_point()], [Mark(at=NOON, label="5 %", verdict="skipped")]))


def test_labels_of_short_steps_are_below_each_other() -> None:
    marks = [Mark(at=after(minute), label="mirror 20 %", verdict="failed") for minute in range(3)]
    svg = traffic_chart([a_point(0), a_point(600)], marks)

    labels = classes(svg, "bad title")
    assert [label.text for label in labels] == ["mirror 20 % ✗"] * 3
    assert len({label.get("y") for label in labels}) == 3


def test_a_new_step_begins_a_new_column() -> None:
    points = [a_point(minute, 100 if minute >= 31 else 0, 0 if minute >= 31 else 100) for minute in range(2880)]
    svg = traffic_chart(points, [Mark(at=after(31), label="100 %")])

    assert set(share_drawn(svg, "canary")) == {0.0, 1.0}


def test_minutes_without_requests_are_a_gap() -> None:
    points = [a_point(0), a_point(1, 0, 0), a_point(2), *(a_point(minute) for minute in range(20, 30))]

    for svg in (traffic_chart(points, []), latency_chart(points, [], 95)):
        assert [one.get("d", "").count("M") for one in classes(svg, "canary") + classes(svg, "line canary")][-1] == 3
    assert classes(errors_chart(points, [], wide), "line canary")[-1].get("d", "").count("M") == 2  # of five minutes


def test_evidence_is_a_bar_that_reaches_the_limit_where_it_counts() -> None:
    svg = evidence_chart(
        [
            Bar(name="errors", evidence=0, limit=20),
            Bar(name="latency", evidence=20, limit=20),
            Bar(name="all", evidence=float("inf"), limit=1),
        ]
    )

    limit = corners(classes(svg, "line ink")[0].get("d", ""))[0][0]
    lengths = [float(one.get("x", "")) + float(one.get("width", "")) for one in classes(svg, "bad")[1:]]
    assert lengths == [limit, RIGHT]
    assert float(classes(svg, "canary")[0].get("width", "")) == 2
    assert {"0, limit 20", "✗ 20, limit 20", "✗ over a million, limit 1"} <= set(texts(svg))


@pytest.mark.parametrize(
    ("evidence", "written"), [(0.001, "under 0.01"), (0.25, "0.25"), (9.96, "10"), (99.7, "100"), (1234.5, "1,234")]
)
def test_evidence_is_written_without_exponents(evidence: float, written: str) -> None:
    assert f"{written}, limit 5,000" in texts(evidence_chart([Bar(name="errors", evidence=evidence, limit=5000)]))


@pytest.mark.parametrize("svg", [*three([], []), *three([a_point(0, 0, 0)], [Mark(at=NOON, label="5 %")])])
def test_nothing_gives_a_picture_that_says_so(svg: str) -> None:
    assert NO_DATA in texts(svg)
    assert NO_DATA in texts(evidence_chart([]))


def test_every_text_is_escaped_and_without_characters_that_xml_forbids() -> None:
    label = '<b>&"\x00\ud800'
    pictures = [
        *three([a_point()], [Mark(at=NOON, label=label)]),
        evidence_chart([Bar(name=label, evidence=1, limit=2)]),
    ]

    assert all(any('<b>&"' in one for one in texts(svg)) for svg in pictures)
    assert all(parsed(svg).find("{*}desc") is not None and parsed(svg).find("{*}title") is not None for svg in pictures)


def test_the_image_is_one_line_of_markdown_with_the_picture_in_it() -> None:
    image = as_image("<svg>✓</svg>", "a [b]\nc")

    match = re.fullmatch(r"!\[a \\\[b\\\] c\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", image)
    assert match
    assert base64.b64decode(match[1]).decode() == "<svg>✓</svg>"
    assert svgs_in(f"before {image} and {image}") == ["<svg>✓</svg>"] * 2


def test_two_days_are_at_most_60_kb() -> None:
    points = [a_point(minute, 1 + minute % 50, 100, errors=minute % 2, seconds=minute % 7) for minute in range(2880)]
    marks = [Mark(at=after(240 * step), label=f"{step} %", verdict="successful") for step in range(12)]

    assert all(len(as_image(svg, "chart")) < 60_000 for svg in three(points, marks))
    assert len(the_path(traffic_chart(points, marks), "canary")) <= 4 * (120 + 12)


@pytest.mark.parametrize(("media", "page"), [(0, "#ffffff"), (1, "#1b1d21")])
def test_each_theme_has_enough_contrast_on_its_own_background(media: int, page: str) -> None:
    svg = traffic_chart([a_point()], [])
    rules = (parsed(svg).findtext("{*}style") or "").split("@media(prefers-color-scheme:dark)")[media]
    colours = dict(re.findall(r"\.(\w+)\{fill:(#\w{6})\}", rules))
    back = classes(svg, "back")[0]

    assert colours["back"] == page
    assert (back.get("width"), back.get("height")) == (parsed(svg).get("width"), parsed(svg).get("height"))
    assert {name: ratio for name in TEXT if (ratio := contrast(colours[name], page)) < 4.5} == {}
    assert {name: ratio for name in LINES if (ratio := contrast(colours[name], page)) < 3} == {}


def test_texts_are_large_enough_for_a_phone_and_have_a_colour_of_the_theme() -> None:
    marks = [Mark(at=NOON, label="5 %", verdict=one) for one in VERDICTS]
    for svg in [*three([a_point()], marks), evidence_chart([Bar(name="errors", evidence=3, limit=2)])]:
        size = re.search(r"text\{font:(\d+)px", svg)
        assert size
        assert int(size[1]) >= 14
        assert {(one.get("class") or "").split()[0] for one in parsed(svg) if one.tag.endswith("text")} <= set(TEXT)


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_the_order_and_the_time_zone_of_the_points_change_nothing() -> None:
    points = [a_point(minute, minute, 10) for minute in range(30)]
    marks = [Mark(at=after(minute), label=f"{minute} %") for minute in (0, 10)]
    east = timezone(timedelta(hours=5, minutes=30))
    moved = [point.model_copy(update={"at": point.at.astimezone(east)}) for point in reversed(points)]

    assert three(points, marks) == three(moved, marks[::-1]) == three(points, marks)


TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)) | st.builds(
    after, st.floats(-3000, 3000)
)
COUNTS = st.integers(0, 3) | st.integers(0, 10**12)
SECONDS = st.none() | st.floats(0, 86_400)
POINTS = st.lists(
    st.builds(
        Point,
        at=TIMES,
        canary_requests=COUNTS,
        canary_errors=COUNTS,
        stable_requests=COUNTS,
        stable_errors=COUNTS,
        canary_seconds=SECONDS,
        stable_seconds=SECONDS,
    ),
    max_size=8,
)
MARKS = st.lists(
    st.builds(Mark, at=TIMES, label=st.text(max_size=30), verdict=st.sampled_from(list(VERDICTS)) | st.text()),
    max_size=6,
)
BARS = st.lists(
    st.builds(Bar, name=st.text(), evidence=st.floats(0), limit=st.floats(0, 1e300, exclude_min=True)), max_size=4
)


def check_frame(svg: str) -> None:
    root = parsed(svg)
    width, height = (float(one) for one in root.get("viewBox", "").split()[2:])
    for one in root:
        at = [(float(one.get("x", 0)), float(one.get("y", 0)))]
        if one.tag.endswith("rect"):
            assert float(one.get("width", "")) >= 0
            at.append((at[0][0] + float(one.get("width", "")), at[0][1] + float(one.get("height", ""))))
        at += corners(one.get("d", ""))
        assert all(0 <= x <= width + 0.1 and 0 <= y <= height + 0.1 for x, y in at), (one.tag, one.attrib)


@settings(deadline=None)
@given(POINTS, MARKS, BARS)
def test_any_input_gives_pictures_inside_their_frame(points: list[Point], marks: list[Mark], bars: list[Bar]) -> None:
    for svg in [*three(points, marks), evidence_chart(bars)]:
        check_frame(svg)
