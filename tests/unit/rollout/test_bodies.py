"""The differences of two JSON bodies."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from rollway.rollout.bodies import differences, parse_pattern
from rollway.spec import Tolerance

EXACT = Tolerance(absolute=0, relative=0)
NUMBERS = st.integers() | st.floats()
BODIES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)
TOLERANCES = st.builds(Tolerance, absolute=st.floats(0, 10, allow_nan=False), relative=st.floats(0, 1, allow_nan=False))


def places(stable: JsonValue, canary: JsonValue, *ignore: str, tolerance: Tolerance = EXACT) -> list[tuple[Any, ...]]:
    return [one.path for one in differences(stable, canary, tolerance, [parse_pattern(pattern) for pattern in ignore])]


@pytest.mark.parametrize(
    ("stable", "canary", "expected"),
    [
        ({"a": [1, 2]}, {"a": [1, 3]}, [("a", 1)]),
        ({"a": [1, 2]}, {"a": [1]}, [("a",)]),
        ({"a": [1, 2]}, {"a": [0]}, [("a",), ("a", 0)]),
        ({"a": 1}, {"b": 1}, [("a",), ("b",)]),
        ({"a": None}, {}, [("a",)]),
        ([1], {"0": 1}, [()]),
        (True, 1, [()]),
        (0, False, [()]),
        (0, None, [()]),
        (1, "1", [()]),
        ("a", "b", [()]),
        (math.nan, 1.0, [()]),
        (math.inf, -math.inf, [()]),
        (2**53, 2**53 + 1, [()]),
        (10**400, 1.0, [()]),
        (10**400, 10**400 + 1, [()]),
        (1, 1.0, []),
        (math.inf, math.inf, []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
    ],
)
def test_everything_but_the_order_of_keys_is_compared(
    stable: JsonValue, canary: JsonValue, expected: list[tuple[Any, ...]]
) -> None:
    assert places(stable, canary) == expected


@pytest.mark.parametrize(
    ("stable", "canary", "agrees"),
    [
        (0.0, 0.5, True),
        (0.0, 0.51, False),
        (100.0, 110.0, True),
        (100.0, 110.1, False),
        (-100.0, -110.0, True),
        (-100.0, 100.0, False),
        (math.inf, 5.0, False),
        (5.0, math.inf, False),
    ],
)
def test_numbers_agree_within_one_of_both_tolerances(stable: float, canary: float, agrees: bool) -> None:
    assert (places(stable, canary, tolerance=Tolerance(absolute=0.5, relative=0.1)) == []) is agrees


def test_the_size_of_a_difference_is_a_multiple_of_the_tolerance() -> None:
    tolerance = Tolerance(absolute=0.5, relative=0.1)
    pairs: list[tuple[JsonValue, JsonValue]] = [(1.0, 3.0), (10.0, 13.0), (1.0, "3")]

    sizes = [next(differences(left, right, tolerance)).size for left, right in pairs]

    assert sizes == [4.0, 3.0, None]
    assert next(differences(1, 2, EXACT)).size is None


@given(BODIES, TOLERANCES)
def test_a_body_agrees_with_itself(body: JsonValue, tolerance: Tolerance) -> None:
    assert list(differences(body, body, tolerance)) == []


@given(BODIES, BODIES, st.floats(0, 10, allow_nan=False))
def test_with_an_absolute_tolerance_agreement_is_symmetric(left: JsonValue, right: JsonValue, absolute: float) -> None:
    tolerance = Tolerance(absolute=absolute, relative=0)

    assert sorted(map(repr, places(left, right, tolerance=tolerance))) == sorted(
        map(repr, places(right, left, tolerance=tolerance))
    )


@given(NUMBERS, NUMBERS, TOLERANCES, TOLERANCES)
def test_a_larger_tolerance_never_adds_a_difference(
    left: float, right: float, one: Tolerance, other: Tolerance
) -> None:
    larger = Tolerance(absolute=max(one.absolute, other.absolute), relative=max(one.relative, other.relative))

    assert len(places(left, right, tolerance=larger)) <= len(places(left, right, tolerance=one))


KEYS = st.sampled_from(["a", "b", "a b", "x.y"])
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.integers(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def written(path: tuple[str | int, ...]) -> str:
    return "$" + "".join(f"[{part!r}]" for part in path)


@given(DOCUMENTS, DOCUMENTS, st.data())
def test_ignoring_a_path_removes_exactly_its_differences(stable: JsonValue, canary: JsonValue, data: Any) -> None:
    everything = [path for path in places(stable, canary) if path]
    if not everything:
        return
    chosen = data.draw(st.sampled_from(everything))
    chosen = chosen[: data.draw(st.integers(1, len(chosen)))]

    kept = [path for path in places(stable, canary) if path[: len(chosen)] != chosen]

    assert places(stable, canary, written(chosen)) == kept


@pytest.mark.parametrize(
    ("pattern", "ignored"),
    [
        ("$.id", {("id",)}),
        ("$.timings.*", {("timings", "total"), ("timings", "new")}),
        ("$.timings", {("timings", "total"), ("timings", "new")}),
        ("$.rows[*].id", {("rows", 0, "id"), ("rows", 1, "id")}),
        ("$.rows.*.id", {("rows", 0, "id"), ("rows", 1, "id")}),
        ("$.rows[1]['id']", {("rows", 1, "id")}),
        ("$.rows['1'].id", set()),
        ('$["a.b"]', {("a.b",)}),
        ("$.a.b", set()),
        ("$.total", set()),
    ],
)
def test_a_pattern_ignores_the_field_and_everything_in_it(pattern: str, ignored: set[tuple[Any, ...]]) -> None:
    stable: JsonValue = {"id": 1, "timings": {"total": 1}, "rows": [{"id": 1}, {"id": 2}], "a.b": 1}
    canary: JsonValue = {"id": 2, "timings": {"total": 2, "new": 1}, "rows": [{"id": 3}, {"id": 4}], "a.b": 2}

    assert set(places(stable, canary)) - set(places(stable, canary, pattern)) == ignored


def test_an_ignored_list_item_does_not_hide_the_length() -> None:
    assert places({"rows": [1]}, {"rows": [2, 3]}, "$.rows[*]") == [("rows",)]


@pytest.mark.parametrize("pattern", ["$", "", "id", "$.", "$..id", "$.a[", "$.a[-1]", "$ .a", "$.a b", "$['a'"])
def test_an_invalid_pattern_is_refused_with_examples(pattern: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_pattern(pattern)

    assert str(caught.value) == (f"{pattern!r} is not a path such as $.request_id, $.timings.* or $.predictions[*].id")
