"""Blocking SDK calls in threads; a cancelled run waits for calls that write."""

import asyncio
import contextvars
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import anyio

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking SDK call without blocking the event loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


async def write_in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call that writes; a cancellation continues only after it has returned.

    Threads cannot be stopped. An abandoned write would take effect after the abort has read the endpoint.
    """
    context = contextvars.copy_context()
    # A future, not a task: the event loop cancels all tasks when it ends.
    sent = asyncio.get_running_loop().run_in_executor(None, functools.partial(context.run, call, *args, **kwargs))
    await wait_despite_cancellation(sent)
    return sent.result()


async def wait_despite_cancellation(work: asyncio.Future[Any]) -> None:
    """Wait until `work` has ended in any way, even if the wait is cancelled; then raise the cancellation."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # Prefect's deadlines cancel again in every iteration of the event loop
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        _ = work.cancelled() or work.exception()  # mark the exception as retrieved
        raise cancelled
