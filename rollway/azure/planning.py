"""Plans with everything they need read from Azure; nothing is written."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from rollway.azure import assets, session
from rollway.azure.autoscale import check_autoscale
from rollway.azure.evidence import check_evidence
from rollway.azure.folder import load_folder
from rollway.azure.models import find_models, with_live_versions
from rollway.azure.preflight import run_preflight
from rollway.azure.session import Session, WorkspaceFacts
from rollway.azure.state import read_endpoint
from rollway.azure.threads import in_thread
from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Kind
from rollway.rollout.plan import Plan, plan
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.preflight import Finding
from rollway.rollout.request import Models, Request, answer
from rollway.rollout.rollback import require_way_back
from rollway.rollout.state import EndpointState, ResolvedAsset
from rollway.settings import DefaultIdentity, Identity, Workspace, workspace_from_environment
from rollway.spec import RolloutSpec

FindEnded = Callable[[EndpointState], Awaitable[frozenset[str]]]


async def plan_rollout(request: Request, where: tuple[Workspace, Identity] | None = None) -> Plan:
    """Return the plan of a run that would start now.

    Raises RollwayError for everything that would stop it before the plan; the plan's findings say what would stop it
    afterwards.

    Args:
        request: What somebody would ask for.
        where: Workspace and identity; default: those of the environment.
    """
    request = request.model_copy(update={"is_dry_run": True})
    spec = await in_thread(load_folder, request.folder)
    workspace, identity = where or (workspace_from_environment(), DefaultIdentity())
    connected = await session.connect(workspace, identity)
    opened = await session.open_session(connected.workspace, identity)
    models, environment = await asyncio.gather(
        find_models(opened, spec, request), assets.register_environment(opened, spec, is_dry_run=True)
    )
    now = datetime.now(UTC)
    facts = Facts(attempt="plan/1", started=now, now=now)
    return (await make_plan(opened, connected, spec, request, models, environment, facts)).plan


async def make_plan(
    session: Session,
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    request: Request,
    models: Models,
    environment: ResolvedAsset | None,
    facts: Facts,
    find_ended: FindEnded | None = None,
) -> PlannedRollout:
    """Read the endpoint; return what the run wants, and its plan with the findings of the preflight.

    Args:
        find_ended: Returns the attempts of other runs at an endpoint that have ended; default: that is unknown.
    """
    today = await read_endpoint(session, spec.endpoint.name)
    if find_ended is not None:
        facts = facts.model_copy(update={"ended": facts.ended | await find_ended(today)})
    models = await with_live_versions(session, models, today)
    found = answer(spec, request, models, environment, today, facts.now)
    made = plan(spec, found.wanted, today, facts)
    settings: tuple[AutoscaleSetting, ...] = ()
    findings: tuple[Finding, ...] = ()
    if not made.is_no_op and today.online_deployments and today.kind == "managed":
        settings, findings = await check_autoscale(session, today.name)
        made = plan(spec, found.wanted, today, facts.model_copy(update={"autoscale": settings}))
    if request.is_rollback and request.target is not None and not request.takes_what_exists:
        require_way_back(made, spec.folder, request.target)
    if made.has(Kind.BAKE) and not found.wanted.goes_on:
        findings = (*findings, *await check_evidence(session, spec, today))
    made = await run_preflight(session, connected, spec, made, today, findings if made.has(Kind.MOVE_TRAFFIC) else ())
    return PlannedRollout(
        workspace=connected.workspace,
        spec=spec,
        request=request,
        wanted=found.wanted,
        plan=made.model_copy(
            update={
                "workspace": str(connected.workspace),
                "skipped": found.choice.skipped if found.choice else (),
            }
        ),
        autoscale=settings,
        scoring_uri=today.scoring_uri,
        is_superseded=bool(found.superseded_because),
    )
