"""Evidence about the canary: requests counted by the minute, the verdict that they allow, and its numbers in words.

A rollout is looked at every minute, and a test made for one look would raise a false alarm in one rollout of four.
Here each measure is an e-process: a number that begins at 1 and grows while the canary is worse than its limit. A
canary within its limit lifts it to 20 in at most one rollout of 20, whatever the number of looks (Ville 1939), and also
when the weights change. Errors are compared as in Turner, Ly, Grünwald 2024 ("Generic e-variables for exact sequential
k-sample tests"): of the errors of a minute, a canary as good as stable has no more than its share of the requests.

A canary may turn bad late. So one process starts with each minute, and the evidence is their mean, weighted by a prior
over the starts. Each is 1 before its start, so this mixture is an e-process, too, and Ville's bound holds (compare the
"e-detectors" of Shin, Ramdas, Rinaldo 2023, which sum processes from each start).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from statistics import NormalDist, median

from pydantic import AwareDatetime, Field, ValidationInfo, field_validator

from rollway.spec import Frozen, Judge

ALPHA = 0.05  # share of the rollouts of a good canary that may end in a false alarm
CONFIDENCE = 0.95  # of the intervals in reports
MIN_REQUESTS_PER_MINUTE = 10  # a percentile of fewer is mostly chance

# Odds of a canary that is worse, as multiples of the odds at its limit. One error can lift the evidence to their mean
# at most, which is 24. Three measures always apply, so their limit is 60 or more: one error alone never fails a canary.
RATIOS = (1.5, 2, 3, 5, 10, 20, 50, 100)

FIRST_START = 0.8  # prior of the process that starts with the first trial; the later ones share the rest

_MOST_LOG = 700.0  # math.exp overflows above it
_MOST_IN_WORDS = 1_000_000


class Blame(StrEnum):
    """Causes of a status that Azure's gateway sent."""

    NOBODY = "nobody"
    MODEL = "model"  # or its container
    CAPACITY = "capacity"  # too few instances for the load
    CLIENT = "client"


_BLAMES = {408: Blame.MODEL, 424: Blame.MODEL, 429: Blame.CAPACITY}


def blame(status: int) -> Blame:
    """Return the cause of a status of Azure's gateway."""
    if status in _BLAMES:
        return _BLAMES[status]
    if status >= 500:
        return Blame.MODEL
    return Blame.NOBODY if 200 <= status < 300 else Blame.CLIENT


class Counts(Frozen):
    """Requests of one online deployment in one minute."""

    requests: int = Field(default=0, ge=0)  # that the model answered, with an error or without
    errors: int = Field(default=0, ge=0)  # of these requests
    latency_seconds: float | None = Field(default=None, ge=0)  # the percentile that the judge compares
    throttled: int = Field(default=0, ge=0)  # refused for lack of capacity; not among the requests

    @field_validator("errors")
    @classmethod
    def _check_errors(cls, errors: int, info: ValidationInfo) -> int:
        requests = info.data.get("requests", errors)
        if errors > requests:
            raise ValueError(f"{errors} errors of {requests} requests")
        return errors


