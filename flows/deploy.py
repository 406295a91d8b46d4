"""The rollout of one folder of deployments/."""

from prefect import flow
from prefect.runtime import flow_run

from rollway.prefect.concurrency import one_at_a_time
from rollway.prefect.ending import ended
from rollway.prefect.parameters import BlockName, ModelVersion, Requester, RolloutName, Weight
from rollway.prefect.run import requester, run_name
from rollway.prefect.task import together
from rollway.reports.rollout import RolloutReport
from rollway.rollout.request import Request
from tasks.abort import abort_after_death, aborted_if_it_fails
from tasks.connect import connect
from tasks.evidence import end_if_it_waits_long
from tasks.moves import MOVES
from tasks.plan import make_plan, next_move
from tasks.prepare import read_rollout, register_environment, resolve_model
from tasks.report import write_report
from tasks.rollback import choose_target
from tasks.steer import make_room


@flow(
    name="deploy-endpoint",
    flow_run_name=run_name,
    on_cancellation=[abort_after_death],
    on_crashed=[abort_after_death],
)
async def deploy_endpoint(
    rollout: RolloutName,
    model_version: ModelVersion | None = None,
    requested_by: Requester = "person",
    dry_run: bool = False,
    force: bool = False,
    weight: Weight = 100,
    workspace_block: BlockName | None = None,
) -> RolloutReport:
    """Roll out a model to an Azure ML online endpoint; traffic moves only after a successful smoke test.

    Args:
        rollout: Folder to roll out: its name in deployments/, or its path.
        model_version: Model version to roll out; default: the one that the folder decides.
        requested_by: Who asks. schedule and watcher leave a paused endpoint alone and wait until a freeze window ends.
        dry_run: Only plan and report; write nothing to Azure.
        force: Roll out again even if nothing changed.
        weight: Percent of the traffic for the new online deployment; stable keeps the rest.
        workspace_block: Prefect block "AzureML workspace" with the workspace and the identity; default: the environment
            variables of the worker.
    """
    request = Request(
        folder=rollout,
        version=model_version,
        requested_by=requester(requested_by),
        weight=weight,
        force=str(flow_run.id) if force else "",  # a retry of a forced rollout continues with what it created
        is_dry_run=dry_run,
        workspace_block=workspace_block,
    )
    return await roll_out(request)


async def roll_out(request: Request) -> RolloutReport:
    """Bring the endpoint to what is asked for, one move after the other; each move is a task."""
    spec = await read_rollout(request.folder)
    async with aborted_if_it_fails(spec):
        connected = await connect(request.workspace_block)
        if request.is_rollback:
            await make_room(connected, spec)
        async with one_at_a_time(connected.workspace, spec.endpoint.name, comes_first=request.is_rollback):
            if request.is_rollback:
                request = await choose_target(connected, spec, request)
            models, environment = await together(
                resolve_model(connected, spec, request), register_environment(connected, spec, request)
            )
            rollout = await make_plan(connected, spec, request, models, environment)
            while not rollout.is_over and not (move := await next_move(rollout)).is_end:
                await end_if_it_waits_long(rollout, move)
                await MOVES[move.kind](rollout, move)
            return ended(await write_report(rollout))
