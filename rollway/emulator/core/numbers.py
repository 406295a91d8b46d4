"""Numbers in requests, as JSON or as text."""

import math
from typing import Any

MAX_DIGITS = 9  # what fits into Azure's 32-bit integers


def parse_whole(text: Any) -> int | None:
    """Return the number of a string of digits, or None if `text` is not one or has more than `MAX_DIGITS`."""
    is_whole = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS
    return int(text) if is_whole else None


def parse_number(value: Any) -> float | None:
    """Return the number that a value of JSON is or holds as text. None if it is none, or not finite as a float."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
