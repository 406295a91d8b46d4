"""The preflight with the quota read from Azure; nothing is written."""

from rollway.azure.quota import read_usage
from rollway.azure.session import Session, WorkspaceFacts
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
    usage = None if spec.endpoint.kind == "kubernetes" else await read_usage(session, connected.region)
    findings = preflight(
        spec,
        today,
        connected.network,
        usage,
        online_deployment=plan.online_deployment,
        instances=plan.instances,
        removes=plan.deletes_first,
    )
    ordered = sorted((*findings, *others), key=lambda one: one.severity is not Severity.BLOCKER)
    return plan.model_copy(update={"findings": tuple(ordered)})
