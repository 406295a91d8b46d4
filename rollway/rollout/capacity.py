"""Instance counts: capacity never shrinks by accident."""

from collections.abc import Sequence

from rollway.rollout.autoscale import AutoscaleSetting, wanted_instances
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.wanted import Wanted
from rollway.spec import RolloutSpec


def instances_of(
    spec: RolloutSpec,
    wanted: Wanted,
    endpoint: EndpointState,
    existing: OnlineDeploymentState | None,
    autoscale: Sequence[AutoscaleSetting],
) -> int:
    """Return the instance count of the candidate.

    It takes over with at least as many as each of those that serve now. One that serves already is scaled in only if
    the number in the file has changed since it was applied, and never if autoscale rules decide.
    """
    file = spec.online_deployment.instance_count
    serving = endpoint.behind(endpoint.stable_traffic)
    most = max((one.instance_count for one in serving), default=0)
    if existing is None:
        rules = next((one for one in autoscale if serving and _is_of(one, serving[0])), None)
        return wanted_instances(file, most, rules)
    today = existing.instance_count
    if wanted.goes_back_to:
        return max(today, most)
    if any(_is_of(one, existing) for one in autoscale):
        return today
    is_new_number = existing.record.instances not in (None, file)
    wanted_count = file if file > today or is_new_number else today
    return wanted_count if endpoint.weight_of(existing.name) else max(wanted_count, most)


def _is_of(setting: AutoscaleSetting, online_deployment: OnlineDeploymentState) -> bool:
    return setting.online_deployment.lower() == online_deployment.name.lower()
