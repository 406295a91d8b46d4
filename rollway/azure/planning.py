"""Planning without Prefect: everything is read, nothing is written."""

import asyncio

from rollway.azure import assets, session
from rollway.azure.failures import in_thread
from rollway.azure.folder import load_folder
from rollway.azure.state import read_endpoint
from rollway.rollout.plan import Plan, plan
from rollway.settings import workspace_from_environment


async def plan_rollout(folder: str, model_version: str | None = None) -> Plan:
    """What a rollout of the folder would do now; raises RollwayError for everything that would stop it early."""
    spec = await in_thread(load_folder, folder)
    connected = await session.connect(workspace_from_environment())
    opened = await session.open_session(connected.workspace)
    model, environment, endpoint = await asyncio.gather(
        assets.resolve_model(opened, spec, model_version, is_dry_run=True),
        assets.register_environment(opened, spec, is_dry_run=True),
        read_endpoint(opened, spec.endpoint.name),
    )
    return plan(spec, model, environment, endpoint)
