"""The comparison of predictions, as people read it."""

import pytest

from rollway.reports.predictions import markdown
from rollway.rollout.predictions import Comparison, Difference, Verdict


def comparison(verdict: Verdict = Verdict.DISAGREES, *largest: Difference) -> Comparison:
    return Comparison(
        verdict=verdict,
        compared=200,
        not_comparable=0,
        disagreements=14,
        noise=1,
        lowest_excess=0.04,
        minimum_agreement=0.98,
        minimum_requests=50,
        largest=largest,
    )


def test_the_result_and_the_largest_differences_are_shown() -> None:
    rows = (
        Difference(request=7, path="$.predictions[3]", stable="1.0", canary="2.0", size=123.456),
        Difference(request=9, path="$['a|b']", stable='"x`y"', canary="(missing)"),
    )

    assert markdown(comparison(Verdict.DISAGREES, *rows)).splitlines() == [
        "**The canary disagrees with stable:** answers agree for 93 % of 200 requests, at least 98 % are demanded; "
        "stable disagrees with itself in 1.",
        "",
        "Largest differences:",
        "",
        "| request | path | stable | canary | times the tolerance |",
        "|---|---|---|---|---|",
        "| 7 | `$.predictions[3]` | `1.0` | `2.0` | 123 |",
        "| 9 | `$['a\\|b']` | `\"x'y\"` | `(missing)` |  |",
    ]


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [
        (Verdict.AGREES, "**The canary agrees with stable:** answers agree for"),
        (Verdict.DISAGREES, "**The canary disagrees with stable:** answers agree for"),
        (Verdict.INCONCLUSIVE, "**The canary cannot be judged:** only 200 requests can be compared"),
    ],
)
def test_each_verdict_has_its_headline_and_no_table_without_differences(verdict: Verdict, headline: str) -> None:
    text = markdown(comparison(verdict))

    assert text.startswith(headline)
    assert "\n" not in text
