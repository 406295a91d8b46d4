"""The progress artifact of a wait."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from rollway.prefect.artifacts import Progress
from rollway.prefect.logs import ChangeLog

INTERVAL_SECONDS = 5.0


@contextlib.asynccontextmanager
async def show_progress(
    what: str, allowed_seconds: float, reasons: Sequence[str] = ()
) -> AsyncIterator[Callable[[str, float], Awaitable[None]]]:
    """Show how much of the allowed time a wait has used, until it has gone well.

    Yields the callback for its state and seconds so far.

    Args:
        reasons: Why the wait may last, for the log.
    """
    progress = Progress()
    await progress.show(0.0, f"{what}: requested")
    log = ChangeLog(what, "; ".join([*reasons, f"{allowed_seconds:g} s are allowed"]))
    last_state, next_update = "", 0.0

    async def on_progress(state: str, waited: float) -> None:
        nonlocal last_state, next_update
        await log(state, waited)
        if state != last_state or waited >= next_update:
            text = f"{what}: {state} for {waited:.0f} s of {allowed_seconds:g} s allowed"
            await progress.show(min(99.0, 100 * waited / allowed_seconds), text)
            last_state, next_update = state, waited + INTERVAL_SECONDS

    repeating = asyncio.create_task(log.repeat())
    try:
        yield on_progress
    finally:
        repeating.cancel()
    await progress.remove()
