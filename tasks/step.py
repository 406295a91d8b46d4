"""What all steps have in common: how they are retried, timed and how their errors are logged."""

import asyncio
import functools
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import DEFAULT, NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import flow_run, task_run

from rollway.errors import RollwayError
from rollway.report import StepTime

P = ParamSpec("P")
R = TypeVar("R")

_timeline: defaultdict[str, list[StepTime]] = defaultdict(list)


def step(
    name: str,
    *,
    run_name: str,
    timeout_seconds: float,
    tags: Sequence[str] = (),
    retries: int = 0,
    is_kept_for_retry: bool = False,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """A Prefect task for one step of a rollout.

    `retries` apply only to errors that are `retryable` (Azure unavailable for longer than its client's own seconds of
    retrying). `is_kept_for_retry` stores the result, so that a retry of the same flow run skips the step; steps that an
    abort undoes must run again and leave it off.
    """

    def decorate(act: Callable[P, Coroutine[Any, Any, R]]) -> Task[P, Coroutine[Any, Any, R]]:
        return task(
            name=name,
            task_run_name=run_name,
            tags=["rollway", *tags],
            timeout_seconds=timeout_seconds,
            retries=retries,
            retry_delay_seconds=[10.0, 30.0, 60.0][:retries] or None,
            retry_condition_fn=_is_retryable,
            persist_result=is_kept_for_retry,
            cache_policy=DEFAULT if is_kept_for_retry else NO_CACHE,
            result_serializer="json",
        )(_timed(act))

    return decorate


async def together(*steps: Awaitable[Any]) -> list[Any]:
    """The results of steps that run side by side.

    Unlike a bare gather it waits for all of them even when one fails, so that nothing is still being written when the
    caller starts to clean up. Raises the first error, with the others as notes.
    """
    results = await asyncio.gather(*steps, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        for other in errors[1:]:
            errors[0].add_note(f"\nand: {other}")
        raise errors[0]
    return list(results)


def run_id() -> str:
    """What tags in Azure call the run: the flow run's id and its attempt.

    An abort undoes what its own attempt did, so a retry after the promotion never takes the promotion back.
    """
    return f"{flow_run.id}/{flow_run.run_count}"


def timeline() -> tuple[StepTime, ...]:
    """When each finished step of this flow run ran, in the order in which they ended."""
    return tuple(_timeline[run_id()])


def _timed(act: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(act)
    async def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        started, is_completed = datetime.now(UTC), False
        try:
            result = await act(*args, **kwargs)
            is_completed = True
        finally:
            _timeline[run_id()].append(
                StepTime(name=str(task_run.name), started=started, ended=datetime.now(UTC), is_completed=is_completed)
            )
        return result

    return timed


async def _is_retryable(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, RollwayError) and error.retryable


class _SaidOnce(logging.Filter):
    """Our own errors say what to do next: the step logs them whole, without a traceback, the rest only refers to them.

    Debug level keeps everything as Prefect writes it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if logging.getLogger("prefect").isEnabledFor(logging.DEBUG):
            return True
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RollwayError):
            is_step = record.name == "prefect.task_runs"
            record.exc_info = None
            record.msg, record.args = str(error) if is_step else error.what, ()
        message = record.getMessage()
        if message.startswith("Finished in state Failed(") and "\\n" in message:  # the state's text is a repr
            record.msg, record.args = message.partition("\\n")[0] + " …", ()
        return True


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_SaidOnce())
