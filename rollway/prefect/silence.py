"""Runs whose process, worker or machine is gone: they send no heartbeats, and stay Running or Pending for ever."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.states import Crashed

from rollway.prefect.triggers import PENDING_SECONDS, duration

HEARTBEAT_EVENT = "prefect.flow-run.heartbeat"
CRASHED_MESSAGE = "no heartbeat: its worker or machine is gone"
NEVER_STARTED_MESSAGE = f"Pending for {duration(PENDING_SECONDS)}: the worker that took it is gone, or cannot start it"


async def crash_if_silent(flow_run_id: UUID, now: datetime, silent_seconds: float) -> str:
    """Set a run to Crashed if it is Running and has been silent for too long; return what was found.

    Args:
        flow_run_id: The run to check.
        now: The time of the check.
        silent_seconds: A run without a heartbeat for this long is dead.
    """
    async with get_client() as client:
        found = await client.read_flow_run(flow_run_id)
        signs = await _signs_of_life(client, found)
        if not signs:
            return f"it is {found.state_name}, not running"
        silence = (now - max(signs)).total_seconds()
        if silence < silent_seconds:
            return f"it is alive: its last sign of life was {silence:.0f} s ago"
        await client.set_flow_run_state(flow_run_id, Crashed(message=CRASHED_MESSAGE))
    return f"it was silent for {silence:.0f} s and is Crashed now"


async def has_fallen_silent(flow_run_id: UUID, now: datetime, silent_seconds: float) -> bool:
    """Return True if a run is Running and has sent heartbeats, but none for so long.

    Without any heartbeat nothing is known: its process may be told not to send them.
    """
    async with get_client() as client:
        signs = await _signs_of_life(client, await client.read_flow_run(flow_run_id))
    return len(signs) > 1 and (now - max(signs)).total_seconds() >= silent_seconds


async def crash_never_started(client: PrefectClient, runs: Sequence[FlowRun], now: datetime) -> list[FlowRun]:
    """Set the runs that have been Pending for `PENDING_SECONDS` to Crashed; return the others.

    No other worker takes such a run, and it would stand in the way of all later runs of its folder.
    """
    others = []
    for run in runs:
        state = run.state
        if state and state.is_pending() and (now - state.timestamp).total_seconds() >= PENDING_SECONDS:
            await client.set_flow_run_state(run.id, Crashed(message=NEVER_STARTED_MESSAGE))
        else:
            others.append(run)
    return others


async def cancelled_run(flow_run_id: UUID) -> FlowRun | None:
    """Return a run that was cancelled, or None."""
    async with get_client() as client:
        found = await client.read_flow_run(flow_run_id)
    return found if found.state is not None and found.state.is_cancelled() else None


async def _signs_of_life(client: PrefectClient, run: FlowRun) -> list[datetime]:
    """Return when a running run began, and when its last heartbeat came, if any has; empty if it is not running."""
    if run.state is None or not run.state.is_running():
        return []
    heartbeats = EventFilter(
        event=EventNameFilter(name=[HEARTBEAT_EVENT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
    )
    page = await client.read_events(heartbeats, limit=1)  # the newest first
    # When the server got them: the clock of the run's machine may be wrong.
    return [run.state.timestamp, *(event.received for event in page.events)]
