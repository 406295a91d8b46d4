"""The emulator's clock and how long Azure's operations take on it."""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime


class Clock:
    """Seconds since the epoch, which tests may move forward."""

    def __init__(self) -> None:
        self._ahead_seconds = 0.0

    def now(self) -> float:
        """Now, in seconds since the epoch."""
        return time.time() + self._ahead_seconds

    @property
    def ahead_seconds(self) -> float:
        """How far it is ahead of the machine's clock."""
        return self._ahead_seconds

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._ahead_seconds += seconds

    def reset(self) -> None:
        """Show the machine's time again."""
        self._ahead_seconds = 0.0


def format_iso(seconds: float) -> str:
    """An instant in ARM's form: `2026-01-31T12:00:00.0000000Z`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def format_http_date(seconds: float) -> str:
    """An instant in the form of HTTP headers (RFC 9110, 5.6.7), whatever the machine's locale."""
    at = datetime.fromtimestamp(seconds, UTC)
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[at.weekday()]
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[at.month - 1]
    return f"{day}, {at.day:02} {month} {at.year} {at:%H:%M:%S} GMT"


@dataclass(frozen=True)
class Profile:
    """How long operations take at least, as a share of what the service takes; real work may take longer.

    `poll_after_ms` goes into `retry-after-ms` of the answers that a client polls; None: nothing is sent, as in Azure,
    and azure-ai-ml then waits 5 or 30 s.
    """

    scale: float
    poll_after_ms: int | None

    @classmethod
    def parse(cls, text: str) -> "Profile":
        """The profile called `instant`, `azure` or `azure:<scale>`; ValueError for anything else."""
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
        """The shortest duration of an operation, in seconds."""
        return self.scale * AZURE_SECONDS[action]


# Recorded on the real service (Azure/azure-sdk-assets); deletes and metrics are an estimate.
AZURE_SECONDS = {
    "create endpoint": 75.0,
    "update endpoint": 20.0,
    "delete endpoint": 60.0,
    "create online deployment": 540.0,
    "update online deployment": 300.0,
    "delete online deployment": 60.0,
    "regenerate keys": 10.0,
    "metrics arrive": 180.0,
}
