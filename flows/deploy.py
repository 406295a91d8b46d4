"""The rollout of one folder of deployments/."""

from prefect import flow

from rollway.prefect.concurrency import one_at_a_time
from rollway.prefect.parameters import BlockName, ModelVersion, RolloutName, Weight
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


@flow(
    name="deploy-endpoint",
    flow_run_name=run_name,
    on_cancellation=[abort_after_death],
    on_crashed=[abort_after_death],
)
async def deploy_endpoint(
    rollout: RolloutName,
    model_version: ModelVersion | None = None,
    dry_run: bool = False,
    force: bool = False,
    weight: Weight = 100,
    workspace_block: BlockName | None = None,
) -> RolloutReport:
    """Put a model behind an Azure ML online endpoint; traffic moves only after a successful smoke test.

    Args:
        rollout: Folder to roll out: its name in deployments/, or its path.
        model_version: Model version to roll out; default: the one that deployment.yml names.
        dry_run: Only plan and report; write nothing to Azure.
        force: Roll out again even if nothing changed.
        weight: Percent of the traffic for the new online deployment; the others share the rest.
        workspace_block: Prefect block "AzureML workspace" with the workspace and the identity; default: the environment
            variables of the worker.
    """
    spec = await read_rollout(rollout)
    connected = planned = live = None
    try:
        connected = await connect(workspace_block)
        async with one_at_a_time(connected.workspace.name, spec.endpoint.name):
            model, environment = await together(
                resolve_model(connected, spec, model_version, dry_run),
                register_environment(connected, spec, dry_run),
            )
            await rename_run(model)
            planned = await make_plan(connected, spec, model, environment, dry_run, force, weight)
            if dry_run or planned.plan.is_no_op:
                return await write_report(planned)

            endpoint = await ensure_endpoint(planned)
            planned = await claim_endpoint(planned, endpoint)
            if planned.has_leftovers:
                await remove_leftovers(planned)
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
