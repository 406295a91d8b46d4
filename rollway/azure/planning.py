"""Planning without Prefect: everything is read, nothing is written."""

import asyncio

from rollway.azure import assets, session
from rollway.azure.folder import load_folder
from rollway.azure.preflight import run_preflight
from rollway.azure.state import read_endpoint
from rollway.azure.threads import in_thread
from rollway.rollout.plan import Plan, plan
from rollway.settings import DefaultIdentity, Identity, Workspace, workspace_from_environment


async def plan_rollout(
    folder: str, model_version: str | None = None, where: tuple[Workspace, Identity] | None = None
) -> Plan:
    """What a rollout of the folder would do now, in the environment's workspace unless another is given.

    Raises RollwayError for everything that would stop it early.
    """
    spec = await in_thread(load_folder, folder)
    workspace, identity = where or (workspace_from_environment(), DefaultIdentity())
    connected = await session.connect(workspace, identity)
    opened = await session.open_session(connected.workspace, identity)
    model, environment, endpoint = await asyncio.gather(
        assets.resolve_model(opened, spec, model_version, is_dry_run=True),
        assets.register_environment(opened, spec, is_dry_run=True),
        read_endpoint(opened, spec.endpoint.name),
    )
    made = plan(spec, model, environment, endpoint)
    return await run_preflight(opened, connected, spec, made, endpoint)
