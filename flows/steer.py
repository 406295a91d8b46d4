"""Orders to the rollout of an endpoint: promote, abort, hold, resume."""

from typing import Literal

from prefect import flow

from flows.deploy import roll_out
from rollway.prefect.parameters import BlockName, RolloutName
from rollway.prefect.run import run_name
from rollway.reports.rollout import RolloutReport
from rollway.rollout.request import Request
from tasks.abort import abort_after_death
from tasks.connect import connect
from tasks.prepare import read_rollout
from tasks.steer import give_order


@flow(
    name="steer-rollout",
    flow_run_name=run_name,
    on_cancellation=[abort_after_death],
    on_crashed=[abort_after_death],
)
async def steer_rollout(
    rollout: RolloutName,
    order: Literal["promote", "abort", "hold", "resume"],
    reason: str,
    by: str = "",
    workspace_block: BlockName | None = None,
) -> RolloutReport | None:
    """Tell a rollout how it goes on; the order is written into the record of the endpoint.

    Args:
        rollout: Folder of the endpoint: its name in deployments/, or its path.
        order: promote: the canary gets all traffic, or begins the next step of its progressive rollout. abort: all
            traffic goes back to stable. hold: no traffic moves, and automation leaves the endpoint alone. resume: ends
            a hold and a pause.
        reason: Why; shown in the status and in reports.
        by: Who says so; default: the Prefect UI.
        workspace_block: Prefect block "AzureML workspace" with the workspace and the identity; default: the environment
            variables of the worker.
    """
    spec = await read_rollout(rollout)
    connected = await connect(workspace_block)
    target = await give_order(connected, spec, order, reason, by)
    if target is None:
        return None
    return await roll_out(Request(folder=rollout, target=target, workspace_block=workspace_block))
