"""Waiting for Azure by reading the state of the resource, with a deadline and a clock that tests can move.

Unlike the SDK's pollers this survives a lost process: the next process reads the same state.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, Self, TypeVar

from rollway.errors import AzureUnavailable, Busy, Cause, DeadlineExceeded
from rollway.rollout.provision import USUAL_SHARE

T = TypeVar("T")
OnProgress = Callable[[str, float], Awaitable[None]]  # called with the state and the seconds so far

SHORTEST_INTERVAL_SECONDS = 0.5
# How late the end of an operation is seen at most: a share of its duration, and seconds.
LATE_SHARE, LATE_SECONDS = 0.05, 7.5
# The same while an operation of its kind has hardly ever ended.
EARLY_LATE_SHARE, EARLY_LATE_SECONDS = 1.0, 40.0
# One that is known from the last time is looked at more closely between 0.95 and 1 / 0.95 of that time.
USUAL_LATE_SECONDS = 2.5
MOST_FAILED_WRITES = 3  # the SDK has already retried each of them
OPERATION_TIMEOUT_SECONDS = 1800  # x-ms-async-operation-timeout of the service is PT30M
# Reads may lag behind a write that has ended; then a resource still shows the state before it.
LAG_SECONDS = 60


class Clock(Protocol):
    """A monotonic clock, in seconds, that can sleep."""

    def now(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The monotonic clock of the machine."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


class Lag:
    """Readings that may only lag behind: they are believed when they have been the same for `LAG_SECONDS`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: float | None = None

    def is_over(self, *, is_seen: bool) -> bool:
        """Note a reading; return True if it and all since `LAG_SECONDS` ago have shown it."""
        if not is_seen:
            self._since = None
            return False
        self._since = self._clock.now() if self._since is None else self._since
        return self._clock.now() - self._since >= LAG_SECONDS


def now(timespec: str = "seconds") -> str:
    """Return the time in UTC for a tag; `timespec` is that of `datetime.isoformat`."""
    return datetime.now(UTC).isoformat(timespec=timespec)


@dataclass(frozen=True)
class Usual:
    """The usual duration of an operation, in seconds: nearly always at least `least`, and probably at most `most`.

    `most` is 0 if nobody knows. Its end may be seen late by `late_share` of its duration.
    """

    least: float = 0.0
    most: float = 0.0
    late_share: float = LATE_SHARE

    @classmethod
    def like(cls, seconds: float, otherwise: Self) -> Self:
        """Return about as long as the last time; `otherwise` if that is 0, which means unknown."""
        return cls(seconds * USUAL_SHARE, seconds / USUAL_SHARE) if seconds else otherwise


UNKNOWN = Usual()


def next_look(waited: float, usual: Usual = UNKNOWN) -> float:
    """Return when to look next, in seconds since the start of the wait.

    The end of an operation is seen at most 5 % (`late_share`) and 7.5 s late, or half a second if it is short. One that
    ends earlier than usual is seen at most as late as it took, and 40 s; one that ends when it usually does, at most
    2.5 s.
    """
    if waited < usual.least:
        return min(waited + _between(waited * EARLY_LATE_SHARE, EARLY_LATE_SECONDS), usual.least)
    return waited + _between(waited * usual.late_share, USUAL_LATE_SECONDS if waited < usual.most else LATE_SECONDS)


def _between(interval: float, longest: float) -> float:
    return max(SHORTEST_INTERVAL_SECONDS, min(interval, longest))


async def wait_for(
    read: Callable[[], Awaitable[T]],
    is_done: Callable[[T], bool],
    *,
    what: str,
    timeout_seconds: float,
    describe: Callable[[T], str] = str,
    hint: str = "find out in Azure what delays it, and run it again",
    cause: Cause = Cause.TRANSIENT,
    most_unavailable: int | None = None,
    usual: Usual = UNKNOWN,
    since_seconds: float = 0.0,
    on_progress: OnProgress | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> T:
    """Read at growing intervals (`next_look`) until `is_done`; return the last reading.

    Raises DeadlineExceeded, which quotes the last state. Azure being unavailable does not end the wait.

    Args:
        what: The operation that is waited for, for the error.
        timeout_seconds: The deadline.
        describe: Returns the state of a reading as text.
        hint: Next action, for the error.
        cause: Cause of the error.
        most_unavailable: If given, AzureUnavailable ends the wait at this number of occurrences.
        usual: How long such an operation usually takes; before that, readings are rarer.
        since_seconds: How long the operation has been running; the deadline counts from its start.
        on_progress: Called with the state and the seconds so far after each reading.
    """
    start, unavailable = clock.now() - since_seconds, 0
    while True:
        result: T | AzureUnavailable
        try:
            result = await read()
            last = describe(result)
        except AzureUnavailable as error:
            unavailable += 1
            if unavailable == most_unavailable:
                raise
            result, last = error, f"{error.what} ({error.why or 'Azure is unavailable'})"
        waited = clock.now() - start
        if on_progress is not None:
            await on_progress(last, waited)
        if not isinstance(result, AzureUnavailable) and is_done(result):
            return result
        if waited >= timeout_seconds:
            raise DeadlineExceeded(
                f"{what} took longer than {timeout_seconds:g} s",
                where="Azure, where it may still end well",
                why=f"it was last seen as: {last}",
                hint=hint,
                cause=cause,
            )
        await clock.sleep(min(next_look(waited, usual), timeout_seconds) - waited)


async def write_when_free(write: Callable[[], Awaitable[T]], *, what: str, clock: Clock = SYSTEM_CLOCK) -> T:
    """Write, and try again while another operation is running on the resource (Busy); return what `write` returns.

    AzureUnavailable is retried twice, because the write may have succeeded. Every other error is raised at once.

    Args:
        write: Must start from a fresh reading each time, because the other operation may have changed the resource.
        what: The resource, for the error.
    """

    written: list[T] = []

    async def attempt() -> bool:
        try:
            written.append(await write())
        except Busy:
            return False
        return True

    await wait_for(
        attempt,
        bool,
        what=f"another operation on the {what}",
        timeout_seconds=OPERATION_TIMEOUT_SECONDS,
        describe=lambda is_written: "ended" if is_written else "still running",
        cause=Cause.BUSY,
        most_unavailable=MOST_FAILED_WRITES,
        usual=Usual(least=OPERATION_TIMEOUT_SECONDS),  # a try is more than one request, and nobody knows what it is
        clock=clock,
    )
    return written[0]
