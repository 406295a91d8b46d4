"""Faults of a value in plain words: what is there, and what may be there instead."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rollway.masking import mask
from rollway.spec.values import did_you_mean

MOST_SHOWN = 60  # characters of a value
_HIDDEN_BELOW = frozenset({"environment_variables", "headers"})  # their values may be passwords
_KINDS: Mapping[type, str] = {dict: "a mapping", list: "a list", tuple: "a list", type(None): "nothing"}
# By the code of a fault in pydantic.
_IS_NOT = {
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping of keys and values",
    "model_type": "a mapping of keys and values",
    "model_attributes_type": "a mapping of keys and values",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_type": "text: quote it",
}
_LIMITS = {
    "missing": "is missing",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "too_short": "has {actual_length} entries, needed are {min_length}",
    "too_long": "has more than {max_length} entries",
    "greater_than_equal": "{given} is too small, allowed is {ge:g} or more",
    "greater_than": "{given} is too small, allowed is more than {gt:g}",
    "less_than_equal": "{given} is too large, allowed is {le:g} or less",
    "less_than": "{given} is too large, allowed is less than {lt:g}",
}
# By the text of a fault in marshmallow, which the SDK uses.
_IS_NOT_FOR_THE_SDK = {
    "Not a valid integer.": "a whole number",
    "Not a valid number.": "a number",
    "Not a valid boolean.": "true or false",
    "Not a valid string.": "text: quote it",
    "Not a valid mapping type.": "a mapping of keys and values",
    "Invalid input type.": "a mapping of keys and values",
    "Not a valid list.": "a list",
}
_CHOICE = re.compile(r"'([^']*)'")
_NOT_IN_SET = re.compile(r"Value .* passed is not in set (?P<allowed>\[.*\])", re.DOTALL)


def shown(value: object, path: Sequence[str] = ()) -> str:
    """Return a value as a message may show it: short, without secrets.

    Args:
        path: Keys that lead to it. Values of environment variables and headers are never shown.
    """
    if type(value) in _KINDS:
        return _KINDS[type(value)]
    if _HIDDEN_BELOW.intersection(path):
        return "its value"
    return shortened(mask(repr(value)), MOST_SHOWN)


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters; `…` stands for the rest."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def not_allowed(value: object, choices: Sequence[str], path: Sequence[str] = ()) -> str:
    """Return the words for a value that is none of the allowed ones."""
    *others, last = map(repr, choices)
    allowed = f"{', '.join(others)} or {last}" if others else last
    close = did_you_mean(value, choices) if isinstance(value, str) else ""
    return f"{shown(value, path)} is not allowed: write {allowed}{close}"


def in_words(details: Mapping[str, Any], path: Sequence[str], patterns: Mapping[str, str]) -> str:
    """Return the words for a fault that pydantic found.

    Args:
        details: One of `ValidationError.errors()`.
        path: Keys of the file that lead to the value.
        patterns: What a text must be, in words, by the pattern that it must match.
    """
    kind, given, limits = details["type"], shown(details["input"], path), details.get("ctx", {})
    if kind in _IS_NOT:
        return f"{given} is not {_IS_NOT[kind]}"
    if kind == "literal_error":
        choices = _CHOICE.findall(limits["expected"])
        if not choices:  # numbers
            return f"{given} is not allowed: write {limits['expected']}"
        return not_allowed(details["input"], choices, path)
    if kind == "string_pattern_mismatch":
        return f"{given} is not {patterns.get(limits['pattern'], limits['pattern'])}"
    if kind in _LIMITS:
        return _LIMITS[kind].format(given=given, **limits)
    return str(details["msg"]).removeprefix("Value error, ")


def in_words_of_the_sdk(text: str, value: object, path: Sequence[str]) -> str:
    """Return the words for a fault that the SDK's schema found.

    Args:
        text: Its text.
        value: The value in the file.
        path: Keys of the file that lead to it.
    """
    if text in _IS_NOT_FOR_THE_SDK:
        return f"{shown(value, path)} is not {_IS_NOT_FOR_THE_SDK[text]}"
    if match := _NOT_IN_SET.fullmatch(text):
        return not_allowed(value, _CHOICE.findall(match["allowed"]), path)
    if text == "Missing data for required field.":
        return "is missing"
    if text == "Field may not be null.":
        return "has no value"
    return text
