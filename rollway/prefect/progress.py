"""The progress artifact of a wait."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from rollway.prefect.artifacts import Progress
from rollway.prefect.logs import log_changes

INTERVAL_SECONDS = 5.0


@contextlib.asynccontextmanager
async def show_progress(what: str, allowed_seconds: float) -> AsyncIterator[Callable[[str, float], Awaitable[None]]]:
    """Show how much of the allowed time a wait has used; yields the callback for its state and seconds so far."""
    progress = Progress()
    await progress.show(0.0, f"{what}: requested")
    log, last_state, next_update = log_changes(what), "", 0.0

    async def on_progress(state: str, waited: float) -> None:
        nonlocal last_state, next_update
        await log(state, waited)
        if state != last_state or waited >= next_update:
            text = f"{what}: {state} for {waited:.0f} s of {allowed_seconds:g} s allowed"
            await progress.show(min(99.0, 100 * waited / allowed_seconds), text)
            last_state, next_update = state, waited + INTERVAL_SECONDS

    yield on_progress
    await progress.show(100.0, f"{what}: ready")
