"""The flow runs of a fleet: start them, and read how far they are."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL
from prefect.utilities.urls import url_for

from rollway.errors import ConfigurationError, NotFound
from rollway.prefect.ending import HELD
from rollway.prefect.pages import PAGE, all_pages
from rollway.prefect.silence import crash_never_started
from rollway.prefect.waiting import WAITING
from rollway.prefect.watching import DEPLOY, run_deployment
from rollway.rollout.fleet import Member, Progress
from rollway.rollout.moves import Kind

_WAITS_FOR_A_PERSON = tuple(f"{kind.value}: " for kind in (Kind.GATE, Kind.HOLD))


def require_workers() -> None:
    """Raise ConfigurationError if no Prefect server is configured: workers carry out the rollouts of a fleet."""
    if not PREFECT_API_URL.value():
        raise ConfigurationError(
            "many folders are rolled out by the workers of a Prefect server, and none is configured",
            where="environment variable PREFECT_API_URL",
            hint="set it to your server, such as http://127.0.0.1:4200/api, or roll out one folder",
        )


async def start(one: Member, requested_by: str, key: str, under_way: FlowRun | None) -> Member:
    """Start the run of a folder; the one that is under way counts as its run.

    A folder without a Prefect deployment has failed.

    Args:
        one: The folder.
        requested_by: Who asks.
        key: Makes the run unique: a second start with the same key finds the first run.
        under_way: Its run that has not ended.
    """
    if under_way is not None:
        return after(one, under_way)
    parameters = {"rollout": one.rollout, "requested_by": requested_by}
    try:
        return after(one, await run_deployment(f"{DEPLOY}/{one.rollout}", one.rollout, parameters, key=key))
    except NotFound as error:
        now = datetime.now(UTC)
        return one.model_copy(update={"progress": Progress.FAILED, "why": error.what, "started": now, "ended": now})


async def read(members: Sequence[Member], now: datetime) -> tuple[Member, ...]:
    """Return members as far as their runs are.

    Runs that were never started are set to Crashed; the next call returns them as failed.
    """
    ids = [UUID(one.run) for one in members if one.run]
    async with get_client() as client:
        found = await all_pages(
            lambda offset: client.read_flow_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=ids)),
                sort=FlowRunSort.ID_DESC,
                limit=PAGE,
                offset=offset,
            )
        )
        await crash_never_started(client, found, now)
    runs = {str(one.id): one for one in found}
    return tuple(after(one, runs[one.run]) if one.run in runs else one for one in members)


def after(one: Member, run: FlowRun) -> Member:
    """Return a member as far as its run is."""
    state: Any = run.state
    message = (state.message or "").partition("\n")[0] if state else ""
    if state is None or not state.is_final():
        is_held = state is not None and state.name == WAITING and message.startswith(_WAITS_FOR_A_PERSON)
        progress = Progress.HELD if is_held else Progress.RUNNING
    elif not state.is_completed():
        progress = Progress.FAILED
    elif message.startswith(HELD):
        progress, message = Progress.HELD, message.removeprefix(HELD)
    else:
        progress = Progress.DONE
    return one.model_copy(
        update={
            "run": str(run.id),
            "progress": progress,
            "why": "" if progress is Progress.DONE else message or (state.name if state else ""),
            "started": run.start_time or run.expected_start_time or run.created,
            "ended": run.end_time,
        }
    )


def links(members: Sequence[Member]) -> dict[str, str]:
    """Return the pages of the members' runs in the Prefect UI, by their ids."""
    found = {one.run: url_for("flow-run", one.run) for one in members if one.run}
    return {run: page for run, page in found.items() if page}
