"""Plans with everything they need read from Azure; nothing is written."""

import asyncio
from uuid import uuid4

from rollway.azure import assets, session
from rollway.azure.folder import load_folder
from rollway.azure.preflight import run_preflight
from rollway.azure.session import Session, WorkspaceFacts
from rollway.azure.state import read_endpoint
from rollway.azure.threads import in_thread
from rollway.rollout.plan import Plan, plan
from rollway.rollout.rollback import hold
from rollway.rollout.state import EndpointState, ResolvedAsset
from rollway.settings import DefaultIdentity, Identity, Workspace, workspace_from_environment
from rollway.spec import RolloutSpec


async def plan_rollout(
    folder: str,
    model_version: str | None = None,
    *,
    weight: int = 100,
    force: bool = False,
    where: tuple[Workspace, Identity] | None = None,
) -> Plan:
    """Return the plan of a rollout that would start now.

    Raises RollwayError for everything that would stop it before the plan; the plan's findings say what would stop it
    afterwards.

    Args:
        folder: Path of the rollout folder, or its name under deployments/.
        model_version: Version to roll out instead of the one that deployment.yml names.
        weight: Percent of traffic for the new online deployment.
        force: Plan a rollout even if nothing changed. The name of its online deployment is a new one each time.
        where: Workspace and identity; default: those of the environment.
    """
    spec = await in_thread(load_folder, folder)
    workspace, identity = where or (workspace_from_environment(), DefaultIdentity())
    connected = await session.connect(workspace, identity)
    opened = await session.open_session(connected.workspace, identity)
    model, environment = await asyncio.gather(
        assets.resolve_model(opened, spec, model_version, is_dry_run=True),
        assets.register_environment(opened, spec, is_dry_run=True),
    )
    token = str(uuid4()) if force else ""
    _, made = await make_plan(opened, connected, spec, model, environment, weight=weight, force=token)
    return made


async def make_plan(
    session: Session,
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    model: ResolvedAsset | None,
    environment: ResolvedAsset | None,
    *,
    weight: int,
    force: str,
    is_by_schedule: bool = False,
) -> tuple[EndpointState, Plan]:
    """Read the endpoint and return it with the plan and its preflight findings.

    Args:
        weight: Percent of traffic for the new online deployment.
        force: Token of a forced rollout, else empty; see `rollway.rollout.plan.plan`.
        is_by_schedule: True if no person started the rollout: then a paused endpoint is left alone.
    """
    today = await read_endpoint(session, spec.endpoint.name)
    made = plan(spec, model, environment, today, weight=weight, force=force)
    pause_reason = today.record.pause_reason
    if is_by_schedule and pause_reason:
        return today, hold(made, pause_reason)
    return today, await run_preflight(session, connected, spec, made, today)
