"""Long waits: the process ends, and the same flow run starts again at a time that it set itself."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, Pause
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import AwaitingRetry

from rollway.errors import PrefectUnavailable
from rollway.prefect.best_effort import best_effort
from rollway.prefect.labels import STARTED
from rollway.rollout.moves import WAITS

WAITING = "AwaitingRetry"  # of this name, because the UI hides the tasks of other waiting runs
IN_PROCESS_SECONDS = 120.0  # a start of a process costs five seconds of a processor


def can_wake() -> bool:
    """Return True if a worker would start the run again: a run without a Prefect deployment has none."""
    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None


async def wake_in(seconds: float, message: str) -> NoReturn:
    """End this process; the same flow run starts again from the top after some seconds.

    Raises Prefect's signals, which are no Exceptions, and PrefectUnavailable.

    Args:
        message: Why it waits; shown in the state of the run.
    """
    try:
        async with get_client() as client:
            # With a process id a cancellation of the waiting run hangs; the typed call drops an empty one.
            await client._client.patch(f"/flow_runs/{flow_run.id}", json={"infrastructure_pid": ""})
            at = datetime.now(UTC) + timedelta(seconds=seconds)
            result: OrchestrationResult[Any] = await client.set_flow_run_state(
                UUID(str(flow_run.id)), AwaitingRetry(scheduled_time=at, message=message)
            )
    except Exception as error:
        raise PrefectUnavailable(
            "the rollout cannot wait: the Prefect server did not take its time",
            where=f"PREFECT_API_URL={PREFECT_API_URL.value()}",
            why=str(error) or type(error).__name__,
            hint="nothing is lost: the next run goes on with the rollout",
        ) from error
    if result.status is not SetStateStatus.ACCEPT:  # it was cancelled meanwhile
        raise Abort(f"the run may not wait: {result.details}")
    raise Pause(state=result.state)


@dataclass(frozen=True)
class Woken:
    """The wake of an attempt that goes on with what earlier attempts of its run began.

    Attributes:
        began: When the first of these attempts began, in UTC, by Prefect's clock.
        started: When it started to work on the endpoint, in UTC: after it queued behind other rollouts.
        waited_for: The kind of move for which it waited last.
    """

    began: datetime
    started: datetime
    waited_for: str


async def woken() -> Woken | None:
    """Return how this attempt was woken; None if it begins afresh, or if Prefect does not answer.

    It begins afresh if it is the first, or a retry. A retry comes after a final state, and a retry in Prefect's UI has
    the name of a wait, but the message of none.
    """

    async def read() -> Woken | None:
        run_id = UUID(str(flow_run.id))
        async with get_client() as client:
            states, run = await client.read_flow_run_states(run_id), await client.read_flow_run(run_id)
        return _wake_of(states, str((run.labels or {}).get(STARTED) or ""))

    if not can_wake():
        return None
    return await best_effort("it is unknown whether this run has waited", read())


def _wake_of(states: Sequence[State[Any]], labelled: str) -> Woken | None:
    """Return the wake of the last attempt in the states of a run; `labelled` is when the run started to work."""
    ended = max((one.timestamp for one in states if one.is_final()), default=datetime.min.replace(tzinfo=UTC))
    since = sorted((one for one in states if one.timestamp > ended), key=lambda one: one.timestamp)
    waits = [one.message or "" for one in since if one.name == WAITING]
    kind = waits[-1].partition(": ")[0] if waits else ""
    if kind not in WAITS:
        return None
    began = next((one.timestamp for one in since if one.is_running()), since[0].timestamp)
    with contextlib.suppress(ValueError):  # no label if Prefect was away; that of an attempt before a retry is older
        return Woken(began, max(began, datetime.fromisoformat(labelled)), kind)
    return Woken(began, began, kind)


async def wake_now(waiting: FlowRun) -> None:
    """Start a waiting run at once; a worker takes it within its poll interval."""
    async with get_client() as client:
        message = waiting.state.message if waiting.state else None
        await client.set_flow_run_state(waiting.id, AwaitingRetry(scheduled_time=datetime.now(UTC), message=message))
