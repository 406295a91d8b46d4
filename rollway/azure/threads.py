"""Blocking SDK calls in threads, and how a cancelled run waits for those that write."""

import asyncio
import contextvars
import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import anyio

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A blocking SDK call without blocking the event loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


async def write_in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for a call that writes: cancelling goes on only once it has returned.

    No thread can be stopped: a write that was left alone would be made after the abort has looked at what to undo.
    """
    context = contextvars.copy_context()
    # A future and no task: when the event loop ends it cancels all tasks.
    sent = asyncio.get_running_loop().run_in_executor(None, functools.partial(context.run, call, *args, **kwargs))
    await outlast(sent)
    return sent.result()


async def outlast(work: asyncio.Future[Any]) -> None:
    """Waits until `work` has ended, whatever it ends with, and however often the waiting is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):  # Prefect's deadlines cancel again in every turn of the event loop
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        _ = work.cancelled() or work.exception()  # has been looked at
        raise cancelled
