"""The section `follow` of rollout.yml: its fields, and the moments that a freeze window covers."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.files.yaml_files import parse_own_yaml
from rollway.spec import Day, Follow, FreezeWindow, RolloutFile, parse_rollout_file

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)


def parse(follow: str) -> RolloutFile | list[str]:
    parsed = parse_rollout_file(parse_own_yaml(f"smoke_test: {{request_file: r}}\nfollow: {follow}"), "rollout.yml")
    return [str(problem) for problem in parsed] if isinstance(parsed, list) else parsed


def window(**values: Any) -> FreezeWindow:
    return FreezeWindow(**values)


def test_times_may_be_written_without_quotes() -> None:
    parsed = parse("{freeze: [{days: [fri], from: 16:00}, {from: 22:30, to: 06:00, timezone: Europe/Berlin}]}")

    assert isinstance(parsed, RolloutFile)
    assert parsed.follow == Follow(
        freeze=(window(days=("fri",), start="16:00"), window(start="22:30", end="06:00", timezone="Europe/Berlin"))
    )


def test_an_hour_of_one_digit_is_the_same_time() -> None:
    parsed = parse("{freeze: [{from: 9:00, to: '9:30'}]}")

    assert isinstance(parsed, RolloutFile)
    assert parsed.follow == Follow(freeze=(window(start="09:00", end="09:30"),))
    assert window(start="9:00", end="17:00").covers(MONDAY + timedelta(hours=12))


def test_the_section_survives_serialization() -> None:
    parsed = parse("{tags: {approved: 'yes'}, stage: Production, minimum_age_seconds: 60, freeze: [{to: 08:00}]}")

    assert isinstance(parsed, RolloutFile)
    assert RolloutFile.model_validate_json(parsed.model_dump_json()) == parsed


@pytest.mark.parametrize(
    ("follow", "problem"),
    [
        ("{tag: {a: b}}", "follow.tag: unknown key, did you mean 'tags'?"),
        ("{freeze: [{form: 08:00}]}", "follow.freeze.0.form: unknown key, did you mean 'from'?"),
        ("{freeze: [{days: []}]}", "follow.freeze.0.days: has 0 entries, needed are 1"),
        ("{freeze: [{from: 25:00}]}", "follow.freeze.0.from: '25:00' is not a time of day: write HH:MM"),
        ("{freeze: [{from: 9, to: '17:00'}]}", "follow.freeze.0.from: 9 is not a time of day: write HH:MM"),
        ("{freeze: [{from: '22:00', to: 6}]}", "follow.freeze.0.to: 6 is not a time of day: write HH:MM"),
        ("{freeze: [{from: 600}]}", "follow.freeze.0.from: 600 is not a time of day: write HH:MM"),
        ("{freeze: [{from: 0900}]}", "follow.freeze.0.from: '0900' is not a time of day: write HH:MM"),
        ("{freeze: [{from: 9.30}]}", "follow.freeze.0.from: 9.3 is not a time of day: write HH:MM"),
        ("{freeze: [{from: !!int '16:00'}]}", "follow.freeze.0.from: 960 is not a time of day: write HH:MM"),
        ("{freeze: [{from: null}]}", "follow.freeze.0.from: nothing is not a time of day: write HH:MM"),
        ("{freeze: [{from: -5}]}", "follow.freeze.0.from: -5 is not a time of day"),
        ("{freeze: [{from: 16:00:00}]}", "follow.freeze.0.from: '16:00:00' is not a time of day"),
        (
            "{freeze: [{timezone: Europe/Berln}]}",
            "follow.freeze.0.timezone: there is no time zone 'Europe/Berln', did you mean 'Europe/Berlin'?",
        ),
        (
            "{freeze: [{timezone: Europe}]}",
            "follow.freeze.0.timezone: there is no time zone 'Europe', did you mean 'Eur",
        ),
        (
            "{freeze: [{timezone: America/Argentina}]}",
            "follow.freeze.0.timezone: there is no time zone 'America/Argentina', did you mean 'America/Arg",
        ),
        (f"{{freeze: [{{timezone: {'a' * 5000}}}]}}", "follow.freeze.0.timezone: there is no time zone 'aaaaaaa"),
        ("{freeze: [{timezone: ''}]}", "follow.freeze.0.timezone: there is no time zone ''"),
        ("{freeze: [{timezone: tzdata.zi}]}", "follow.freeze.0.timezone: there is no time zone 'tzdata.zi'"),
        ("{freeze: [{timezone: ../etc/passwd}]}", "follow.freeze.0.timezone: there is no time zone '../etc/passwd'"),
        ("{minimum_age_seconds: -1}", "follow.minimum_age_seconds: -1 is too small, allowed is 0 or more"),
        ("{stage: ''}", "follow.stage: is empty"),
    ],
)
def test_a_fault_is_named_with_its_path(follow: str, problem: str) -> None:
    problems = parse(follow)

    assert isinstance(problems, list)
    assert len(problems) == 1
    assert problems[0].startswith(f"rollout.yml: {problem}")


@pytest.mark.parametrize(
    ("values", "hours", "is_covered"),
    [
        ({"days": ("mon",), "start": "16:00"}, 15.99, False),
        ({"days": ("mon",), "start": "16:00"}, 16, True),
        ({"days": ("mon",), "start": "16:00"}, 24, False),
        ({"days": ("mon",), "end": "08:00"}, 7.99, True),
        ({"days": ("mon",), "end": "08:00"}, 8, False),
        ({"days": ("mon",), "start": "22:00", "end": "06:00"}, 29.99, True),
        ({"days": ("mon",), "start": "22:00", "end": "06:00"}, 30, False),
        ({"days": ("mon",), "start": "22:00", "end": "06:00"}, 5, False),
        ({"days": ("sun",), "start": "22:00", "end": "06:00"}, 5, True),
        ({"days": ("mon",), "start": "08:00", "end": "08:00"}, 31.99, True),
        ({"days": ("mon",), "start": "00:00", "timezone": "America/New_York"}, 4.99, False),
        ({"days": ("mon",), "start": "00:00", "timezone": "America/New_York"}, 5, True),
    ],
)
def test_a_window_covers_its_hours(values: dict[str, Any], hours: float, is_covered: bool) -> None:
    assert window(**values).covers(MONDAY + timedelta(hours=hours)) is is_covered


def test_a_window_keeps_to_the_wall_clock_when_summer_time_ends() -> None:
    evening = window(start="18:00", timezone="Europe/Berlin")

    assert [evening.covers(datetime(2026, 10, day, 16, 30, tzinfo=UTC)) for day in (24, 25)] == [True, False]


@given(st.datetimes(timezones=st.just(UTC)), st.sets(st.sampled_from(get_args(Day)), min_size=1))
def test_whole_days_cover_exactly_their_days(moment: datetime, days: set[Any]) -> None:
    assert window(days=tuple(days)).covers(moment) is (get_args(Day)[moment.weekday()] in days)


clock_times = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))


@given(st.datetimes(timezones=st.just(UTC)), clock_times, clock_times.filter(lambda time: time != "00:00"))
def test_a_window_and_the_rest_of_the_day_share_no_moment(moment: datetime, start: str, end: str) -> None:
    if start != end:
        inside, outside = window(start=start, end=end), window(start=end, end=start)

        assert inside.covers(moment) is not outside.covers(moment)
