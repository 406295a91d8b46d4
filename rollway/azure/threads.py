"""Blocking SDK calls in threads; a cancelled run waits for calls that write."""

import asyncio
import contextvars
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

import anyio
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from rollway.errors import DeadlineExceeded

P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")

MOST_AT_ONCE = 8  # requests; far below Azure's limits for a subscription


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking SDK call without blocking the event loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


async def get_existing(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking SDK call that reads what should exist; a single 404 does not prove that it does not."""
    try:
        return await in_thread(call, *args, **kwargs)
    except HttpResponseError as error:  # a registry's 404 has no class of its own, azure/ai/ml/_utils
        if not isinstance(error, ResourceNotFoundError) and error.status_code != 404:
            raise
    return await in_thread(call, *args, **kwargs)


async def limited(call: Callable[[V], Awaitable[T]], values: Iterable[V]) -> list[T]:
    """Make a call for each value, a few at once, and return the results in order."""
    limit = asyncio.Semaphore(MOST_AT_ONCE)

    async def one(value: V) -> T:
        async with limit:
            return await call(value)

    return list(await asyncio.gather(*map(one, values)))


async def write_in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking call that writes; a cancellation continues only after it has returned.

    Threads cannot be stopped. An abandoned write would take effect after the abort has read the endpoint.
    """
    context = contextvars.copy_context()
    # A future, not a task: the event loop cancels all tasks when it ends.
    sent = asyncio.get_running_loop().run_in_executor(None, functools.partial(context.run, call, *args, **kwargs))
    await wait_despite_cancellation(sent)
    return sent.result()


async def shielded(work: Coroutine[Any, Any, T], *, deadline_seconds: float) -> T:
    """Run a coroutine to its end even if the caller is cancelled meanwhile; then raise the cancellation.

    For the abort of a rollout. It runs in a thread with an event loop of its own: a second cancellation ends the loop
    of the caller, which cancels all of its tasks. Raises DeadlineExceeded if it takes longer than `deadline_seconds`;
    a write that was sent by then is waited for.
    """

    async def work_in_time() -> T:
        async with asyncio.timeout(deadline_seconds) as deadline:
            try:
                return await work
            except asyncio.CancelledError as error:
                if not deadline.expired():
                    raise
                raise DeadlineExceeded(
                    f"the last resort has not ended within {deadline_seconds:g} s",
                    where="Azure",
                    hint="look at the endpoint's traffic, and run the rollout again to repair it",
                ) from error

    # A thread of its own: those of the loop may all be busy with calls that nobody waits for any more.
    with_context = functools.partial(contextvars.copy_context().run, asyncio.run, work_in_time())
    thread = ThreadPoolExecutor(max_workers=1)
    ended = asyncio.wrap_future(thread.submit(with_context))
    thread.shutdown(wait=False)
    await wait_despite_cancellation(ended)
    return ended.result()


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
