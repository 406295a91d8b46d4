"""The verdict about a canary, its numbers, and their words."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from rollway.rollout.evidence import (
    Blame,
    Counts,
    Judgement,
    Measure,
    Minute,
    Verdict,
    blame,
    could_not_measure,
    count_statuses,
    hours_needed,
    judge,
    total,
)
from rollway.spec import ErrorLimits, Judge, LatencyLimits

START = datetime(2026, 11, 30, 12, tzinfo=UTC)
NO_TRAFFIC = (0, 0)
Given = tuple[int, int] | tuple[int, int, float]  # requests, errors, latency


def counts(given: Given) -> Counts:
    requests, errors, *latency = given
    return Counts(requests=requests, errors=int(errors), latency_seconds=latency[0] if latency else None)


def minutes(*pairs: tuple[Given, Given]) -> list[Minute]:
    return [
        Minute(at=START + timedelta(minutes=number), canary=counts(canary), stable=counts(stable))
        for number, (canary, stable) in enumerate(pairs)
    ]


def limits(
    errors: float = 1.0, maximum: float = 0.05, latency: float = 1.2, maximum_seconds: float | None = None
) -> Judge:
    return Judge(
        errors=ErrorLimits(tolerated_ratio=errors, maximum=maximum),
        latency=LatencyLimits(tolerated_ratio=latency, maximum_seconds=maximum_seconds),
    )


def judged(*pairs: tuple[Given, Given], by: Judge | None = None, looks: int = 1) -> Judgement:
    return judge(minutes(*pairs), START, by or limits(), looks=looks)


def measured(judgement: Judgement, name: str) -> Measure:
    return next(one for one in judgement.measures if one.name == name)


@pytest.mark.parametrize(
    ("statuses", "cause"),
    [
        ([200, 201, 204, 299], Blame.NOBODY),
        ([408, 424, 500, 502, 503, 504, 599], Blame.MODEL),
        ([429], Blame.CAPACITY),
        ([100, 302, 400, 401, 403, 404, 409, 413, 422, 499], Blame.CLIENT),
    ],
)
def test_a_status_has_one_cause(statuses: list[int], cause: Blame) -> None:
    assert {blame(status) for status in statuses} == {cause}


def test_statuses_are_counted_without_those_that_tell_nothing_about_the_model() -> None:
    counted = count_statuses({200: 90, 204: 1, 424: 3, 500: 2, 429: 7, 401: 1000}, latency_seconds=0.2)

    assert counted == Counts(requests=96, errors=5, throttled=7, latency_seconds=0.2)
    assert count_statuses({}) == Counts()


def test_more_errors_than_requests_are_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        Counts(requests=1, errors=2)

    assert [one["msg"] for one in caught.value.errors()] == ["Value error, 2 errors of 1 requests"]


def test_a_total_has_no_latency() -> None:
    added = total([Counts(requests=2, errors=1, latency_seconds=3), Counts(requests=4, throttled=5)])

    assert added == Counts(requests=6, errors=1, throttled=5)


def test_a_canary_as_good_as_stable_is_successful_once_it_has_enough_requests() -> None:
    judgement = judged(*[((30, 0, 0.2), (570, 5, 0.2))] * 10)

    assert (judgement.verdict, judgement.requests) == (Verdict.SUCCESSFUL, 300)
    assert judgement.sentence == (
        "successful: 300 requests, at least 300 needed; "
        "errors 0 % of 300 against 0.88 % of 5,700, evidence 0 < 60; "
        "errors 0 % of 300, maximum 5 %, evidence 0 < 60; "
        "latency P95 0.20 s against 0.20 s, worse than x1.2 in 0 of 10 minutes, evidence 0 < 60"
    )


def test_too_few_requests_are_inconclusive() -> None:
    judgement = judged(((120, 1), (2280, 20)))

    assert (judgement.verdict, judgement.requests) == (Verdict.INCONCLUSIVE, 120)
    assert judgement.sentence == (
        "inconclusive: 120 of 300 requests; "
        "errors 0.83 % of 120 against 0.88 % of 2,280, evidence 0.4 < 60; "
        "errors 0.83 % of 120, maximum 5 %, evidence 0.2 < 60; "
        "latency P95 not compared: no minute with 10 requests of both"
    )


@pytest.mark.parametrize("pairs", [[], [(NO_TRAFFIC, (600, 30, 0.2))]])
def test_without_a_request_of_the_canary_there_is_no_data(pairs: list[tuple[Given, Given]]) -> None:
    judgement = judged(*pairs, by=limits(maximum_seconds=1))

    assert (judgement.verdict, judgement.requests) == (Verdict.NO_DATA, 0)
    assert judgement.sentence == "no data: no request of the canary in this step"
    assert [(one.verdict, one.sentence) for one in judgement.measures[1:]] == [
        (Verdict.NO_DATA, "errors not compared: no minute with requests of both"),
        (Verdict.NO_DATA, "errors not measured: no request of the canary"),
        (Verdict.NO_DATA, "latency P95 not compared: no minute with 10 requests of both"),
        (Verdict.NO_DATA, "latency P95 not measured: no minute with 10 requests of the canary"),
    ]
    assert {(one.evidence, one.limit) for one in judgement.measures[1:]} == {(1.0, 80.0)}


def test_evidence_that_cannot_be_read_is_an_error() -> None:
    judgement = could_not_measure("Azure Monitor answered 403")

    assert (judgement.verdict, judgement.requests) == (Verdict.ERROR, 0)
    assert judgement.sentence == "could not measure: Azure Monitor answered 403"


def test_more_errors_than_stable_fail_the_canary() -> None:
    judgement = judged(((412, 17), (7834, 70)))

    assert judgement.verdict is Verdict.FAILED
    assert judgement.sentence == "failed: errors 4.1 % of 412 against 0.89 % of 7,834, evidence 13,508 ≥ 60"
    assert measured(judgement, "errors").evidence == pytest.approx(0.8 * 16885.155272788164 + 0.2)


def test_more_errors_than_the_maximum_fail_the_canary_without_stable_traffic() -> None:
    judgement = judged(((100, 30), NO_TRAFFIC))

    assert judgement.verdict is Verdict.FAILED
    assert judgement.sentence == "failed: errors 30 % of 100, maximum 5 %, evidence over 1,000,000 ≥ 60"
    assert measured(judgement, "errors").verdict is Verdict.NO_DATA


def test_more_latency_than_stable_fails_the_canary() -> None:
    slow, as_fast = ((20, 0, 0.31), (380, 0, 0.2)), ((20, 0, 0.24), (380, 0, 0.2))

    judgement = judged(*[slow] * 14, as_fast)

    assert judgement.verdict is Verdict.FAILED
    assert judgement.sentence == (
        "failed: latency P95 0.31 s against 0.20 s, worse than x1.2 in 14 of 15 minutes, evidence 321 ≥ 60"
    )


def test_more_latency_than_the_maximum_fails_the_canary_without_stable_traffic() -> None:
    judgement = judged(*[((10, 0, 0.05), NO_TRAFFIC)] * 9, by=limits(maximum_seconds=0.04))

    assert judgement.verdict is Verdict.FAILED
    assert judgement.sentence == ("failed: latency P95 50 ms, above 0.04 s in 9 of 9 minutes, evidence 173 ≥ 80")


def test_every_measure_that_failed_is_told_and_no_other() -> None:
    judgement = judged(*[((40, 20, 9.0), (400, 2, 0.01))] * 20)

    failed = [one.sentence for one in judgement.measures if one.verdict is Verdict.FAILED]
    assert judgement.sentence == f"failed: {'; '.join(failed)}"
    assert len(failed) == 3


def test_a_tolerated_ratio_of_errors_is_told() -> None:
    judgement = judged(((100, 3), (1000, 20)), by=limits(errors=2.5))

    assert measured(judgement, "errors").sentence == (
        "errors 3 % of 100 against 2 % of 1,000 (x2.5 tolerated), evidence 0.2 < 60"
    )
    assert judged(((100, 20), (1000, 20))).verdict is Verdict.FAILED
    assert judged(((100, 20), (1000, 20)), by=limits(errors=10, maximum=0.2)).verdict is Verdict.INCONCLUSIVE


def test_throttled_requests_are_told_and_not_counted() -> None:
    crowded = [Minute(at=START, canary=Counts(requests=number, throttled=1200)) for number in (0, 120, 300)]

    assert [judge([one], START, limits()).measures[0].sentence for one in crowded] == [
        "no request of the canary in this step, 1,200 more throttled (429)",
        "120 of 300 requests, 1,200 more throttled (429)",
        "300 requests, at least 300 needed, 1,200 more throttled (429)",
    ]


@pytest.mark.parametrize(
    ("canary", "stable", "is_compared"),
    [
        ((10, 0, 0.2), (10, 0, 0.2), True),
        ((9, 0, 0.2), (10, 0, 0.2), False),
        ((10, 0, 0.2), (9, 0, 0.2), False),
        ((10, 0), (10, 0, 0.2), False),
        ((10, 0, 0.2), (10, 0), False),
    ],
)
def test_latency_is_compared_in_minutes_with_enough_requests_of_both(
    canary: Given, stable: Given, is_compared: bool
) -> None:
    measure = measured(judged((canary, stable)), "latency")

    assert (measure.verdict is not Verdict.NO_DATA) is is_compared
    assert is_compared is ("in 0 of 1 minute, evidence" in measure.sentence)


def test_latency_exactly_at_its_limit_is_tolerated() -> None:
    by = limits(latency=1.5, maximum_seconds=0.3)

    judgement = judged(*[((10, 0, 0.3), (10, 0, 0.2))] * 20, by=by)

    assert "in 0 of 20 minutes" in measured(judgement, "latency").sentence
    assert "in 0 of 20 minutes" in measured(judgement, "maximum latency").sentence


def test_the_step_counts_its_own_requests_and_the_evidence_is_of_the_whole_rollout() -> None:
    rollout = minutes(((400, 1), (400, 1)), ((50, 1), (50, 1)))

    judgement = judge(rollout, START + timedelta(seconds=1), limits())

    assert (judgement.verdict, judgement.requests) == (Verdict.INCONCLUSIVE, 50)
    assert "errors 0.44 % of 450 against 0.44 % of 450" in judgement.sentence


def test_a_canary_that_turns_bad_late_fails_by_the_order_of_the_minutes() -> None:
    good, bad = ((60, 0), NO_TRAFFIC), ((60, 20), NO_TRAFFIC)

    late, long_ago = (judged(*one) for one in ([*[good] * 120, bad, bad], [bad, bad, *[good] * 120]))

    assert [one.verdict for one in (late, long_ago)] == [Verdict.FAILED, Verdict.SUCCESSFUL]
    assert [measured(one, "maximum errors").sentence for one in (late, long_ago)] == [
        "errors 0.55 % of 7,320, maximum 5 %, evidence over 1,000,000 ≥ 60",
        "errors 0.55 % of 7,320, maximum 5 %, evidence 0 < 60",
    ]


def test_minutes_without_requests_change_no_evidence() -> None:
    some = [((20, 1, 0.2), (20, 1, 0.2)), ((20, 3, 0.4), (20, 0, 0.2)), ((20, 2, 0.4), (20, 1, 0.2))]
    by, none = limits(maximum_seconds=0.3), (NO_TRAFFIC, NO_TRAFFIC)

    alone, among_others = judged(*some, by=by), judged(*(one for pair in some for one in (none, pair, none)), by=by)

    assert [one.evidence for one in among_others.measures] == [one.evidence for one in alone.measures]


def test_a_failure_of_an_earlier_step_stays_one() -> None:
    rollout = minutes(((100, 50), (1000, 0)))

    assert judge(rollout, START + timedelta(hours=1), limits()).verdict is Verdict.FAILED


def test_more_measures_and_more_looks_need_more_evidence() -> None:
    def limit(by: Judge, looks: int) -> float:
        return measured(judged(((10, 0), (10, 0)), by=by, looks=looks), "errors").limit

    with_maximum = limits(maximum_seconds=1)
    assert [limit(limits(), 1), limit(limits(), 3), limit(with_maximum, 1)] == [60, pytest.approx(180), 80]


def test_the_shown_evidence_agrees_with_the_verdict_after_rounding() -> None:
    close = [measured(judged(((4, 2), (stable, 0))), "errors") for stable in (69, 70)]

    assert [one.sentence.partition("evidence ")[2] for one in close] == ["59 < 60", "61 ≥ 60"]


@pytest.mark.parametrize(
    ("errors", "requests", "words"),
    [(1, 1_000_000, "under 0.01 %"), (1, 10_000, "0.01 %"), (3, 2000, "0.15 %"), (2, 3, "66.7 %"), (9, 9, "100 %")],
)
def test_an_error_rate_is_short_and_never_rounded_to_none(errors: int, requests: int, words: str) -> None:
    judgement = judged(((requests, errors), NO_TRAFFIC))

    assert measured(judgement, "maximum errors").sentence.startswith(f"errors {words} of {requests:,}, maximum 5 %, ")


@pytest.mark.parametrize(
    ("share", "per_hour", "hours"), [(5, 40, 150), (100, 300, 1), (50, 0.0, math.inf), (0, 40, math.inf)]
)
def test_the_hours_that_a_step_needs_follow_from_its_share(share: int, per_hour: float, hours: float) -> None:
    assert hours_needed(limits(), share, per_hour) == pytest.approx(hours)


# Rates and counts, however large

NUMBERS = st.integers(0, 30) | st.integers(0, 10**15)
COUNTS = st.tuples(NUMBERS, st.fractions(0, 1), st.none() | st.floats(0, 1e6)).map(
    lambda one: Counts(requests=one[0], errors=int(one[0] * one[1]), latency_seconds=one[2])
)
ROLLOUTS = st.lists(st.tuples(COUNTS, COUNTS), max_size=6).map(
    lambda pairs: [
        Minute(at=START + timedelta(minutes=number), canary=canary, stable=stable)
        for number, (canary, stable) in enumerate(pairs)
    ]
)
LIMITS = st.builds(
    limits, st.floats(1, 100), st.floats(1e-9, 1 - 1e-9), st.floats(1, 100), st.none() | st.floats(1e-3, 300)
)


@given(ROLLOUTS, LIMITS, st.integers(0, 7), st.integers(0, 12))
def test_every_rollout_has_a_verdict_in_words(rollout: list[Minute], by: Judge, started: int, looks: int) -> None:
    judgement = judge(rollout, START + timedelta(minutes=started), by, looks=looks)

    assert all(math.isfinite(one.evidence) and one.evidence >= 0 for one in judgement.measures)
    assert all("nan" not in one.sentence and "inf" not in one.sentence for one in judgement.measures)
    assert "\n" not in judgement.sentence
    failed = [one for one in judgement.measures[1:] if one.evidence >= one.limit]
    assert (judgement.verdict is Verdict.FAILED) is bool(failed)
    assert (judgement.verdict is Verdict.NO_DATA) is (not failed and judgement.requests == 0)
    if judgement.verdict is Verdict.SUCCESSFUL:
        assert judgement.requests >= by.minimum_requests
    assert Judgement.model_validate_json(judgement.model_dump_json()) == judgement


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20), st.integers(0, 9000), st.integers(0, 50))), LIMITS)
@example([(100, 0, 100, 0), (100, 0, 100, 50)], limits())  # a minute without errors, before one with only stable's
def test_one_more_error_of_the_canary_never_lowers_the_evidence(
    found: list[tuple[int, int, int, int]], by: Judge
) -> None:
    found = [(n_c, min(e_c, n_c), n_s, min(e_s, n_s)) for n_c, e_c, n_s, e_s in found]
    before = judged(*[((n_c, e_c), (n_s, e_s)) for n_c, e_c, n_s, e_s in found], by=by)
    for number, (n_c, e_c, _, _) in enumerate(found):
        if e_c == n_c:
            continue
        after = judged(
            *[((n, e + (place == number)), (n_s, e_s)) for place, (n, e, n_s, e_s) in enumerate(found)], by=by
        )
        for name in ("errors", "maximum errors"):
            assert measured(after, name).evidence >= measured(before, name).evidence * (1 - 1e-9)


@given(st.lists(st.booleans(), max_size=60), LIMITS)
def test_one_more_bad_minute_never_lowers_the_evidence(bad: list[bool], by: Judge) -> None:
    by = by.model_copy(update={"latency": LatencyLimits(tolerated_ratio=2, maximum_seconds=1)})
    pairs: list[tuple[Given, Given]] = [((10, 0, 3.0 if one else 0.5), (10, 0, 0.5)) for one in bad]
    before, after = judged(*pairs, by=by), judged(*pairs, ((10, 0, 3.0), (10, 0, 0.5)), by=by)

    for name in ("latency", "maximum latency"):
        assert measured(after, name).evidence >= measured(before, name).evidence


@given(st.integers(1, 10**9), st.integers(0, 10**9), LIMITS)
def test_one_error_alone_never_fails_the_canary(requests: int, of_stable: int, by: Judge) -> None:
    judgement = judged(((requests, 1), (of_stable, 0)), by=by)

    assert judgement.verdict is not Verdict.FAILED
