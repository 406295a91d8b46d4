"""Times as people say them."""

from datetime import timedelta

import pytest

from rollway.reports.ages import ago, lasting, remaining, span
from tests.support.builders import NOW


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (86_399, "23 h"),
        (86_400, "1 day"),
        (172_800, "2 days"),
    ],
)
def test_a_span_is_said_in_its_largest_unit(seconds: int, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text


def before(**length: int) -> str:
    return (NOW - timedelta(**length)).isoformat()


def test_a_time_is_said_by_its_distance_and_after_two_weeks_by_its_date() -> None:
    assert ago(before(minutes=3), NOW) == "3 min ago"
    assert ago(before(days=13), NOW) == "13 days ago"
    assert ago(before(days=14), NOW) == "on 2025-12-19"
    assert lasting(before(hours=2), NOW) == "for 2 h"
    assert lasting(before(days=14), NOW) == "since 2025-12-19"


def test_what_rollway_did_not_write_is_said_as_it_is() -> None:
    assert (ago("yesterday", NOW), ago(None, NOW)) == ("yesterday", "at an unknown time")
    assert (lasting("yesterday", NOW), lasting(None, NOW)) == ("", "")


@pytest.mark.parametrize(("seconds", "text"), [(-3420, "57 min more"), (0, ""), (60, "")])
def test_what_remains_ends_with_its_time(seconds: int, text: str) -> None:
    assert remaining(before(seconds=seconds), NOW) == text
