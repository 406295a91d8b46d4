"""The emulator's clock, and the durations of Azure's operations."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime

TICKS_PER_SECOND = 10_000_000
TICKS_OF_THE_EPOCH = 621_355_968_000_000_000


class Clock:
    """A clock that tests can move forward. Times are seconds since the epoch."""

    def __init__(self) -> None:
        self._ahead_seconds = 0.0

    def now(self) -> float:
        """Return the current time, in seconds since the epoch."""
        return time.time() + self._ahead_seconds

    @property
    def ahead_seconds(self) -> float:
        """Seconds by which this clock is ahead of the machine's clock."""
        return self._ahead_seconds

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        self._ahead_seconds += seconds

    def reset(self) -> None:
        """Set the clock back to the machine's time."""
        self._ahead_seconds = 0.0


def format_iso(seconds: float) -> str:
    """Return a time as ARM writes it: `2026-01-31T12:00:00.0000000Z`."""
    return f"{_utc(seconds).isoformat(timespec='microseconds')}0Z"


def format_iso_offset(seconds: float) -> str:
    """Return a time as endpoints, online deployments and operations have it: `2026-01-31T12:00:00.0000000+00:00`."""
    whole, ticks = divmod(round(seconds * TICKS_PER_SECOND), TICKS_PER_SECOND)
    return f"{_utc(whole).isoformat()}.{ticks:07}+00:00"


def _utc(seconds: float) -> datetime:
    """Return a time without its time zone. `strftime` does not pad years before 1000."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def ticks(seconds: float) -> int:
    """Return a time in .NET's ticks of 100 ns since the year 1."""
    return TICKS_OF_THE_EPOCH + round(seconds * TICKS_PER_SECOND)


def format_iso_seconds(seconds: float) -> str:
    """Return a time as metrics and shared access signatures write it: `2026-01-31T12:00:00Z`."""
    return f"{format_iso(seconds)[:19]}Z"


def format_http_date(seconds: float) -> str:
    """Return a time as HTTP headers write it (RFC 9110, 5.6.7), independent of the machine's locale."""
    at = datetime.fromtimestamp(seconds, UTC)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[at.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year} {at:%H:%M:%S} GMT"


@dataclass(frozen=True)
class Profile:
    """Minimum durations of operations. Real work, such as building an environment, may take longer.

    Args:
        scale: Factor on the durations recorded on the real service.
        poll_after_ms: Value of the `retry-after-ms` header that tells clients when to poll again. None sends no such
            header, as in Azure; azure-ai-ml then waits 5 or 30 s.
    """

    scale: float
    poll_after_ms: int | None

    @classmethod
    def parse(cls, text: str) -> "Profile":
        """Return the profile named `instant`, `azure` or `azure:<scale>`. Raise ValueError for any other name."""
        if text == "instant":
            return cls(scale=0.0, poll_after_ms=200)
        if text == "azure":
            return cls(scale=1.0, poll_after_ms=None)
        if match := re.fullmatch(r"azure:(\d+(?:\.\d+)?)", text):
            return cls(scale=float(match[1]), poll_after_ms=200)
        raise ValueError(
            f"unknown profile {text!r}: use 'instant', 'azure' or 'azure:<scale>', for example 'azure:0.05'"
        )

    def seconds(self, action: str) -> float:
        """Return the minimum duration of an operation, in seconds."""
        return self.scale * AZURE_SECONDS[action]


# Recorded on the real service (Azure/azure-sdk-assets), except what is said to be an estimate.
AZURE_SECONDS = {
    "create endpoint": 75.0,  # 62 to 90
    "update endpoint": 45.0,  # a move of traffic took 20 and 70
    "delete empty endpoint": 8.0,
    "delete endpoint": 60.0,  # an estimate
    "create online deployment": 540.0,  # 390 to 582; 1361 with a GPU
    "update online deployment": 300.0,  # 320
    "delete online deployment": 60.0,  # an estimate
    # Estimates
    "regenerate keys": 10.0,
    "metrics arrive": 180.0,
    "gateway lag": 5.0,
    "reads lag": 2.0,
    "lists lag": 4.0,
}
