"""The answers of stable and the canary to the same recorded requests, compared.

Stable answers each request twice: a model that disagrees with itself must not be taken for a canary that disagrees.
"""

import heapq
import json
import math
from collections.abc import Iterator, Sequence
from enum import StrEnum
from statistics import NormalDist
from typing import TypeVar

from pydantic import JsonValue

from rollway.masking import mask
from rollway.rollout.bodies import BodyDifference, Pattern, Place, Words, counted, differences, parse_pattern, path_text
from rollway.rollout.smoke import Measurement, NoAnswer
from rollway.spec import Frozen, Predictions, Tolerance

CONFIDENCE = 0.95
MOST_DIFFERENCES = 5  # that a comparison shows
_VALUE_LENGTH = 80
_HALVINGS = 60  # of an interval of length 2: more are lost in a float

T = TypeVar("T")


class Trio(Frozen):
    """The answers to one request."""

    stable: Measurement | NoAnswer
    stable_again: Measurement | NoAnswer
    canary: Measurement | NoAnswer


class Difference(Frozen):
    """A difference of two answers as a row of a table: values are shortened, and secrets in them are masked.

    Attributes:
        request: Number of the request, in the order in which they were sent.
        size: For two numbers, their difference as a multiple of the tolerance; None for everything else.
    """

    request: int
    path: str
    stable: str
    canary: str
    size: float | None = None


class Verdict(StrEnum):
    """Verdicts on the answers of the canary."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    INCONCLUSIVE = "inconclusive"


class Comparison(Frozen):
    """The result of a comparison.

    Attributes:
        compared: Number of requests that stable answered twice.
        not_comparable: Number of requests that stable did not answer twice; they tell nothing.
        disagreements: Number of compared requests that the canary did not answer like stable.
        noise: Number of compared requests that stable did not answer alike.
        lowest_excess: Lower end of the 95 % interval of `excess`.
        largest: The largest differences, without those that stable has from itself.
    """

    verdict: Verdict
    compared: int
    not_comparable: int
    disagreements: int
    noise: int
    lowest_excess: float
    minimum_agreement: float
    minimum_requests: int
    largest: tuple[Difference, ...] = ()

    @property
    def agreement(self) -> float | None:
        """Share of the compared requests that both answered alike; None if no request was compared."""
        return 1 - self.disagreements / self.compared if self.compared else None

    @property
    def excess(self) -> float:
        """Share of the disagreements of the canary, less that of stable with itself."""
        return (self.disagreements - self.noise) / self.compared if self.compared else 0.0

    @property
    def sentence(self) -> str:
        """The result in words, with its numbers."""
        left_out = ""
        if self.not_comparable:
            left_out = f"; {self.not_comparable} more left out, because stable did not answer"
        if self.verdict is Verdict.INCONCLUSIVE:
            count = counted(self.compared, "request")
            return f"only {count} can be compared, at least {self.minimum_requests} are needed{left_out}"
        alike = (self.compared - self.disagreements) * 1000 // self.compared / 10  # 99.96 % is not 100 %
        numbers = (
            f"answers agree for {alike:g} % of {self.compared} requests, "
            f"at least {100 * self.minimum_agreement:g} % are demanded; stable disagrees with itself in {self.noise}"
        )
        return numbers + self._excuse() + left_out

    def _excuse(self) -> str:
        if self.verdict is Verdict.DISAGREES or 1 - self.disagreements / self.compared >= self.minimum_agreement:
            return ""
        if self.excess <= 1 - self.minimum_agreement:
            return ", which explains it"
        return ", and the rest can be chance"


def spread(requests: Sequence[T], sample: int) -> tuple[T, ...]:
    """Return at most `sample` of the requests, evenly spread and in their order."""
    count = min(sample, len(requests))
    return tuple(requests[number * len(requests) // count] for number in range(count))


def compare(trios: Sequence[Trio], wanted: Predictions) -> Comparison:
    """Return the verdict on the answers of the canary, with its numbers.

    The canary disagrees if it disagrees in more requests than stable with itself, by more than `minimum_agreement`
    allows, and if the lower end of the 95 % interval of that excess is above this limit, too. An answer that is
    absent or not 200 is a disagreement. Requests that stable did not answer twice are left out.
    """
    patterns = tuple(parse_pattern(one) for one in wanted.ignore)
    largest: list[tuple[int, BodyDifference]] = []
    compared = noise = disagreements = more = less = 0
    for number, trio in enumerate(trios, start=1):
        if not (_is_answered(trio.stable) and _is_answered(trio.stable_again)):
            continue
        own = list(_between(trio.stable, trio.stable_again, wanted.tolerance, patterns))
        others = list(_between(trio.stable, trio.canary, wanted.tolerance, patterns))
        compared += 1
        noise += bool(own)
        disagreements += bool(others)
        more += bool(others) and not own
        less += bool(own) and not others
        unstable = {one.path for one in own}
        beyond = [(number, one) for one in others if one.path not in unstable]
        largest = heapq.nsmallest(MOST_DIFFERENCES, [*largest, *beyond], key=_rank)
    lowest = lower_end(more, less, compared)
    return Comparison(
        verdict=_verdict(more - less, lowest, compared, wanted),
        compared=compared,
        not_comparable=len(trios) - compared,
        disagreements=disagreements,
        noise=noise,
        lowest_excess=lowest,
        minimum_agreement=wanted.minimum_agreement,
        minimum_requests=wanted.minimum_requests,
        largest=tuple(_row(number, one) for number, one in largest),
    )


def lower_end(more: int, less: int, count: int, confidence: float = CONFIDENCE) -> float:
    """Return the lower end of the one-sided score interval of a paired difference, (more - less) / count.

    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design",
    Statistics in Medicine 17 (1998), 891-908. It inverts a score test, as Wilson's interval of one proportion does; for
    a difference of 0 the test is McNemar's.

    Args:
        more: Number of pairs in which only the first is true: here, only the canary disagreed.
        less: Number of pairs in which only the second is true: here, only stable disagreed, with itself.
        count: Number of all pairs.
        confidence: Probability that the true difference is not below the returned one.
    """
    if not count:
        return -1.0
    limit = NormalDist().inv_cdf(confidence)
    low, high = -1.0, (more - less) / count
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _score(more, less, count, middle) > limit:
            low = middle
        else:
            high = middle
    return low


def _verdict(surplus: int, lowest: float, compared: int, wanted: Predictions) -> Verdict:
    if compared < wanted.minimum_requests:
        return Verdict.INCONCLUSIVE
    limit = 1 - wanted.minimum_agreement
    return Verdict.DISAGREES if surplus / compared > limit and lowest > limit else Verdict.AGREES


def _score(more: int, less: int, count: int, difference: float) -> float:
    """Return Tango's statistic: how far the pairs are from a difference, in standard deviations."""
    a, b = 2 * count, (2 * count - more + less) * difference - more - less
    c = -less * difference * (1 - difference)
    only_second = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)  # the most likely share, given the difference
    variance = count * (2 * only_second + difference * (1 - difference))
    distance = more - less - count * difference
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _is_answered(answer: Measurement | NoAnswer) -> bool:
    return isinstance(answer, Measurement) and answer.status == 200