def count_statuses(requests: Mapping[int, int], latency_seconds: float | None = None) -> Counts:
    """Return the counts of a minute. Requests that failed because of the client do not count.

    Args:
        requests: Number of requests by the status of the answer.
    """
    by_blame = dict.fromkeys(Blame, 0)
    for status, number in requests.items():
        by_blame[blame(status)] += number
    return Counts(
        requests=by_blame[Blame.NOBODY] + by_blame[Blame.MODEL],
        errors=by_blame[Blame.MODEL],
        throttled=by_blame[Blame.CAPACITY],
        latency_seconds=latency_seconds,
    )


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sums, without a latency: percentiles do not add up."""
    every = list(counts)
    return Counts(
        requests=sum(one.requests for one in every),
        errors=sum(one.errors for one in every),
        throttled=sum(one.throttled for one in every),
    )


class Minute(Frozen):
    """Counts of both online deployments in one minute."""

    at: AwareDatetime  # its start, in UTC
    canary: Counts = Counts()
    stable: Counts = Counts()


class Verdict(StrEnum):
    """Verdicts about a canary, or one measure of it."""

    SUCCESSFUL = "successful"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"  # could not measure
    NO_DATA = "no_data"


class Measure(Frozen):
    """One measure of the canary: its own verdict, with the numbers in words."""

    name: str
    verdict: Verdict
    sentence: str
    evidence: float = 0.0  # 1 is none; `limit` or more fails the canary
    limit: float = 0.0  # both are 0 if the measure has no evidence of this kind


class Judgement(Frozen):
    """The verdict about a canary, and the measures behind it."""

    verdict: Verdict
    measures: tuple[Measure, ...] = ()
    requests: int = 0  # of the canary in the running step

    @property
    def sentence(self) -> str:
        """The verdict and its reasons in one line."""
        told = [one for one in self.measures if one.verdict is self.verdict]
        if self.verdict in (Verdict.SUCCESSFUL, Verdict.INCONCLUSIVE):
            told = list(self.measures)
        words = {Verdict.ERROR: "could not measure", Verdict.NO_DATA: "no data"}.get(self.verdict, self.verdict.value)
        if self.verdict is Verdict.NO_DATA:
            told = told[:1]  # no requests: that explains the others
        return f"{words}: {'; '.join(one.sentence for one in told)}"


def could_not_measure(why: str) -> Judgement:
    """Return the judgement when the evidence itself cannot be read."""
    return Judgement(verdict=Verdict.ERROR, measures=(Measure(name="evidence", verdict=Verdict.ERROR, sentence=why),))


def judge(minutes: Sequence[Minute], since: datetime, limits: Judge, *, looks: int = 1) -> Judgement:
    """Return the verdict about a canary.

    A bad canary fails by the evidence of the whole rollout. A good one needs enough requests in the running step. A
    canary that becomes bad late fails a little later than one that was bad from the start.

    Args:
        minutes: Those of the whole rollout, each of them once, in order of time.
        since: Start of the running step. Minutes that began before it do not count as the step's.
        looks: Number of separate sets of minutes that are judged in this rollout, such as one set of probes per step.
            The more there are, the more evidence each of them needs.
    """
    step = total(one.canary for one in minutes if one.at >= since)
    measured_by = [_compare_errors, _limit_errors, _compare_latency]
    if limits.latency.maximum_seconds is not None:
        measured_by.append(_limit_latency)
    # The number of measures follows from the limits alone. If it followed from the data, more false alarms could pass.
    enough = len(measured_by) * max(looks, 1) / ALPHA
    requests = _count_requests(step, limits.minimum_requests)
    measures = [measure(minutes, limits, enough) for measure in measured_by]
    is_failed = any(one.verdict is Verdict.FAILED for one in measures)
    return Judgement(
        verdict=Verdict.FAILED if is_failed else requests.verdict,
        measures=(requests, *measures),
        requests=step.requests,
    )


def weigh(trials: Iterable[tuple[int, int, float]]) -> float:
    """Return the evidence that something bad happens more often than its limit allows: an e-value.

    Args:
        trials: How often it happened, how often it could have happened, and its odds if the canary is at the limit. One
            for each minute with requests, in order of time. Each is independent of the others; the odds may differ.
    """
    return [1.0, *weigh_each(trials)][-1]


def weigh_each(trials: Iterable[tuple[int, int, float]]) -> Iterator[float]:
    """Yield the evidence after each trial, with the same trials as `weigh`.

    A process starts with each trial. The first has the prior 0.8, the later ones have 0.2/2, 0.2/6, 0.2/12 and so on.
    """
    # By ratio and in logs: the sum of the processes that have started, each times its prior. The others are still 1.
    # Minutes without requests must be left out of the trials, because each trial uses up some of the prior.
    sums = [-math.inf] * len(RATIOS)
    for number, (bad, tries, odds) in enumerate(trials, 1):
        start = math.log(FIRST_START if number == 1 else (1 - FIRST_START) / (number * (number - 1)))
        for place, ratio in enumerate(RATIOS):
            growth = bad * math.log(ratio) - tries * (math.log1p(ratio * odds) - math.log1p(odds))
            sums[place] = _add_logs(sums[place], start) + growth
        most = max(sums)
        mean = math.fsum(math.exp(one - most) for one in sums) / len(sums)
        not_started = (1 - FIRST_START) / number
        yield math.exp(min(most + math.log(mean), _MOST_LOG)) + not_started


def _add_logs(one: float, other: float) -> float:
    """Return the logarithm of the sum of two numbers, given their logarithms."""
    return max(one, other) + math.log1p(math.exp(-abs(one - other)))


def hours_needed(limits: Judge, share: int, requests_per_hour: float) -> float:
    """Return how long a step takes until it has enough requests, in hours; infinite if none come.

    Args:
        share: Percent of the requests that the canary sees.
        requests_per_hour: Requests of the whole endpoint.
    """
    of_canary = share * requests_per_hour / 100
    return limits.minimum_requests / of_canary if of_canary > 0 else math.inf


class Difference(Frozen):
    """Error rate of the canary minus that of stable, with a 95 % interval, as shares of 1. Only for reports."""

    value: float
    low: float
    high: float

    @property
    def sentence(self) -> str:
        """The difference in words."""
        value, low, high = (f"{100 * one:+.1f}" for one in (self.value, self.low, self.high))
        return f"errors {value} points, {low} to {high}"


def compare_error_rates(minutes: Sequence[Minute]) -> Difference | None:
    """Return the difference of the error rates in the minutes in which both had requests; None if there are none."""
    both = _with_both(minutes)
    return newcombe(total(one.canary for one in both), total(one.stable for one in both)) if both else None


def newcombe(canary: Counts, stable: Counts) -> Difference:
    """Return the difference of two error rates with Newcombe's interval (1998, method 10). Both need requests."""
    first, second = canary.errors / canary.requests, stable.errors / stable.requests
    (low_1, high_1), (low_2, high_2) = wilson(canary), wilson(stable)
    return Difference(
        value=first - second,
        low=first - second - math.hypot(first - low_1, high_2 - second),
        high=first - second + math.hypot(high_1 - first, second - low_2),
    )


