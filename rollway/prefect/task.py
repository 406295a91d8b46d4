"""The task decorator: retries, deadline and timeline of every task of ours.

No task keeps its result: every move finds its own work in Azure. No task has tags: before a task with tags starts,
Prefect asks its server for their concurrency limits. Without them a task needs no server to start or to end.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, StateDetails, TaskRun
from prefect.runtime import task_run
from prefect.states import Completed

from rollway.errors import RollwayError
from rollway.prefect.logs import shorten_error_logs
from rollway.prefect.run import current_run

P = ParamSpec("P")
R = TypeVar("R")

shorten_error_logs()


class OrderedTask(Task[P, R]):
    """A task whose arrows come from the tasks before it, whatever its arguments are; see `Arrows`."""

    async def create_local_run(self, **settings: Any) -> TaskRun:  # type: ignore[override]
        """Create the task run, with the tasks before it as its inputs."""
        arrows = current_run().arrows
        sources = arrows.sources
        inputs: list[State[Any]] = [Completed(state_details=StateDetails(task_run_id=one)) for one in sources]
        made = await super().create_local_run(**settings | {"parameters": {}, "wait_for": inputs})
        arrows.start(made.id, sources)
        return made


def task(
    name: str,
    *,
    run_name: str,
    timeout_seconds: float,
    retries: int = 0,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """Make a coroutine function a Prefect task of a rollout.

    Args:
        name: Name of the task in the Prefect UI.
        run_name: Name of its task runs; may contain `{parameters}`.
        timeout_seconds: Deadline of one try.
        retries: Number of further tries, only for errors that are `retryable` (Azure or Prefect was unavailable for
            longer than its own client retries).
    """

    def decorate(act: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, Coroutine[Any, Any, R]]:
        return OrderedTask(
            _recorded(act),
            name=name,
            task_run_name=run_name,
            timeout_seconds=timeout_seconds,
            retries=retries,
            retry_delay_seconds=[10.0, 30.0, 60.0][:retries] or None,
            retry_condition_fn=_is_retryable,
            persist_result=False,
            cache_policy=NO_CACHE,
        )

    return decorate


async def together(*tasks: Awaitable[Any]) -> list[Any]:
    """Run tasks side by side and return their results.

    Unlike a bare gather it waits for all of them even if one fails, so that nothing is still being written when the
    caller starts to clean up. Raises the first error, with the others as notes.
    """
    results = await asyncio.gather(*tasks, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        for other in errors[1:]:
            errors[0].add_note(f"\nand: {other}")
        raise errors[0]
    return list(results)


def _recorded(act: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(act)
    async def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
        run = current_run()
        try:
            async with run.trying(str(task_run.name)):
                return await act(*args, **kwargs)
        finally:
            run.arrows.end(UUID(str(task_run.id)))

    return recorded


async def _is_retryable(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, RollwayError) and error.retryable
