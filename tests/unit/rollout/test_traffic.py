"""Arithmetic on traffic maps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout import traffic

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,4}", fullmatch=True)
MAPS = st.dictionaries(NAMES, st.integers(0, 100), max_size=6)


@given(MAPS)
def test_letter_case_and_entries_without_weight_do_not_count(weights: dict[str, int]) -> None:
    other = {name.upper(): weight for name, weight in weights.items()} | {"absent": 0}

    assert traffic.is_same(weights, other)


@pytest.mark.parametrize("other", [{"blue": 90, "green": 10}, {"green": 100}, {}])
def test_other_weights_or_names_are_other_traffic(other: dict[str, int]) -> None:
    assert not traffic.is_same({"blue": 100}, other)


@given(MAPS)
def test_the_heaviest_comes_first_and_the_idle_not_at_all(weights: dict[str, int]) -> None:
    served = traffic.served_by(weights)

    assert [weights[name] for name in served] == sorted((one for one in weights.values() if one), reverse=True)


@given(NAMES)
def test_one_that_serves_everything_gets_a_hundred_percent(name: str) -> None:
    assert sum(traffic.all_to(name).values()) == 100
    assert traffic.served_by(traffic.all_to(name)) == (name,)


SHARES = st.integers(0, 100).flatmap(
    lambda first: st.integers(0, 100 - first).map(
        lambda second: {"blue": first, "green": second, "red": 100 - first - second}
    )
)


@pytest.mark.parametrize(
    ("today", "weight", "then"),
    [
        ({}, 10, {"new": 100}),
        ({"blue": 100}, 100, {"new": 100}),
        ({"blue": 100}, 10, {"blue": 90, "new": 10}),
        ({"Blue": 100}, 10, {"blue": 90, "new": 10}),
        ({"blue": 60, "green": 40}, 10, {"blue": 54, "green": 36, "new": 10}),
        ({"blue": 60, "green": 40}, 99, {"blue": 1, "new": 99}),
        ({"blue": 90, "new": 10}, 50, {"blue": 50, "new": 50}),
        ({"blue": 50, "new": 50}, 10, {"blue": 90, "new": 10}),
        ({"new": 100}, 10, {"new": 100}),
        ({"NEW": 100}, 10, {"new": 100}),
    ],
)
def test_one_gets_its_weight_and_what_serves_keeps_the_rest(
    today: dict[str, int], weight: int, then: dict[str, int]
) -> None:
    assert traffic.shift(today, "new", weight) == then


@given(SHARES, st.integers(1, 100), st.sampled_from(["new", "blue", "Green"]))
def test_however_it_is_shifted_everything_is_served_and_by_nobody_new(
    today: dict[str, int], weight: int, name: str
) -> None:
    then = traffic.shift(today, name, weight)

    others = {other for other, share in today.items() if share and other != name.lower()}
    assert sum(then.values()) == 100
    assert min(then.values()) > 0
    assert set(then) - {name} <= others
    assert then[name] == (weight if others else 100)


@given(SHARES, st.integers(1, 99))
def test_the_rest_stays_in_its_proportions_to_within_rounding(today: dict[str, int], weight: int) -> None:
    then = traffic.shift(today, "new", weight)

    for name, share in today.items():
        assert abs(then.get(name, 0) - share * (100 - weight) / 100) < len(today)


@pytest.mark.parametrize(
    ("weights", "text"), [({"blue": 10, "green": 90, "red": 0}, "green 90 %, blue 10 %"), ({}, "none")]
)
def test_people_read_names_and_percents(weights: dict[str, int], text: str) -> None:
    assert traffic.describe(weights) == text


def test_a_map_whose_names_have_capitals_can_be_described() -> None:
    assert traffic.describe({"Blue": 100}) == "blue 100 %"
