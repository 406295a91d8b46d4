"""Calls to the Prefect server that a rollout can do without."""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Literal, TypeVar

from prefect.exceptions import MissingContextError
from prefect.logging import get_logger, get_run_logger

from rollway.settings import prefect_seconds

T = TypeVar("T")

AWAY_DEADLINE_SECONDS = 1.0  # as long as the last call failed, so that a server that is away delays a rollout only once

_lost: set[str] = set()  # what calls have lost since the last one that succeeded


async def best_effort(
    what: str,
    call: Awaitable[T],
    *,
    deadline_seconds: float | Literal["usual"] | None = "usual",
    is_needed: bool = False,
    passes: type[Exception] | tuple[()] = (),
) -> T | None:
    """Make a call to Prefect; if it fails or is too slow, log a warning and return None.

    Cancellations and Prefect's signals (`PrefectSignal`) pass through.

    Args:
        what: What is lost if the call fails, such as "the progress artifact is out of date".
        call: The call.
        deadline_seconds: The longest time that it may take; default: `prefect_seconds()`; None for a call that waits
            for other runs.
        is_needed: True if people depend on it: it gets its whole time even after calls that failed, because the server
            may be only slow.
        passes: Errors that are an answer of Prefect; they are raised.
    """
    usual_seconds = prefect_seconds()  # always: a wrong value ends a rollout at its first call, before any write
    if deadline_seconds == "usual":
        deadline_seconds = usual_seconds
    if deadline_seconds is not None and _lost and not is_needed:
        deadline_seconds = AWAY_DEADLINE_SECONDS
    try:
        async with asyncio.timeout(deadline_seconds) as deadline:
            result = await call
        if deadline.expired():  # the release of a concurrency slot ignores that it is cancelled
            raise TimeoutError
    except passes:
        raise
    except Exception as error:  # noqa: BLE001 (no failure of Prefect may end a rollout)
        # Once for each loss: a wait updates its progress every few seconds.
        level = logging.DEBUG if what in _lost else logging.WARNING
        _lost.add(what)
        run_logger().log(level, "Prefect did not answer, so %s: %s", what, str(error) or type(error).__name__)
        return None
    _lost.clear()
    return result


def run_logger() -> "logging.Logger | logging.LoggerAdapter[Any]":
    """Return the logger of the current run, or Prefect's own outside of a run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("rollway")
