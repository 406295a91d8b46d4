"""The preflight with what Azure says of its quota; nothing is written."""

from collections.abc import Mapping

from rollway.azure.quota import read_usage
from rollway.azure.session import Session, WorkspaceFacts
from rollway.rollout.preflight import Finding, preflight
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec


async def run_preflight(
    session: Session,
    connected: WorkspaceFacts,
    spec: RolloutSpec,
    endpoint: EndpointState,
    *,
    online_deployment: str,
    removes: frozenset[str] = frozenset(),
    traffic_after: Mapping[str, int] | None = None,
) -> tuple[Finding, ...]:
    """Everything that stands in the way of a plan, blockers first; see `rollway.rollout.preflight.preflight`."""
    usage = None if spec.endpoint.kind == "kubernetes" else await read_usage(session, connected.region)
    return preflight(
        spec,
        endpoint,
        connected.network,
        usage,
        online_deployment=online_deployment,
        removes=removes,
        traffic_after=traffic_after,
    )
