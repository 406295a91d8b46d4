"""The rollback of an endpoint to an earlier online deployment or model version."""

from prefect import flow

from rollway.prefect.concurrency import one_at_a_time
from rollway.prefect.parameters import BlockName, RolloutName
from rollway.prefect.run import rename_run, run_name
from rollway.prefect.task import together
from rollway.reports.rollout import RolloutReport
from tasks.abort import abort_after_death, abort_rollout
from tasks.connect import connect
from tasks.plan import make_plan
from tasks.prepare import read_rollout, register_environment, resolve_model
from tasks.promote import move_traffic, retire_replaced, smoke_test
from tasks.provision import (
    claim_endpoint,
    create_online_deployment,
    ensure_endpoint,
    remove_leftovers,
    wait_until_ready,
)
from tasks.report import write_report
from tasks.rollback import as_rollback, choose_target, plan_rollback


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
    rolled out again, with the files of the folder as they are now.

    Args:
        rollout: Folder of the endpoint: its name in deployments/, or its path.
        to: Online deployment or model version to go back to; default: the one that the last promotion replaced.
        workspace_block: Prefect block "AzureML workspace" with the workspace and the identity; default: the environment
            variables of the worker.
    """
    spec = await read_rollout(rollout)
    connected = planned = live = None
    try:
        connected = await connect(workspace_block)
        async with one_at_a_time(connected.workspace.name, spec.endpoint.name):
            target = await choose_target(connected, spec, to)
            if target.online_deployment is not None:
                planned = await plan_rollback(connected, spec, target)
                await rename_run(planned.plan.model)
                planned = await claim_endpoint(planned)
            else:
                model, environment = await together(
                    resolve_model(connected, spec, target.version, False),
                    register_environment(connected, spec, False),
                )
                await rename_run(model)
                planned = as_rollback(await make_plan(connected, spec, model, environment, False, False, 100), target)
                planned = await claim_endpoint(planned, await ensure_endpoint(planned))

            if planned.has_leftovers:
                await remove_leftovers(planned)
            if planned.writes_online_deployment:
                await create_online_deployment(planned)
            ready = await wait_until_ready(planned)
            pinned = await smoke_test(planned, "pinned")
            after = await move_traffic(planned, ready)
            live = await smoke_test(planned, "by traffic")
            retired = await retire_replaced(planned)
            return await write_report(planned, traffic_after=after, smoke_tests=(pinned, live), retired=retired)
    except BaseException as error:  # cancelling a run raises no Exception
        await abort_rollout(connected, spec, planned, error, is_promoted=live is not None)
        raise
