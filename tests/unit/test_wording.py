"""Faults of values in plain words, whatever stands at whatever key."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from rollway.spec import RolloutFile, parse_rollout_file
from rollway.spec.wording import MOST_SHOWN, in_words_of_the_sdk, not_allowed, shown

SCHEMA = RolloutFile.model_json_schema()
VALUES: list[Any] = [None, True, 0, -1, 1.5, 10**9, "", "x", "canary", [], [1], {}, {"x": 1}, [{"x": 1}], ["x"]]
WORDS_OF_PYDANTIC = ("Input should", "String should", "should have", "should match", "Field required", "Value error")


def paths(part: Mapping[str, Any], before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield every path of rollout.yml; 0 stands for the first item of a list."""
    if "$ref" in part:
        part = SCHEMA["$defs"][part["$ref"].rpartition("/")[2]]
    for one in [*part.get("anyOf", ()), *part.get("oneOf", ())]:
        yield from paths(one, before)
    for key, inner in part.get("properties", {}).items():
        yield (*before, key)
        yield from paths(inner, (*before, key))
        if "items" in inner:
            yield from paths(inner["items"], (*before, key, 0))


def with_value(document: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return a document in which a value stands at a path."""
    key, *rest = path
    if not rest:
        return {**document, str(key): value}
    if rest[0] == 0:
        inner: object = [with_value({}, tuple(rest[1:]), value)] if rest[1:] else [value]
    else:
        below = document.get(str(key))
        inner = with_value(below if isinstance(below, dict) else {}, tuple(rest), value)
    return {**document, str(key): inner}


@pytest.mark.parametrize("path", sorted(set(paths(SCHEMA)), key=str), ids=lambda path: ".".join(map(str, path)))
def test_a_wrong_value_is_told_in_our_words_at_its_place(path: tuple[str | int, ...]) -> None:
    start = {"smoke_test": {"request_file": "r"}, "strategy": "progressive"}
    for value in VALUES:
        found = parse_rollout_file(with_value(start, path, value), "rollout.yml")
        for problem in found if isinstance(found, list) else ():
            assert not any(words in problem.message for words in WORDS_OF_PYDANTIC), problem
            assert problem.field.startswith(str(path[0]))


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ("one", (), "'one'"),
        (7, (), "7"),
        ([1], (), "a list"),
        ({}, (), "a mapping"),
        (None, (), "nothing"),
        ("hunter22", ("environment_variables", "PASSWORD"), "its value"),
        ("hunter22", ("smoke_test", "headers", "X-Key"), "its value"),
        ("password=hunter22-abc", (), "'password=***'"),
    ],
)
def test_a_value_is_shown_unless_it_may_be_secret(value: object, path: tuple[str, ...], words: str) -> None:
    assert shown(value, path) == words


def test_a_long_value_is_cut() -> None:
    assert (len(shown("x" * 1000)), shown("x" * 1000)[-1]) == (MOST_SHOWN, "…")


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (["a"], "'x' is not allowed: write 'a'"),
        (["a", "b"], "'x' is not allowed: write 'a' or 'b'"),
        (["a", "b", "xx"], "'x' is not allowed: write 'a', 'b' or 'xx', did you mean 'xx'?"),
    ],
)
def test_what_is_allowed_is_listed(choices: list[str], words: str) -> None:
    assert not_allowed("x", choices) == words


def test_an_unknown_text_of_the_sdk_stays_as_it_is() -> None:
    assert in_words_of_the_sdk("It says something else.", 1, ["x"]) == "It says something else."
