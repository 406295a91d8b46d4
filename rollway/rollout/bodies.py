"""The differences of two JSON bodies, with a tolerance for numbers and fields that may differ."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard

from pydantic import JsonValue

from rollway.spec import Tolerance

Place = tuple[str | int, ...]  # of a value in a body: keys and positions from the outside in

_PATTERN = re.compile(r"\$(?:\.(?:\*|[^\s.\[\]'\"*]+)|\[(?:\*|\d+|'[^']*'|\"[^\"]*\")\])+")
_PATTERN_PART = re.compile(r"\.([^.\[\]]+)|\[(?:(\*)|(\d+)|'([^']*)'|\"([^\"]*)\")\]")
_PLAIN_KEY = re.compile(r"[\w-]+")


class Words(str):
    """A text about a value, in contrast to a text that is the value."""


MISSING = Words("(missing)")


class Pattern(NamedTuple):
    """A field that may differ, with everything in it; None stands for any key or position."""

    parts: tuple[str | int | None, ...]

    def covers(self, path: Place) -> bool:
        """Return True if a path is this field or lies in it."""
        return len(path) >= len(self.parts) and all(
            wanted is None or wanted == found for wanted, found in zip(self.parts, path, strict=False)
        )


class BodyDifference(NamedTuple):
    """A place at which two bodies differ.

    Attributes:
        size: For two numbers, their difference as a multiple of the tolerance; None for everything else.
    """

    path: Place
    stable: JsonValue
    canary: JsonValue
    size: float | None = None


def differences(
    stable: JsonValue,
    canary: JsonValue,
    tolerance: Tolerance,
    ignore: Sequence[Pattern] = (),
    path: Place = (),
) -> Iterator[BodyDifference]:
    """Yield the places at which two bodies differ.

    Numbers agree within `tolerance.absolute` or `tolerance.relative`; everything else must be equal. Two lists of
    different length differ by it, and are compared as far as both go.
    """
    if any(pattern.covers(path) for pattern in ignore):
        return
    if isinstance(stable, dict) and isinstance(canary, dict):
        for key in (*stable, *(key for key in canary if key not in stable)):
            inner = (*path, key)
            if key in stable and key in canary:
                yield from differences(stable[key], canary[key], tolerance, ignore, inner)
            elif not any(pattern.covers(inner) for pattern in ignore):
                yield BodyDifference(inner, stable.get(key, MISSING), canary.get(key, MISSING))
    elif isinstance(stable, list) and isinstance(canary, list):
        if len(stable) != len(canary):
            yield BodyDifference(path, _length(stable), _length(canary))
        for number, (left, right) in enumerate(zip(stable, canary, strict=False)):
            yield from differences(left, right, tolerance, ignore, (*path, number))
    elif not _agree(stable, canary, tolerance):
        yield BodyDifference(path, stable, canary, _size(stable, canary, tolerance))


def parse_pattern(text: str) -> Pattern:
    """Return a pattern such as `$.request_id`, `$.timings.*` or `$.predictions[*].id`; raises ValueError."""
    if not _PATTERN.fullmatch(text):
        raise ValueError(f"{text!r} is not a path such as $.request_id, $.timings.* or $.predictions[*].id")
    return Pattern(tuple(_part(match) for match in _PATTERN_PART.finditer(text)))


def path_text(path: Place) -> str:
    """Return a path such as `$.predictions[3]`."""
    parts = (f"[{part}]" if isinstance(part, int) else _key_text(part) for part in path)
    return "$" + "".join(parts)


def _key_text(key: str) -> str:
    return f".{key}" if _PLAIN_KEY.fullmatch(key) else f"[{key!r}]"


def _part(match: re.Match[str]) -> str | int | None:
    plain, star, position, *quoted = match.groups()
    if star or plain == "*":
        return None
    return int(position) if position else next(one for one in (plain, *quoted) if one is not None)


def _length(items: list[JsonValue]) -> Words:
    return Words(counted(len(items), "item"))


def counted(count: int, noun: str) -> str:
    """Return a number of things, such as `1 item` or `2 items`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _agree(stable: JsonValue, canary: JsonValue, tolerance: Tolerance) -> bool:
    if not (_is_number(stable) and _is_number(canary)):
        return type(stable) is type(canary) and stable == canary
    if stable == canary or (stable != stable and canary != canary):  # noqa: PLR0124 NaN is the same answer as NaN
        return True
    distance, allowed = _distance(stable, canary, tolerance)
    return math.isfinite(distance) and distance <= allowed


def _size(stable: JsonValue, canary: JsonValue, tolerance: Tolerance) -> float | None:
    if not (_is_number(stable) and _is_number(canary)):
        return None
    distance, allowed = _distance(stable, canary, tolerance)
    size = distance / allowed if allowed else math.inf
    return size if math.isfinite(size) else None


def _distance(stable: float, canary: float, tolerance: Tolerance) -> tuple[float, float]:
    """Return the distance of two numbers, and the allowed one."""
    try:
        return float(abs(stable - canary)), max(tolerance.absolute, tolerance.relative * abs(stable))
    except OverflowError:  # JSON has integers that no float holds
        return math.inf, 0.0


def _is_number(value: JsonValue) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
