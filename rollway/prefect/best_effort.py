"""Calls that a rollout can do without, and calls that must end."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

import anyio
from prefect.logging import get_run_logger

DEADLINE_SECONDS = 10.0

T = TypeVar("T")


async def best_effort(what: str, call: Awaitable[T]) -> T | None:
    """Return what a call of Prefect returns, or None with a warning if it fails or takes too long."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await call
    except Exception as error:  # noqa: BLE001 (no failure of Prefect may end a rollout)
        get_run_logger().warning("Prefect is not told: %s (%s)", what, str(error) or type(error).__name__)
        return None


async def shielded(call: Coroutine[Any, Any, T], deadline_seconds: float) -> T:
    """Return the result of a call that no cancellation interrupts; raises TimeoutError after the deadline."""
    with anyio.CancelScope(shield=True):
        return await asyncio.wait_for(call, deadline_seconds)
