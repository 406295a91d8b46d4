"""The rollback of an endpoint to an earlier online deployment or model version."""

from prefect import flow

from flows.deploy import roll_out
from rollway.prefect.parameters import BlockName, RolloutName
from rollway.prefect.run import run_name
from rollway.reports.rollout import RolloutReport
from rollway.rollout.request import Request
from tasks.abort import abort_after_death


@flow(
    name="rollback-endpoint",
    flow_run_name=run_name,
    on_cancellation=[abort_after_death],
    on_crashed=[abort_after_death],
)
async def rollback_endpoint(
    rollout: RolloutName, to: str | None = None, workspace_block: BlockName | None = None
) -> RolloutReport:
    """Go back to an earlier version, tested like a rollout, and pause the endpoint for automation.

    An online deployment that still exists takes over at once, and nothing is deleted. Otherwise its model version is
    rolled out again, with the files of the folder as they are now. A rollout of the endpoint that is running aborts.

    Args:
        rollout: Folder of the endpoint: its name in deployments/, or its path.
        to: Online deployment or model version to go back to; default: the one that the last promotion replaced.
        workspace_block: Prefect block "AzureML workspace" with the workspace and the identity; default: the environment
            variables of the worker.
    """
    return await roll_out(Request(folder=rollout, is_rollback=True, back_to=to, workspace_block=workspace_block))
