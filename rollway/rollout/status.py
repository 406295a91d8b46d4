"""Status of the endpoints of a workspace, from Azure's answers alone."""

from collections.abc import Iterator, Mapping
from enum import StrEnum

from rollway.rollout import traffic
from rollway.rollout.costs import CostClass, cost_class
from rollway.rollout.entries import Failures, Lease
from rollway.rollout.progress import Evidence, describe
from rollway.rollout.record import has_record
from rollway.rollout.removal import replaced_stays_until
from rollway.rollout.restraint import MOST_FAILURES
from rollway.rollout.state import EndpointState, OnlineDeploymentState, model_of
from rollway.spec import Frozen, RolloutFile

# Clocks of other machines may be off.
STALE_AFTER = 2


class Role(StrEnum):
    """Role of an online deployment behind its endpoint."""

    LIVE = "live"
    MIRROR = "mirror"
    PREVIOUS = "previous"  # kept to roll back to
    LEFTOVER = "leftover"  # has no traffic and costs the same


class LastOutcome(StrEnum):
    """Outcome of the last rollout of an endpoint; `running` and `interrupted` before its end."""

    RUNNING = "running"
    UNDERWAY = "under way"  # it gets its traffic in steps
    PROMOTED = "promoted"
    ABORTED = "aborted"
    INTERRUPTED = "interrupted"  # it holds the endpoint and has not ended in time
    UNCONFIRMED = "unconfirmed"  # it moved traffic and ended before the smoke test there


class LastRollout(Frozen):
    """The rollout that wrote to the endpoint last; `run` is `<flow run>/<attempt>`, `at` a time in UTC."""

    outcome: LastOutcome
    run: str | None = None
    at: str | None = None


class OnlineDeploymentStatus(Frozen):
    """An online deployment.

    Attributes:
        weight: Percent of the traffic.
        newest: The newest version of its model; None if unknown.
        stays_until: Time until which it is kept at least, in UTC; None if that is unknown, or if it was not replaced.
    """

    name: str
    role: Role
    weight: int
    provisioning_state: str
    model: str | None
    newest: str | None
    instance_type: str | None
    instance_count: int
    cost: CostClass
    created_at: str | None
    stays_until: str | None = None

    @property
    def is_newest(self) -> bool:
        """True if no newer version of its model is known."""
        return self.newest is None or self.model is None or self.model.rpartition(":")[2] == self.newest


class EndpointStatus(Frozen):
    """An endpoint.

    Attributes:
        is_ours: True if Rollway has written to it.
        live_since: Time since when the traffic is as it is, in UTC.
        progress: How far its progressive rollout is, in words; empty if there is none.
        canary: Name of the online deployment that waits for a promotion or an abort; empty if there is none.
        order: The last order of a person that still holds or is not carried out yet, in words.
        pause_reason: Why automation leaves it alone; empty if it is not paused.
        failures: The temporary failures of the last rollouts.
        problems: Problems that a person must look at.
        evidence: The evidence of its progressive rollout; None if it was not asked for, or is not in Azure Monitor.
    """

    name: str
    is_ours: bool
    provisioning_state: str
    online_deployments: tuple[OnlineDeploymentStatus, ...] = ()
    live_since: str | None = None
    last_rollout: LastRollout | None = None
    progress: str = ""
    canary: str = ""
    order: str = ""
    pause_reason: str = ""
    failures: Failures | None = None
    rejected: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    evidence: Evidence | None = None

    def of_role(self, *roles: Role) -> tuple[OnlineDeploymentStatus, ...]:
        """Return its online deployments in those roles, heaviest first."""
        found = [one for one in self.online_deployments if one.role in roles]
        return tuple(sorted(found, key=lambda one: (-one.weight, one.name)))


class WorkspaceStatus(Frozen):
    """The status of endpoints, sorted by name."""

    workspace: str
    endpoints: tuple[EndpointStatus, ...] = ()

    @property
    def is_healthy(self) -> bool:
        """True if no endpoint has a problem."""
        return not any(one.problems for one in self.endpoints)


def models_of(endpoint: EndpointState) -> set[str]:
    """Return the names of the workspace's models behind the endpoint; models of registries are left out."""
    return set(filter(None, map(_workspace_model, endpoint.online_deployments)))


