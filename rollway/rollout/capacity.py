"""How many instances an online deployment gets: capacity never shrinks by accident."""

from collections.abc import Sequence

from rollway.rollout import traffic
from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.wanted import Wanted
from rollway.spec import RolloutSpec


def instances_of(
    spec: RolloutSpec,
    wanted: Wanted,
    endpoint: EndpointState,
    existing: OnlineDeploymentState | None,
    autoscale: Sequence[AutoscaleSetting] | None,
) -> int:
    """Return the instance count of the candidate.

    It takes over with at least as many as each of those that serve now. One that serves already is scaled in only if
    the number in the file has changed since it was applied, and never if autoscale rules decide.
    """
    file = spec.online_deployment.instance_count
    serving = map(endpoint.online_deployment, traffic.served_by(endpoint.stable_traffic))
    most = max((one.instance_count for one in serving if one), default=0)
    if existing is None:
        return max(file, most)
    today = existing.instance_count
    if wanted.goes_back_to:
        return max(today, most)
    if any(one.online_deployment.lower() == existing.name.lower() for one in autoscale or ()):
        return today
    is_new_number = existing.record.instances not in (None, file)
    wanted_count = file if file > today or is_new_number else today
    return wanted_count if endpoint.weight_of(existing.name) else max(wanted_count, most)
