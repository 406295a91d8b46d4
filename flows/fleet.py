"""Rollouts of many folders, in waves."""

from typing import Annotated

from prefect import flow
from pydantic import Field

from rollway.prefect.parameters import Requester
from rollway.prefect.run import requester
from rollway.rollout.fleet import DEFAULT_SIZE, DEFAULT_STOP, Fleet, require_good_end
from tasks.fleet import choose_folders, report_fleet, roll_out_wave


@flow(name="deploy-fleet", flow_run_name="fleet · {pattern}")
async def deploy_fleet(
    pattern: str = "*",
    at_most: Annotated[int, Field(ge=1)] = DEFAULT_SIZE,
    stop_after: Annotated[int, Field(ge=1)] = DEFAULT_STOP,
    waves: list[str] | None = None,
    requested_by: Requester = "person",
) -> Fleet:
    """Roll out many folders, each as a run of its own Prefect deployment, and stop if some go wrong.

    A wave begins when the one before it has ended. Runs that have begun go on even if the fleet stops.

    Args:
        pattern: Names of the folders, such as team-*.
        at_most: Rollouts at once: the size of a wave.
        stop_after: No further wave begins after so many rollouts failed or are held.
        waves: Order of the waves: patterns of workspace blocks or folders, such as canary-region; "rest" stands for all
            others.
        requested_by: Who asks. schedule and watcher leave paused endpoints alone and wait until a freeze window ends.
    """
    fleet = await choose_folders(pattern, at_most, stop_after, waves or ())
    while fleet.due:
        fleet = await roll_out_wave(fleet, fleet.due[0].wave, requester(requested_by).value)
    await report_fleet(fleet, pattern)
    require_good_end(fleet)
    return fleet