def _between(
    stable: Measurement | NoAnswer, other: Measurement | NoAnswer, tolerance: Tolerance, ignore: Sequence[Pattern]
) -> Iterator[BodyDifference]:
    if isinstance(stable, Measurement) and isinstance(other, Measurement) and other.status == 200:
        yield from differences(stable.body, other.body, tolerance, ignore)
    else:
        answer = f"status {other.status}" if isinstance(other, Measurement) else other.why
        yield BodyDifference((), Words("status 200"), Words(answer))


def _rank(found: tuple[int, BodyDifference]) -> float:
    size = found[1].size
    return -math.inf if size is None else -size  # another type, text or key is larger than any number


def _row(number: int, found: BodyDifference) -> Difference:
    return Difference(
        request=number,
        path=_shortened(mask(path_text(found.path))),
        stable=_text(found.path, found.stable),
        canary=_text(found.path, found.canary),
        size=found.size,
    )


def _text(path: Place, value: JsonValue) -> str:
    """Return a value in one short line, masked together with its key: `mask` knows secrets by their names."""
    if isinstance(value, Words):
        return _shortened(mask(value))
    key = next((f"{part}: " for part in reversed(path) if isinstance(part, str)), "")
    return _shortened(mask(key + json.dumps(value, ensure_ascii=False)).removeprefix(key))


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _VALUE_LENGTH else f"{line[: _VALUE_LENGTH - 2]} …"
