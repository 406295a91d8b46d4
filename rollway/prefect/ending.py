"""The end of a flow in this process: its own result counts, whether or not Prefect's server can record it."""

import functools
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.events.worker import EventsWorker
from prefect.logging import get_logger
from prefect.states import Completed

from rollway.errors import ConfigurationError, RollwayError
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.settings import prefect_seconds

P = ParamSpec("P")
R = TypeVar("R")

HELD = f"{RolloutOutcome.HELD.value}: "  # begins the message of a run that ended like that


def ended(report: RolloutReport) -> RolloutReport:
    """Return what a flow returns to end with a report: if that is held, the state of the run says so, and why.

    The state is still Completed by type and by name, which alerts, automations and filters of the UI match. Its message
    cannot be lost without the end itself, unlike a label. Prefect gives the report back to who called the flow.
    """
    if report.outcome is not RolloutOutcome.HELD:
        return report
    return cast("RolloutReport", Completed(message=f"{HELD}{report.end}", data=report))


async def run_here(flow: Flow[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run a flow in this process; return or raise what its function did, even if Prefect cannot record the end."""
    results: list[R] = []
    failures: list[RollwayError] = []
    recorded = flow.with_options()  # a copy
    recorded.fn = _noted(flow.fn, results, failures)
    try:
        return await recorded(*args, **kwargs)
    except Exception as error:
        # Prefect proposes the final state to its server, and raises instead of returning if that fails.
        if not results and (not failures or error is failures[0]):
            raise
        get_logger("rollway").warning(
            "The flow has ended, but Prefect could not record it: %s", str(error) or type(error).__name__
        )
        if results:
            return results[0]
        raise failures[0] from None


def leave(code: int) -> NoReturn:
    """End the process; send Prefect the last logs and events, but do not wait long for a server that is away."""
    try:
        seconds = prefect_seconds() / 2
    except ConfigurationError:  # which has ended every flow before it did anything
        seconds = 0.0
    # It stops all queues, also that of the logs, and returns what `concurrent.futures.wait` returns.
    unsent = cast("tuple[set[object], set[object]]", EventsWorker.drain_all(timeout=seconds))[1]
    if not unsent:
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the normal way waits for the queues again, without a limit


def _noted(
    function: Callable[P, Coroutine[Any, Any, R]], results: list[R], failures: list[RollwayError]
) -> Callable[P, Coroutine[Any, Any, R]]:
    @functools.wraps(function)
    async def noted(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = await function(*args, **kwargs)
        except RollwayError as error:
            failures.append(error)
            raise
        results.append(cast("R", result.data) if isinstance(result, State) else result)  # see `ended`
        return result

    return noted
