"""Answers to probes as evidence."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from rollway.rollout.evidence import MIN_REQUESTS_PER_MINUTE, Counts, Minute, count_statuses
from rollway.rollout.smoke import Measurement, NoAnswer

MOST_BATCHES = 20
NO_ANSWER = 408  # the status that the gateway would have sent if the network had waited for it


def count_answers(answers: Sequence[Measurement | NoAnswer], percentile: int) -> Counts:
    """Return the counts of a batch of probes, with a percentile of the latency of the answers of status 200.

    A request without an answer counts only if it timed out: other losses are the network's.
    """
    statuses = Counter(one.status for one in answers if isinstance(one, Measurement))
    statuses[NO_ANSWER] += sum(isinstance(one, NoAnswer) and one.is_timeout for one in answers)
    latencies = sorted(one.latency_seconds for one in answers if isinstance(one, Measurement) and one.status == 200)
    return count_statuses(+statuses, percentile_of(latencies, percentile))


def minutes_of(
    canary: Sequence[Measurement | NoAnswer],
    stable: Sequence[Measurement | NoAnswer],
    percentile: int,
    at: datetime,
) -> tuple[Minute, ...]:
    """Return the counts of probes in order, in batches large enough for a percentile, each as one minute.

    Args:
        stable: As many answers as those of the canary, or none.
        at: Time of the first batch; the others follow a millisecond apart.
    """
    count = max(1, min(MOST_BATCHES, len(canary) // MIN_REQUESTS_PER_MINUTE))
    bounds = [len(canary) * number // count for number in range(count + 1)]
    return tuple(
        Minute(
            at=at + timedelta(milliseconds=number),
            canary=count_answers(canary[first:last], percentile),
            stable=count_answers(stable[first:last], percentile),
        )
        for number, (first, last) in enumerate(itertools.pairwise(bounds))
    )


def percentile_of(ordered: Sequence[float], percentile: int) -> float | None:
    """Return a percentile of sorted values by nearest rank; None of no values."""
    return ordered[math.ceil(percentile / 100 * len(ordered)) - 1] if ordered else None
