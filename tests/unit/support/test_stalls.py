"""Pauses of the machine, as a test that measures a time sees them."""

import pytest

from tests.support.stalls import Stalls

TICKS = (0.0, 0.1, 0.2, 10.2, 10.3, 12.3, 12.4)


@pytest.mark.parametrize(
    ("begin", "end", "seconds"),
    [(0.0, 12.4, 12.0), (0.0, 10.3, 10.0), (5.2, 10.3, 5.0), (0.0, 5.2, 5.0), (2.0, 3.0, 1.0), (10.2, 10.3, 0.0)],
)
def test_only_long_gaps_within_the_time_count(begin: float, end: float, seconds: float) -> None:
    assert Stalls(TICKS).seconds_between(begin, end) == pytest.approx(seconds)


def test_nothing_seen_is_no_pause() -> None:
    assert Stalls().seconds_between(0.0, 100.0) == 0
