"""The watcher: it looks at all endpoints and starts a run wherever something is due."""

from collections.abc import Sequence

from prefect import flow

from rollway.prefect.task import together
from rollway.rollout.watch import Look, broken, require_read
from tasks.connect import connect
from tasks.watch import list_rollouts, look, report_looks, start_runs


@flow(name="watch-endpoints", flow_run_name="watch endpoints")
async def watch_endpoints(interval_seconds: int = 600) -> list[Look]:
    """Start a run for each new version of a followed model, and for everything that an earlier rollout left behind.

    It decides nothing: the run decides, when the endpoint is its own. However often this flow runs, an endpoint has one
    run at a time. An error in one folder does not stop the others; only an unreadable workspace fails the flow.

    Args:
        interval_seconds: Time between two looks, as in the schedule. Each endpoint has a closer look once a day.
    """
    rollouts = await list_rollouts()
    found = await together(*(watch_workspace(block, names, interval_seconds) for block, names in rollouts.by_block))
    looks = [*rollouts.lost, *(one for looks in found for one in looks)]
    looks = list(await start_runs(looks))
    await report_looks(looks)
    require_read(looks)
    return looks


async def watch_workspace(block: str | None, rollouts: Sequence[str], interval_seconds: int) -> Sequence[Look]:
    """Look at the rollouts of one workspace."""
    try:
        return await look(await connect(block), rollouts, interval_seconds)
    except Exception as error:  # noqa: BLE001 (the other workspaces go on, and the run fails at the end)
        return [broken(one, error, is_unreadable=True) for one in rollouts]