def wilson(counts: Counts) -> tuple[float, float]:
    """Return Wilson's interval (1927) of an error rate. It needs requests."""
    z, requests = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), float(counts.requests)
    rate = counts.errors / counts.requests
    centre = rate + z * z / (2 * requests)
    half = z * math.sqrt(rate * (1 - rate) / requests + z * z / (4 * requests * requests))
    scale = 1 + z * z / requests
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def evidence_in_words(evidence: float) -> str:
    """Return the evidence, rounded down, so that a comparison is right after rounding, too."""
    if evidence > _MOST_IN_WORDS:
        return f"over {_MOST_IN_WORDS:,}"
    return f"{math.floor(10 * evidence) / 10:g}" if evidence < 10 else f"{math.floor(evidence):,}"


def _count_requests(step: Counts, needed: int) -> Measure:
    if not step.requests:
        verdict, words = Verdict.NO_DATA, "no request of the canary in this step"
    elif step.requests < needed:
        verdict, words = Verdict.INCONCLUSIVE, f"{step.requests:,} of {needed:,} requests"
    else:
        verdict, words = Verdict.SUCCESSFUL, f"{step.requests:,} requests, at least {needed:,} needed"
    if step.throttled:
        words += f", {step.throttled:,} more throttled (429)"
    return Measure(name="requests", verdict=verdict, sentence=words)


def _compare_errors(minutes: Sequence[Minute], limits: Judge, enough: float) -> Measure:
    both = _with_both(minutes)
    if not both:
        return _no_data("errors", "errors not compared: no minute with requests of both", enough)
    ratio = limits.errors.tolerated_ratio
    # Minutes without an error are trials, too. If not, an error in one of them would shift the prior of later starts.
    trials = [
        (
            one.canary.errors,
            one.canary.errors + one.stable.errors,
            ratio * (one.canary.requests / one.stable.requests),
        )
        for one in both
    ]
    canary, stable = total(one.canary for one in both), total(one.stable for one in both)
    words = f"errors {_rate(canary)} against {_rate(stable)}"
    if ratio != 1:
        words += f" (x{ratio:g} tolerated)"
    return _measure("errors", words, trials, enough)


