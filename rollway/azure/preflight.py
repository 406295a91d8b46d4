"""The preflight with the quota read from Azure; nothing is written."""

import itertools

from rollway.azure.quota import read_usage
from rollway.azure.session import Session, WorkspaceFacts
from rollway.rollout.moves import Kind
from rollway.rollout.plan import Plan
from rollway.rollout.preflight import Finding, Severity, preflight
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec


async def run_preflight(
    session: Session,
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    plan: Plan,
    today: EndpointState,
    others: tuple[Finding, ...] = (),
) -> Plan:
    """Return the plan with its findings, blockers first; see `rollway.rollout.preflight.preflight`.

    A plan without moves has no findings.

    Args:
        others: Findings of other checks.
    """
    if plan.is_no_op:
        return plan
    before = list(itertools.takewhile(lambda move: move.kind is not Kind.CREATE, plan.moves))
    created = next((move for move in plan.moves if move.kind is Kind.CREATE), None)
    if created is not None and created.instances is not None:
        wanted = spec.online_deployment.model_copy(update={"instance_count": created.instances})
        spec = spec.model_copy(update={"online_deployment": wanted})
    usage = None if spec.endpoint.kind == "kubernetes" else await read_usage(session, connected.region)
    findings = preflight(
        spec,
        today,
        connected.network,
        usage,
        online_deployment=plan.online_deployment,
        removes=frozenset(move.target for move in before if move.kind is Kind.DELETE),
    )
    ordered = sorted((*findings, *others), key=lambda one: one.severity is not Severity.BLOCKER)
    return plan.model_copy(update={"findings": tuple(ordered)})