def status_of(
    endpoint: EndpointState,
    newest: Mapping[str, str | None],
    lease_age_seconds: float | None = None,
    rollout: RolloutFile | None = None,
    evidence: Evidence | None = None,
) -> EndpointStatus:
    """Return the status of an endpoint.

    Args:
        newest: The newest version of each of `models_of`, by name.
        lease_age_seconds: Time since the lease was renewed; None if unknown.
        rollout: Its rollout.yml; None if unknown.
        evidence: The evidence of its progressive rollout; None if unknown.
    """
    live, record = traffic.served_by(endpoint.traffic), endpoint.record
    main = endpoint.online_deployment(live[0]) if live else None
    last = _last_rollout(endpoint, lease_age_seconds)
    return EndpointStatus(
        name=endpoint.name,
        is_ours=has_record(endpoint.tags),
        provisioning_state=endpoint.provisioning_state,
        online_deployments=tuple(_status_of(one, endpoint, newest, rollout) for one in endpoint.online_deployments),
        live_since=record.promoted_at or (main.record.created_at if main else None),
        last_rollout=last,
        progress=describe(record.underway, record.progression) if record.underway else "",
        canary=(endpoint.newcomer or "") if endpoint.is_canary else "",
        order=record.command.sentence if record.command else "",
        pause_reason=record.pause_reason,
        failures=record.failures,
        rejected=record.rejected,
        problems=tuple(_problems(endpoint, last)),
        evidence=evidence,
    )


def _status_of(
    one: OnlineDeploymentState, endpoint: EndpointState, newest: Mapping[str, str | None], rollout: RolloutFile | None
) -> OnlineDeploymentStatus:
    model, instance_type = model_of(one), one.settings.get("instance_type")
    role, stays_until = _role(one, endpoint), None
    if role is Role.PREVIOUS and rollout is not None and one.is_ours:
        stays_until = replaced_stays_until(rollout, endpoint.record.promoted_at).isoformat(timespec="seconds")
    return OnlineDeploymentStatus(
        name=one.name,
        role=role,
        weight=endpoint.weight_of(one.name),
        provisioning_state=one.provisioning_state,
        model=model,
        newest=newest.get(_workspace_model(one) or ""),
        instance_type=str(instance_type) if instance_type else None,
        instance_count=one.instance_count,
        cost=cost_class(str(instance_type) if instance_type else None, one.instance_count),
        created_at=one.record.created_at,
        stays_until=stays_until,
    )


def _workspace_model(one: OnlineDeploymentState) -> str | None:
    is_from_registry = "registries/" in (one.model or "").lower()
    return None if is_from_registry else (model_of(one) or "").rpartition(":")[0] or None


def _role(one: OnlineDeploymentState, endpoint: EndpointState) -> Role:
    name = one.name.lower()
    if endpoint.weight_of(name):
        return Role.LIVE
    if any(target.lower() == name and weight for target, weight in endpoint.mirror_traffic.items()):
        return Role.MIRROR
    previous = endpoint.record.previous
    return Role.PREVIOUS if previous and previous.online_deployment.lower() == name else Role.LEFTOVER


def _last_rollout(endpoint: EndpointState, lease_age_seconds: float | None) -> LastRollout | None:
    held, last = endpoint.record.lease, endpoint.record.last
    if held is not None:
        is_stale = _is_stale(held, endpoint, lease_age_seconds)
        outcome = LastOutcome.INTERRUPTED if is_stale else LastOutcome.RUNNING
        return LastRollout(outcome=outcome, run=held.holder, at=held.renewed_at)
    if underway := endpoint.record.underway:
        since = underway.since[-1] if underway.since else underway.until
        return LastRollout(outcome=LastOutcome.UNDERWAY, run=underway.run, at=since)
    run, at = (last.attempt, last.at) if last else (None, None)
    if endpoint.is_unproven:
        return LastRollout(outcome=LastOutcome.UNCONFIRMED, run=run, at=at)
    return LastRollout(outcome=LastOutcome(last.outcome.value), run=run, at=at) if last else None


def _is_stale(held: Lease, endpoint: EndpointState, age_seconds: float | None) -> bool:
    if endpoint.busy is not None:
        return False
    return age_seconds is not None and age_seconds > STALE_AFTER * held.ttl_seconds


def _problems(endpoint: EndpointState, last: LastRollout | None) -> Iterator[str]:
    if endpoint.is_failed:
        yield f"the endpoint is {endpoint.provisioning_state}"
    for name in traffic.served_by(endpoint.traffic):
        if endpoint.online_deployment(name) is None:
            yield f"{name} gets {endpoint.weight_of(name)} % of the traffic, but does not exist"
    for one in endpoint.online_deployments:
        if one.is_failed:
            weight = endpoint.weight_of(one.name)
            yield f"{one.name} is {one.provisioning_state}{f', and gets {weight} % of the traffic' if weight else ''}"
    failures = endpoint.record.failures
    if failures is not None and failures.count >= MOST_FAILURES:
        yield f"its rollout failed {failures.count} times for temporary reasons, last at {failures.at}"
    if last is not None and last.outcome is LastOutcome.UNCONFIRMED:
        stable = traffic.describe(endpoint.stable_traffic)
        yield f"a rollout moved traffic and ended before the smoke test (before: {stable}); roll out again to repair it"
    if (underway := endpoint.record.underway) and underway.held:
        yield f"its rollout waits for a person: {underway.held}; rollway promote, or rollway abort"
    if last is not None and last.outcome is LastOutcome.INTERRUPTED:
        yield f"the rollout {last.run} holds it since {last.at} and has not ended; roll out again to repair it"
