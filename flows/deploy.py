"""The rollout of one folder of deployments/, from reading it to retiring what it replaced."""

from prefect import flow

from rollway.parameters import BlockName, ModelVersion, RolloutName
from rollway.report import RolloutReport
from tasks.prepare import connect, ensure_endpoint, read_rollout, register_environment, resolve_model
from tasks.promote import abort_rollout, move_traffic, retire_replaced, smoke_test
from tasks.provision import create_online_deployment, make_plan, wait_until_ready
from tasks.report import write_report
from tasks.run_page import rename_run, run_name
from tasks.step import together


@flow(name="deploy-endpoint", flow_run_name=run_name)
async def deploy_endpoint(
    rollout: RolloutName,
    model_version: ModelVersion | None = None,
    dry_run: bool = False,
    workspace_block: BlockName | None = None,
) -> RolloutReport:
    """Puts a model behind an Azure ML online endpoint, safely: traffic moves only to what has answered.

    Args:
        rollout: The folder to roll out, by its name under deployments/ or by its path.
        model_version: The model version to roll out instead of the one that deployment.yml names.
        dry_run: Only decide and report what would be done; write nothing to Azure.
        workspace_block: The Prefect block "AzureML workspace" that says where to roll out and as whom; without one the
            worker's environment variables say so.
    """
    spec = await read_rollout(rollout)
    connected = await connect(workspace_block)
    try:
        model, environment, endpoint = await together(
            resolve_model(connected, spec, model_version, dry_run),
            register_environment(connected, spec, dry_run),
            ensure_endpoint(connected, spec, dry_run),
        )
        await rename_run(model)
        planned = await make_plan(connected, spec, model, environment, endpoint, dry_run)
        if dry_run or planned.plan.is_no_op:
            return await write_report(planned)

        await create_online_deployment(planned)
        await wait_until_ready(planned)
        pinned = await smoke_test(planned, "pinned")
        after = await move_traffic(planned)
        live = await smoke_test(planned, "by traffic")
    except BaseException as error:  # cancelling a run raises no Exception
        await abort_rollout(connected, spec, str(error) or type(error).__name__)
        raise
    retired = await retire_replaced(planned)
    return await write_report(planned, traffic_after=after, smoke_tests=(pinned, live), retired=retired)
