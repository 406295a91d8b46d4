"""Waiting for Azure: by reading the resource's own state, with a deadline, and a clock that tests can move.

Unlike the SDK's pollers this survives a lost process: whoever comes next reads the same state.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from rollway.errors import AzureUnavailable, Busy, Cause, DeadlineExceeded

T = TypeVar("T")
OnProgress = Callable[[str, float], Awaitable[None]]  # how it looks now, seconds so far

FIRST_INTERVAL_SECONDS = 0.25
LONGEST_INTERVAL_SECONDS = 10.0
MOST_FAILED_WRITES = 3  # the client has repeated each of them already
BUSY_TIMEOUT_SECONDS = 1800  # x-ms-async-operation-timeout of the service is PT30M


class Clock(Protocol):
    """Monotonic seconds, and a way to let them pass."""

    def now(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own monotonic clock."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()


def now(timespec: str = "seconds") -> str:
    """The time for a tag, in UTC, to the second or as `datetime.isoformat` takes it."""
    return datetime.now(UTC).isoformat(timespec=timespec)


async def wait_for(
    read: Callable[[], Awaitable[T]],
    is_done: Callable[[T], bool],
    *,
    what: str,
    timeout_seconds: float,
    describe: Callable[[T], str] = str,
    hint: str = "see in Azure what holds it up, and run it again",
    cause: Cause = Cause.TRANSIENT,
    most_unavailable: int | None = None,
    on_progress: OnProgress | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> T:
    """Reads again and again, at growing intervals, until `is_done`; returns that reading.

    A moment in which Azure is unavailable does not end the wait (but the one that is number `most_unavailable` does),
    only the deadline does: DeadlineExceeded, naming `what`, how it last looked (`describe`, or what was unavailable),
    `hint`, with `cause`. `on_progress` is told the same.
    """
    start, interval, unavailable = clock.now(), FIRST_INTERVAL_SECONDS, 0
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
                why=f"it was last seen as: {last}",
                hint=hint,
                cause=cause,
            )
        await clock.sleep(min(interval, timeout_seconds - waited))
        interval = min(interval * 1.5, LONGEST_INTERVAL_SECONDS)


async def when_free(write: Callable[[], Awaitable[None]], *, what: str, clock: Clock = SYSTEM_CLOCK) -> None:
    """Makes a write, again and again while another operation holds the resource (Busy); every other error ends it.

    Only AzureUnavailable does so the third time, for what hides behind a single one may be a write that was made.
    `write` starts from a fresh reading each time, because the other operation may have changed what it builds on.
    """

    async def attempt() -> bool:
        try:
            await write()
        except Busy:
            return False
        return True

    await wait_for(
        attempt,
        bool,
        what=f"another operation on the {what}",
        timeout_seconds=BUSY_TIMEOUT_SECONDS,
        describe=lambda is_written: "ended" if is_written else "still running",
        cause=Cause.BUSY,
        most_unavailable=MOST_FAILED_WRITES,
        clock=clock,
    )
