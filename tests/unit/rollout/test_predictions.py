"""The comparison of the answers of stable and the canary."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from rollway.rollout.predictions import (
    Comparison,
    Trio,
    Verdict,
    compare,
    lower_end,
    spread,
)
from rollway.rollout.smoke import Measurement, NoAnswer
from rollway.spec import Predictions, Tolerance
from tests.support.builders import measurement

SILENCE = NoAnswer(why="no answer within 15 s", is_timeout=True)
Answer = Measurement | NoAnswer


def answer(body: JsonValue) -> Measurement:
    return measurement(body=body)


def trio(canary: Answer | JsonValue = 1, stable_again: Answer | JsonValue = 1, stable: Answer | JsonValue = 1) -> Trio:
    """Return the answers to a request; by default all are the same."""
    stable, again, other = (
        one if isinstance(one, Measurement | NoAnswer) else answer(one) for one in (stable, stable_again, canary)
    )
    return Trio(stable=stable, stable_again=again, canary=other)


def compared(alike: int, *others: Trio, **wanted: Any) -> Comparison:
    """Compare some requests that are answered alike, and others."""
    return compare([*[trio()] * alike, *others], Predictions(requests="r.jsonl", **wanted))


@pytest.mark.parametrize(
    ("count", "sample", "expected"),
    [
        (3, 5, (0, 1, 2)),
        (5, 5, (0, 1, 2, 3, 4)),
        (10, 5, (0, 2, 4, 6, 8)),
        (10, 3, (0, 3, 6)),
        (10, 1, (0,)),
        (0, 5, ()),
    ],
)
def test_a_sample_is_evenly_spread(count: int, sample: int, expected: tuple[int, ...]) -> None:
    assert spread(range(count), sample) == expected


@given(st.integers(0, 300), st.integers(1, 300))
def test_a_sample_has_no_request_twice_and_keeps_the_order(count: int, sample: int) -> None:
    found = spread(range(count), sample)

    assert len(found) == min(count, sample)
    assert list(found) == sorted(set(found))
    assert len({b - a for a, b in itertools.pairwise(found)}) <= 2


def test_enough_agreement_is_told_with_the_numbers() -> None:
    comparison = compared(199, trio(canary=2))

    assert (comparison.verdict, comparison.agreement) == (Verdict.AGREES, 0.995)
    assert comparison.sentence == (
        "answers agree for 99.5 % of 200 requests, at least 98 % are demanded; stable disagrees with itself in 0"
    )


def test_too_little_agreement_is_told_with_the_numbers() -> None:
    comparison = compared(185, *[trio(canary=2)] * 14, trio(canary=2, stable_again=2))

    assert (comparison.verdict, comparison.disagreements, comparison.noise) == (Verdict.DISAGREES, 15, 1)
    assert comparison.sentence == (
        "answers agree for 92.5 % of 200 requests, at least 98 % are demanded; stable disagrees with itself in 1"
    )
    assert comparison.excess == 0.07
    assert 0.02 < comparison.lowest_excess < 0.07


def test_the_share_is_never_rounded_up() -> None:
    assert "for 99.9 % of 1001 requests" in compared(1000, trio(canary=2)).sentence


def test_a_model_that_disagrees_with_itself_is_no_canary_that_disagrees() -> None:
    comparison = compared(100, *[trio(canary=2, stable_again=3)] * 100)

    assert comparison.verdict is Verdict.AGREES
    assert comparison.largest == ()
    assert comparison.sentence == (
        "answers agree for 50 % of 200 requests, at least 98 % are demanded; stable disagrees with itself in 100, "
        "which explains it"
    )


def test_disagreements_that_can_be_chance_give_no_verdict_against_the_canary() -> None:
    comparison = compared(47, *[trio(canary=2)] * 3)

    assert comparison.verdict is Verdict.AGREES
    assert comparison.sentence == (
        "answers agree for 94 % of 50 requests, at least 98 % are demanded; stable disagrees with itself in 0, and "
        "the rest can be chance"
    )


@pytest.mark.parametrize(("requests", "counted"), [(49, "49 requests"), (1, "1 request"), (0, "0 requests")])
def test_too_few_requests_give_no_verdict(requests: int, counted: str) -> None:
    comparison = compared(0, *[trio(canary=2)] * requests)

    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.sentence == f"only {counted} can be compared, at least 50 are needed"
    assert comparison.agreement == (0.0 if requests else None)


@pytest.mark.parametrize(
    "left_out",
    [trio(stable=SILENCE), trio(stable_again=SILENCE), trio(stable=measurement(status=503), canary=SILENCE)],
)
def test_requests_that_stable_does_not_answer_twice_tell_nothing(left_out: Trio) -> None:
    comparison = compared(50, *[left_out] * 3)

    assert (comparison.compared, comparison.not_comparable, comparison.disagreements) == (50, 3, 0)
    assert comparison.sentence.endswith("disagrees with itself in 0; 3 more left out, because stable did not answer")
    assert compared(49, left_out).sentence == (
        "only 49 requests can be compared, at least 50 are needed; 1 more left out, because stable did not answer"
    )


@pytest.mark.parametrize(
    ("canary", "text"),
    [
        (SILENCE, "no answer within 15 s"),
        (measurement(status=424, body=1), "status 424"),
        (NoAnswer(why="no connection: https://x?sig=abcdef0123"), "no connection: https://x?sig=***"),
    ],
)
def test_a_missing_answer_of_the_canary_is_a_disagreement(canary: Answer, text: str) -> None:
    comparison = compared(50, trio(canary=canary))

    (difference,) = comparison.largest
    assert comparison.disagreements == 1
    assert (difference.request, difference.path) == (51, "$")
    assert (difference.stable, difference.canary) == ("status 200", text)


def test_the_five_largest_differences_are_shown() -> None:
    numbers = [trio(stable=100.0, stable_again=100.0, canary=100.0 + size) for size in range(2, 9)]

    comparison = compared(1, *numbers, trio(canary="x"))

    assert [(one.request, one.stable, one.canary) for one in comparison.largest] == [
        (9, "1", '"x"'),
        (8, "100.0", "108.0"),
        (7, "100.0", "107.0"),
        (6, "100.0", "106.0"),
        (5, "100.0", "105.0"),
    ]
    assert [one.size for one in comparison.largest] == [None, 8.0, 7.0, 6.0, 5.0]


def test_differences_that_stable_has_from_itself_are_not_shown() -> None:
    bodies: list[JsonValue] = [{"a": 1, "b": [1]}, {"a": 2, "b": [1]}, {"a": 3, "b": [1, 2], "c d": 1}]
    answers = [answer(body) for body in bodies]

    comparison = compared(0, Trio(stable=answers[0], stable_again=answers[1], canary=answers[2]))

    assert [(one.path, one.stable, one.canary) for one in comparison.largest] == [
        ("$.b", "1 item", "2 items"),
        ("$['c d']", "(missing)", "1"),
    ]
    assert (comparison.disagreements, comparison.noise) == (1, 1)


def test_secrets_are_masked_and_long_values_are_cut() -> None:
    stable: JsonValue = {"auth": {"password": "hunter2hunter2"}, "text": "a", "url": "x"}
    canary: JsonValue = {
        "auth": {"password": "hunter3hunter3"},
        "text": "long\n" * 100,
        "url": "https://x?sig=abcdef0123",
    }

    comparison = compared(0, trio(stable=stable, stable_again=stable, canary=canary))

    password, text, url = comparison.largest
    assert (password.path, password.canary) == ("$.auth.password", '"***"')
    assert (len(text.canary), text.canary[-2:]) == (80, " …")
    assert url.canary == '"https://x?sig=***"'
    assert "hunter" not in comparison.model_dump_json()


def test_ignored_fields_and_the_tolerance_are_those_of_the_file() -> None:
    other = trio(stable={"id": 1, "y": 1.0}, stable_again={"id": 2, "y": 1.2}, canary={"id": 3, "y": 1.5})

    assert compared(0, other, ignore=("$.id",), tolerance=Tolerance(absolute=0.5)).disagreements == 0
    assert compared(0, other, tolerance=Tolerance(absolute=0.5)).disagreements == 1


# Whole requests of which the canary, stable, both or none disagreed.
KINDS = [trio(), trio(canary=2), trio(stable_again=2), trio(canary=2, stable_again=2)]
WORSE = {Verdict.AGREES: 0, Verdict.DISAGREES: 1}


@given(
    st.lists(st.sampled_from([0, 0, 0, 1, 2, 3]), min_size=1, max_size=120),
    st.sampled_from([0.5, 0.9, 0.98, 1.0]),
    st.data(),
)
def test_one_more_disagreement_never_makes_the_verdict_better(kinds: list[int], minimum: float, data: Any) -> None:
    number = data.draw(st.integers(0, len(kinds) - 1))
    more = {0: 1, 2: 3}.get(kinds[number], kinds[number])
    wanted = {"minimum_agreement": minimum, "minimum_requests": 1}

    before = compared(0, *[KINDS[one] for one in kinds], **wanted)
    after = compared(0, *[KINDS[one] for one in [*kinds[:number], more, *kinds[number + 1 :]]], **wanted)

    assert WORSE[before.verdict] <= WORSE[after.verdict]


def test_the_interval_is_the_published_one() -> None:
    # Fagerland, Lydersen, Laake 2014 (airway hyper-responsiveness, Bentur 2009): -0.517 to -0.026, two-sided 95 %.
    assert round(lower_end(7, 1, 21, confidence=0.975), 3) == 0.026
    assert round(lower_end(1, 7, 21, confidence=0.975), 3) == -0.517
    # R's PropCIs::scoreci.mp(25, 28, 618, 0.90): -0.0148 to 0.0247, that is one-sided 95 % on both ends.
    assert round(lower_end(28, 25, 618), 4) == -0.0148
    assert round(lower_end(25, 28, 618), 4) == -0.0247


def brute_force_score(more: int, less: int, count: int, difference: float) -> float:
    """Return the statistic with the nuisance share found by trying: the most likely one of 100 000."""
    low, high = max(0.0, -difference), (1 - difference) / 2

    def likelihood(second: float) -> float:
        shares = [(more, second + difference), (less, second), (count - more - less, 1 - 2 * second - difference)]
        return sum(seen * math.log(max(share, 1e-300)) for seen, share in shares if seen)

    steps = 100_000
    second = max((low + (high - low) * step / steps for step in range(steps + 1)), key=likelihood)
    return (more - less - count * difference) / math.sqrt(count * (2 * second + difference - difference**2))


@pytest.mark.parametrize(("more", "less", "count"), [(14, 1, 200), (5, 0, 50), (0, 3, 50), (10, 12, 60)])
def test_at_its_lower_end_the_most_likely_shares_are_95_percent_away(more: int, less: int, count: int) -> None:
    score = brute_force_score(more, less, count, lower_end(more, less, count))

    assert score == pytest.approx(1.6449, abs=0.002)


@pytest.mark.parametrize(("more", "less"), [(9, 2), (3, 0), (40, 20)])
def test_at_no_difference_the_interval_ends_where_mcnemars_test_does(more: int, less: int) -> None:
    mcnemar = (more - less) / math.sqrt(more + less)

    assert (lower_end(more, less, 200) > 0) is (mcnemar > 1.6449)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_the_lower_end_is_below_the_difference(more: int, less: int, others: int) -> None:
    count = more + less + others

    assert -1 <= lower_end(more, less, count) <= ((more - less) / count if count else 0)
