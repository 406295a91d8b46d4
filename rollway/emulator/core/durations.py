"""ISO 8601 durations as Azure writes them."""

import math
import re
from typing import Any

DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")


def parse_duration(text: Any) -> float | None:
    """Return the seconds of an ISO 8601 duration, or None if `text` is not a duration."""
    match = DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return total if math.isfinite(total) else None