def _limit_errors(minutes: Sequence[Minute], limits: Judge, enough: float) -> Measure:
    counts, maximum = [one.canary for one in minutes if one.canary.requests], limits.errors.maximum
    if not counts:
        return _no_data("maximum errors", "errors not measured: no request of the canary", enough)
    trials = [(one.errors, one.requests, maximum / (1 - maximum)) for one in counts]
    words = f"errors {_rate(total(counts))}, maximum {_percent(maximum)}"
    return _measure("maximum errors", words, trials, enough)


def _compare_latency(minutes: Sequence[Minute], limits: Judge, enough: float) -> Measure:
    name, ratio = f"latency P{limits.latency.percentile}", limits.latency.tolerated_ratio
    pairs = [
        (canary, stable)
        for one in minutes
        if (canary := _latency(one.canary)) is not None and (stable := _latency(one.stable)) is not None
    ]
    if not pairs:
        words = f"{name} not compared: no minute with {MIN_REQUESTS_PER_MINUTE} requests of both"
        return _no_data("latency", words, enough)
    trials = [(int(canary > ratio * stable), 1, 1.0) for canary, stable in pairs]
    mine, others = (_seconds(median(one)) for one in zip(*pairs, strict=True))
    words = f"{name} {mine} against {others}, worse than x{ratio:g} in {_bad_minutes(trials)}"
    return _measure("latency", words, trials, enough)


def _limit_latency(minutes: Sequence[Minute], limits: Judge, enough: float) -> Measure:
    name, maximum = f"latency P{limits.latency.percentile}", limits.latency.maximum_seconds or math.inf
    found = [latency for one in minutes if (latency := _latency(one.canary)) is not None]
    if not found:
        words = f"{name} not measured: no minute with {MIN_REQUESTS_PER_MINUTE} requests of the canary"
        return _no_data("maximum latency", words, enough)
    trials = [(int(latency > maximum), 1, 1.0) for latency in found]
    words = f"{name} {_seconds(median(found))}, above {maximum:g} s in {_bad_minutes(trials)}"
    return _measure("maximum latency", words, trials, enough)


def _measure(name: str, words: str, trials: list[tuple[int, int, float]], enough: float) -> Measure:
    evidence = weigh(trials)
    is_failed = evidence >= enough
    words += f", evidence {evidence_in_words(evidence)} {'≥' if is_failed else '<'} {enough:,.0f}"
    verdict = Verdict.FAILED if is_failed else Verdict.SUCCESSFUL
    return Measure(name=name, verdict=verdict, sentence=words, evidence=evidence, limit=enough)


def _no_data(name: str, words: str, enough: float) -> Measure:
    return Measure(name=name, verdict=Verdict.NO_DATA, sentence=words, evidence=1.0, limit=enough)


def _with_both(minutes: Sequence[Minute]) -> list[Minute]:
    return [one for one in minutes if one.canary.requests and one.stable.requests]


def _latency(counts: Counts) -> float | None:
    return counts.latency_seconds if counts.requests >= MIN_REQUESTS_PER_MINUTE else None


def _rate(counts: Counts) -> str:
    return f"{_percent(counts.errors / counts.requests)} of {counts.requests:,}"


def _percent(share: float) -> str:
    """Return a share in percent, so that few errors never read as none."""
    percent = 100 * share
    if percent >= 1:
        return f"{round(percent, 1):g} %"
    return "under 0.01 %" if 0 < percent < 0.01 else f"{percent:.2g} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.3g} ms"


def _bad_minutes(trials: Sequence[tuple[int, int, float]]) -> str:
    bad, every = sum(bad for bad, _, _ in trials), len(trials)
    return f"{bad:,} of {every:,} minute{'' if every == 1 else 's'}"
