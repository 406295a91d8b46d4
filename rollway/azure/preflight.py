"""The preflight with what Azure says of its quota; nothing is written."""

from rollway.azure.quota import read_usage
from rollway.azure.session import Session, WorkspaceFacts
from rollway.rollout.plan import Kind, Plan
from rollway.rollout.preflight import preflight
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec


async def run_preflight(
    session: Session, connected: WorkspaceFacts, spec: RolloutSpec, plan: Plan, today: EndpointState
) -> Plan:
    """The plan with everything that stands in its way, blockers first; see `rollway.rollout.preflight.preflight`.

    A plan with nothing to do has nothing in its way.
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
        removes=frozenset(plan.targets(Kind.REMOVE)),
    )
    return plan.model_copy(update={"findings": findings})
