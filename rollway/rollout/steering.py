"""Orders of people to a rollout: what each of them means for an endpoint."""

from rollway.errors import ConfigurationError
from rollway.rollout import traffic
from rollway.rollout.entries import Order
from rollway.rollout.rollback import Target
from rollway.rollout.state import EndpointState, OnlineDeploymentState, model_of
from rollway.spec import Frozen

LEFT_TO_THE_RUN = {
    Order.PROMOTE: "told to promote, the run that works on it does it",
    Order.ABORT: "told to abort, the run that works on it does it",
}


class Steered(Frozen):
    """An endpoint after an order.

    Attributes:
        outcome: What happened, in a few words.
        traffic_now: Percent by online deployment; None if unknown.
        remarks: What was left, and why: sentences for people.
    """

    endpoint: str
    order: Order
    outcome: str
    traffic_now: dict[str, int] | None = None
    remarks: tuple[str, ...] = ()


def require_meaning(order: Order, endpoint: EndpointState) -> None:
    """Raise ConfigurationError if there is nothing to promote or to resume."""
    if not endpoint.exists:
        raise ConfigurationError(
            f"there is no endpoint {endpoint.name!r}",
            where="the workspace",
            hint="`rollway status` lists those that there are; roll it out first",
        )
    if order is Order.PROMOTE and promotable(endpoint) is None:
        raise ConfigurationError(
            "there is nothing to promote",
            where=f"endpoint {endpoint.name}",
            why=f"no canary has traffic, and none waits for it: {traffic.describe_serving(endpoint.traffic)}",
            hint="start a rollout with `rollway deploy`; with --weight 10 it begins as a canary",
        )
    record = endpoint.record
    if order is Order.RESUME and not (record.pause_reason or record.is_held):
        raise ConfigurationError(
            "there is nothing to resume",
            where=f"endpoint {endpoint.name}",
            why="it is neither paused nor held",
            hint="nothing: automation may roll it out; `rollway status` shows what it waits for",
        )


def outcome_of(order: Order, endpoint: EndpointState, *, is_restored: bool = False) -> str:
    """Return what an order has done, in a few words.

    Args:
        endpoint: The endpoint with the order in its record.
        is_restored: True if all traffic was brought back to stable.
    """
    if order is Order.HOLD:
        return "held until somebody resumes it"
    if order is Order.RESUME:
        return "resumed"
    if is_restored:
        return "aborted, all traffic is back on stable"
    if order is Order.ABORT and endpoint.record.lease is None and endpoint.record.underway is None:
        return "told to abort, though no canary has traffic: a run that has just begun ends"
    return LEFT_TO_THE_RUN[order]


def promotable(endpoint: EndpointState) -> Target | None:
    """Return the online deployment that `promote` gives all traffic, or None."""
    found = _waiting(endpoint)
    if found is None:
        return None
    model, _, version = (model_of(found) or "").rpartition(":")
    return Target(online_deployment=found.name, model=model or None, version=version or None)


def _waiting(endpoint: EndpointState) -> OnlineDeploymentState | None:
    """Return the canary, or the newest ready candidate without traffic."""
    record = endpoint.record
    if record.underway is not None:
        return endpoint.online_deployment(record.underway.canary)
    if endpoint.newcomer is not None:
        return endpoint.online_deployment(endpoint.newcomer)
    replaced = record.previous.online_deployment.lower() if record.previous else ""
    idle = [
        one
        for one in endpoint.online_deployments
        if one.is_ours and one.is_succeeded and not endpoint.weight_of(one.name) and one.name.lower() != replaced
    ]
    newer = [one for one in idle if (one.record.created_at or "") > (record.promoted_at or "")]
    return max(newer, key=lambda one: one.record.created_at or "", default=None)
