"""The arithmetic behind the verdicts and the reports.

The values are those of statsmodels 0.15.0 and scipy 1.17.1, which were run once: the project does not install them.
"""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.evidence import (
    FIRST_START,
    RATIOS,
    Counts,
    Difference,
    Minute,
    compare_error_rates,
    newcombe,
    weigh,
    wilson,
)

START = datetime(2026, 11, 30, 12, tzinfo=UTC)


def counts(requests: int, errors: int) -> Counts:
    return Counts(requests=requests, errors=errors)


@pytest.mark.parametrize(
    ("errors", "requests", "low", "high"),
    [
        (0, 10, 0.0, 0.27753279986288926),
        (10, 10, 0.7224672001371106, 1.0),
        (17, 412, 0.02591921920693177, 0.06508050681367868),
        (1, 7834, 2.2533487244059914e-05, 0.0007227557421164241),
        (3, 300, 0.0034066184377152826, 0.028983493362339838),
        (0, 1_000_000, 0.0, 3.841444063944944e-06),
    ],
)
def test_wilsons_interval_is_that_of_statsmodels(errors: int, requests: int, low: float, high: float) -> None:
    """Compare with `proportion_confint(errors, requests, method="wilson")`."""
    assert wilson(Counts(requests=requests, errors=errors)) == pytest.approx((low, high), rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(
    ("canary", "stable", "low", "high"),
    [
        ((412, 17), (7834, 70), 0.01680671625384269, 0.056217339619251926),
        ((10, 0), (1000, 0), -0.003826758485555125, 0.27753279986288926),
        ((10, 10), (10, 0), 0.6075093504305241, 1.0),
        ((70, 56), (80, 48), 0.05243147240236498, 0.33387265403690614),  # also in Newcombe's paper, table II
        ((10, 9), (10, 3), 0.1705227239345029, 0.809017973535488),
        ((56, 5), (29, 0), -0.038137147903536936, 0.19256001385511165),
        ((100_000, 1), (1_000_000, 30), -3.524200085141754e-05, 2.750451374644583e-05),
    ],
)
def test_newcombes_interval_is_that_of_statsmodels(
    canary: tuple[int, int], stable: tuple[int, int], low: float, high: float
) -> None:
    """Compare with `confint_proportions_2indep(..., method="newcomb", compare="diff")`."""
    found = newcombe(counts(*canary), counts(*stable))

    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-15)
    assert found.value == pytest.approx(canary[1] / canary[0] - stable[1] / stable[0])


@pytest.mark.parametrize(
    ("bad", "tries", "odds", "evidence"),
    [
        (2, 2, 0.05 / 0.95, 84.47888001334252),
        (17, 87, 412 / 7834, 16885.155272788164),
        (9, 10, 1.0, 20.28594670977712),
        (7, 7, 1.0, 56.41927166560343),
        (30, 412, 0.05 / 0.95, 1.1651452173722932),
        (0, 300, 0.05 / 0.95, 7.586914122980513e-05),
        (5, 1000, 0.25, 3.843095264167795e-42),
    ],
)
def test_the_evidence_is_a_mean_of_ratios_of_binomial_probabilities(
    bad: int, tries: int, odds: float, evidence: float
) -> None:
    """Compare with the mean of `exp(binom.logpmf(bad, tries, worse) - binom.logpmf(bad, tries, at_limit))`.

    It has the prior of the first trial. The processes that start later are still 1.
    """
    assert weigh([(bad, tries, odds)]) == pytest.approx(0.8 * evidence + 0.2, rel=1e-9)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 90), st.floats(1e-3, 1e3)), max_size=8))
def test_the_evidence_of_several_trials_is_a_mean_over_their_starts(found: list[tuple[int, int, float]]) -> None:
    found = [(min(bad, tries), tries, odds) for bad, tries, odds in found]

    def chance(started: list[tuple[int, int, float]], ratio: float) -> float:
        shares = [(bad, tries, ratio * odds / (1 + ratio * odds)) for bad, tries, odds in started]
        return sum(bad * math.log(share) + (tries - bad) * math.log(1 - share) for bad, tries, share in shares)

    priors = [FIRST_START if not start else (1 - FIRST_START) / (start * (start + 1)) for start in range(len(found))]
    expected = 1 - sum(priors)
    for start, prior in enumerate(priors):
        logs = [chance(found[start:], ratio) - chance(found[start:], 1) for ratio in RATIOS]
        expected += prior * sum(math.exp(min(one, 690)) for one in logs) / len(RATIOS)
    assert min(weigh(found), 1e290) == pytest.approx(min(expected, 1e290), rel=1e-6)


def test_the_evidence_of_many_trials_has_no_overflow() -> None:
    assert weigh([(10**15, 10**15, 1e-9)] * 3) == pytest.approx(math.exp(700))
    assert weigh([(0, 10**15, 1e9)] * 3) == pytest.approx(0.2 / 3)
    assert weigh([]) == 1


def test_the_difference_of_the_error_rates_is_told_in_points() -> None:
    pairs = [((150, 2), (1000, 9)), ((99, 9), (0, 0)), ((0, 0), (500, 20)), ((150, 2), (1000, 9))]
    both = [Minute(at=START, canary=counts(*canary), stable=counts(*stable)) for canary, stable in pairs]

    difference = compare_error_rates(both)

    assert difference == newcombe(Counts(requests=300, errors=4), Counts(requests=2000, errors=18))
    assert str(difference and difference.sentence) == "errors +0.4 points, -0.5 to +2.5"
    assert compare_error_rates(both[1:3]) is None
    assert Difference(value=-0.02, low=-0.0301, high=0).sentence == "errors -2.0 points, -3.0 to +0.0"
