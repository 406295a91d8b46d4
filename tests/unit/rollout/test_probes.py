"""Answers to probes become counts, in batches."""

from datetime import UTC, datetime

import pytest

from rollway.rollout.evidence import Counts
from rollway.rollout.probes import MOST_BATCHES, count_answers, minutes_of, percentile_of
from rollway.rollout.smoke import Measurement, NoAnswer
from tests.support.builders import measurement

AT = datetime(2026, 1, 2, tzinfo=UTC)


def answers(count: int, status: int = 200, seconds: float = 0.1) -> list[Measurement]:
    return [measurement(status=status, latency_seconds=seconds) for _ in range(count)]


def test_answers_are_counted_by_whose_fault_they_are() -> None:
    given: list[Measurement | NoAnswer] = [
        *answers(7),
        *answers(2, 424),
        *answers(1, 429),
        *answers(1, 401),
        NoAnswer(why="no answer within 60 s", is_timeout=True),
        NoAnswer(why="no connection"),
    ]

    assert count_answers(given, 95) == Counts(requests=10, errors=3, throttled=1, latency_seconds=0.1)


def test_errors_have_no_latency() -> None:
    assert count_answers(answers(3, 424, seconds=9.0), 95).latency_seconds is None


@pytest.mark.parametrize(("percentile", "value"), [(50, 5.0), (90, 9.0), (95, 10.0), (99, 10.0)])
def test_a_percentile_is_that_of_the_nearest_rank(percentile: int, value: float) -> None:
    assert percentile_of([float(one) for one in range(1, 11)], percentile) == value


def test_batches_keep_order_and_count_and_are_large_enough_for_a_percentile() -> None:
    canary, stable = [*answers(50), *answers(55, 424)], answers(105)

    minutes = minutes_of(canary, stable, 95, AT)

    assert len(minutes) == 10
    assert sum(one.canary.requests for one in minutes) == sum(one.stable.requests for one in minutes) == 105
    assert [one.canary.errors for one in minutes][:4] == [0, 0, 0, 0]
    assert sum(one.canary.errors for one in minutes) == 55
    assert [one.at for one in minutes] == sorted({one.at for one in minutes})
    assert minutes[0].at == AT


@pytest.mark.parametrize(("count", "batches"), [(1, 1), (9, 1), (19, 1), (20, 2), (10_000, MOST_BATCHES)])
def test_the_number_of_batches_follows_from_the_probes(count: int, batches: int) -> None:
    assert len(minutes_of(answers(count), [], 95, AT)) == batches
