"""What all steps have in common: how they are retried, timed and how their errors are logged."""

import asyncio
import functools
import hashlib
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import DEFAULT, NO_CACHE, CacheKeyFnPolicy, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run

from rollway.errors import RollwayError
from rollway.prefect.labels import noted
from rollway.reports.rollout import StepTime

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
    key: Callable[[dict[str, Any]], str] | None = None,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """A Prefect task for one step of a rollout.

    `retries` apply only to errors that are `retryable` (Azure unavailable for longer than its client's own seconds of
    retrying). A retry of the same flow run skips a step that has completed where its result is stored: with
    `is_kept_for_retry` as long as the arguments are the same, with `key` as long as that text, made from the arguments,
    is the same. A step that looks at Azure to decide something has neither.
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
            persist_result=is_kept_for_retry or key is not None,
            cache_policy=_cache_policy(name, is_kept_for_retry, key),
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
    """What tags in Azure call the run: the flow run's id and its attempt, each of which may write in its turn."""
    return f"{flow_run.id}/{flow_run.run_count}"


def log_changes(what: str) -> Callable[[str, float], Awaitable[None]]:
    """Logs how a wait looks whenever that changes."""
    logger, last = get_run_logger(), ""

    async def on_progress(looks: str, waited: float) -> None:
        nonlocal last
        if looks != last:
            logger.info("%s, after %.0f s: %s", what, waited, looks)
            last = looks

    return on_progress


def timeline() -> tuple[StepTime, ...]:
    """When each finished step of this flow run ran, in the order in which they ended."""
    return tuple(_timeline[run_id()])


def failed_step() -> str:
    """The step of this flow run that failed first, by its run's name."""
    return next((one.name for one in timeline() if not one.is_completed), "the flow itself")


def _cache_policy(name: str, is_kept: bool, key: Callable[[dict[str, Any]], str] | None) -> CachePolicy:
    if key is None:
        return DEFAULT if is_kept else NO_CACHE

    def cache_key(_: TaskRunContext, arguments: dict[str, Any]) -> str:
        digest = hashlib.sha256(key(arguments).encode()).hexdigest()
        return f"{flow_run.id}-{name.replace(' ', '-')}-{digest[:16]}"

    return CacheKeyFnPolicy(cache_key_fn=cache_key)


def _timed(act: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(act)
    async def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        started, is_completed = datetime.now(UTC), False
        try:
            async with noted(str(task_run.name)):
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
