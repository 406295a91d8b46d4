"""The entries of a record; `str()` of an entry is its text in a tag, and `parse` reads it back.

`parse` returns None for a text that Rollway did not write. Times are in UTC, attempts are `<flow run>/<attempt>`.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from pydantic import ValidationInfo, field_validator

from rollway.rollout.tags import on_one_line
from rollway.spec import Frozen

MOST_HELD = 160  # characters
EPOCH = datetime.fromtimestamp(0, UTC)


def age(at: str, now: datetime) -> timedelta | None:
    """Return how long ago the time of an entry was; None if Rollway did not write it."""
    try:
        return now - datetime.fromisoformat(at)
    except (ValueError, TypeError):
        return None


def time_text(moment: datetime) -> str:
    """Return a time as text for an entry; to the millisecond, because two claims within a second must differ."""
    return moment.isoformat(timespec="milliseconds")


def at_text(at: str) -> str:
    """Return the time of an entry as people read it, such as `2026-01-02 03:04 UTC`; other texts unchanged."""
    try:
        return f"{datetime.fromisoformat(at).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, TypeError):
        return at


class Lease(Frozen):
    """The claim of one run attempt on an endpoint; `renewed_at` makes each claim a different value."""

    holder: str
    ttl_seconds: int
    renewed_at: str

    def __str__(self) -> str:
        return f"{self.holder} {self.ttl_seconds} {self.renewed_at}"

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the lease of a text."""
        words = (text or "").split(" ")
        if len(words) != 3 or not words[1].isdecimal():
            return None
        return cls(holder=words[0], ttl_seconds=int(words[1]), renewed_at=words[2])


class Served(Frozen):
    """An online deployment that served traffic, and its model as `<name>:<version>`."""

    online_deployment: str
    model: str = ""

    def __str__(self) -> str:
        return f"{self.online_deployment}={self.model}"

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the online deployment of a text."""
        name, _, model = (text or "").partition("=")
        return cls(online_deployment=name, model=model) if name else None


class End(StrEnum):
    """The two ends of a rollout that moved traffic."""

    PROMOTED = "promoted"
    ABORTED = "aborted"


class Ended(Frozen):
    """End of the last rollout."""

    outcome: End
    attempt: str
    at: str

    def __str__(self) -> str:
        return f"{self.outcome.value} {self.attempt} {self.at}"

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the end of a text."""
        words = (text or "").split(" ")
        if len(words) != 3 or words[0] not in list(End):
            return None
        return cls(outcome=End(words[0]), attempt=words[1], at=words[2])


class Failures(Frozen):
    """Temporary failures of the rollout of one content: how many in a row, and when the last one was.

    `content` is a digest of the model version and the folder, in hex digits.
    """

    content: str
    count: int
    at: str

    def __str__(self) -> str:
        return f"{self.content} {self.count} {self.at}"

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the failures of a text."""
        words = (text or "").split(" ")
        if len(words) != 3 or not (words[1].isascii() and words[1].isdecimal()):
            return None
        return cls(content=words[0], count=int(words[1]), at=words[2])


class Underway(Frozen):
    """A progressive rollout that has begun and not ended.

    Attributes:
        run: The flow run that works on it.
        canary: Name of the online deployment.
        until: When that run must have advanced or asked a person, in UTC; if it has not, it is gone.
        since: Start of each step so far, in UTC; the last one is running. Empty if it is held before the first step.
        held: Why a person must decide; empty if nobody must.
        asked: When a person was asked first, in UTC; empty if nobody must decide.
    """

    run: str
    canary: str
    until: str
    since: tuple[str, ...] = ()
    asked: str = ""
    held: str = ""

    @field_validator("held")
    @classmethod
    def _is_short(cls, held: str) -> str:
        return on_one_line(held)[:MOST_HELD].rstrip()

    @property
    def number(self) -> int:
        """Number of the running step, from 1; 0 before the first one."""
        return len(self.since)

    @property
    def any_attempt(self) -> str:
        """The attempts of its run as one text: among those that have ended if the whole run has."""
        return f"{self.run}/"

    def is_of(self, attempt: str) -> bool:
        """Return True if an attempt, `<flow run>/<attempt>`, belongs to its run."""
        return attempt.startswith(self.any_attempt)

    @property
    def begun(self) -> str:
        """When the rollout began, in UTC."""
        return self.since[0] if self.since else self.asked

    def __str__(self) -> str:
        since = ",".join(self.since) or "-"
        return f"{self.run} {self.canary} {self.until} {since} {self.asked or '-'} {self.held}".rstrip()

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the rollout of a text."""
        words = (text or "").split(" ", 5)
        if len(words) < 5:
            return None
        since = () if words[3] == "-" else tuple(words[3].split(","))
        asked = "" if words[4] == "-" else words[4]
        if not (since or asked) or any(age(one, EPOCH) is None for one in (words[2], *since, asked or words[2])):
            return None
        held = words[5] if len(words) == 6 else ""
        return cls(run=words[0], canary=words[1], until=words[2], since=since, asked=asked, held=held)


class Order(StrEnum):
    """Orders that a person can give to a rollout."""

    PROMOTE = "promote"
    ABORT = "abort"
    HOLD = "hold"
    RESUME = "resume"


class Command(Frozen):
    """The order of a person to the rollout of an endpoint; `by` is one word, such as a user's name."""

    order: Order
    by: str
    at: str
    reason: str = ""

    @field_validator("reason")
    @classmethod
    def _fits_into_the_tag(cls, reason: str, info: ValidationInfo) -> str:
        before = " ".join(str(info.data.get(name)) for name in ("order", "at", "by")) + " "
        return on_one_line(before + reason)[len(before) :]

    def __str__(self) -> str:
        return f"{self.order.value} {self.at} {self.by} {self.reason}".rstrip()

    @property
    def sentence(self) -> str:
        """The command as people read it."""
        return f"{self.order.value} by {self.by}" + (f": {self.reason}" if self.reason else "")

    @classmethod
    def parse(cls, text: str | None) -> Self | None:
        """Return the command of a text."""
        words = (text or "").split(" ", 3)
        if len(words) < 3 or words[0] not in list(Order):
            return None
        return cls(order=Order(words[0]), at=words[1], by=words[2], reason=words[3] if len(words) == 4 else "")
