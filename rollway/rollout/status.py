"""Status of the endpoints of a workspace, from Azure's answers alone."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum

from rollway.rollout import traffic
from rollway.rollout.costs import CostClass, cost_class
from rollway.rollout.entries import Failures, at_text
from rollway.rollout.progress import Evidence, place
from rollway.rollout.record import has_record
from rollway.rollout.removal import replaced_stays_until
from rollway.rollout.restraint import MOST_FAILURES
from rollway.rollout.state import EndpointState, OnlineDeploymentState, model_of
from rollway.rollout.work import Work, work_at
from rollway.spec import Frozen, RolloutFile


class Role(StrEnum):
    """Role of an online deployment behind its endpoint."""

    LIVE = "live"
    MIRROR = "mirror"
    CANDIDATE = "candidate"  # a rollout has created it and given it no traffic yet
    PREVIOUS = "previous"  # kept to roll back to
    LEFTOVER = "leftover"  # has no traffic and costs the same


class LastOutcome(StrEnum):
    """Outcome of the last rollout of an endpoint; `running`, `under way` and `orphaned` before its end."""

    RUNNING = "running"
    UNDERWAY = "under way"  # it gets its traffic in steps
    PROMOTED = "promoted"
    ABORTED = "aborted"
    ORPHANED = "orphaned"  # it has not ended, and its run is gone
    UNCONFIRMED = "unconfirmed"  # it moved traffic and ended before the smoke test there


class LastRollout(Frozen):
    """The last rollout; `run` is `<flow run>/<attempt>`, `at` the time in UTC when it ended or wrote last."""

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
        rejected: What automation does not roll out again, unless it serves.
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
    """The status of endpoints at a time, sorted by name."""

    workspace: str
    at: datetime
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
    now: datetime,
    *,
    ended: frozenset[str] = frozenset(),
    folder: str | None = None,
    rollout: RolloutFile | None = None,
    evidence: Evidence | None = None,
) -> EndpointStatus:
    """Return the status of an endpoint.

    Args:
        newest: The newest version of each of `models_of`, by name.
        ended: Attempts that are known to have ended.
        folder: Its rollout folder; None if unknown.
        rollout: Its rollout.yml; None if unknown.
        evidence: The evidence of its progressive rollout; None if unknown.
    """
    live, record, work = traffic.served_by(endpoint.traffic), endpoint.record, work_at(endpoint, rollout, now)
    main = endpoint.online_deployment(live[0]) if live else None
    last = _last_rollout(endpoint, work, ended)
    behind = tuple(_status_of(one, endpoint, work, newest, rollout) for one in endpoint.online_deployments)
    serving = {(one.model or "").lower() for one in behind if one.role is Role.LIVE}
    return EndpointStatus(
        name=endpoint.name,
        is_ours=has_record(endpoint.tags),
        provisioning_state=endpoint.provisioning_state,
        online_deployments=behind,
        live_since=record.promoted_at or (main.record.created_at if main else None),
        last_rollout=last,
        progress=place(record.underway, record.progression) if record.underway else "",
        canary=(endpoint.newcomer or "") if endpoint.is_canary else "",
        order=record.command.sentence if record.command else "",
        pause_reason=record.pause_reason,
        failures=record.failures,
        rejected=tuple(one for one in record.rejected if one.partition("/")[0].lower() not in serving),
        problems=tuple(_problems(endpoint, last, folder, is_known=work is not None and work.run in ended)),
        evidence=evidence,
    )


def _status_of(
    one: OnlineDeploymentState,
    endpoint: EndpointState,
    work: Work | None,
    newest: Mapping[str, str | None],
    rollout: RolloutFile | None,
) -> OnlineDeploymentStatus:
    model, instance_type = model_of(one), one.settings.get("instance_type")
    role, stays_until = _role(one, endpoint, work), None
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


def _role(one: OnlineDeploymentState, endpoint: EndpointState, work: Work | None) -> Role:
    name = one.name.lower()
    if endpoint.weight_of(name):
        return Role.LIVE
    if any(target.lower() == name and weight for target, weight in endpoint.mirror_traffic.items()):
        return Role.MIRROR
    if work is not None and work.candidate.lower() == name:
        return Role.CANDIDATE
    previous = endpoint.record.previous
    return Role.PREVIOUS if previous and previous.online_deployment.lower() == name else Role.LEFTOVER


def _last_rollout(endpoint: EndpointState, work: Work | None, ended: frozenset[str]) -> LastRollout | None:
    last = endpoint.record.last
    if work is not None:
        outcome = LastOutcome.UNDERWAY if work.is_progressive else LastOutcome.RUNNING
        if work.is_overdue or work.run in ended:
            outcome = LastOutcome.ORPHANED
        return LastRollout(outcome=outcome, run=work.run.rstrip("/"), at=work.since)
    run, at = (last.attempt, last.at) if last else (None, None)
    if endpoint.is_unproven:
        return LastRollout(outcome=LastOutcome.UNCONFIRMED, run=run, at=at)
    return LastRollout(outcome=LastOutcome(last.outcome.value), run=run, at=at) if last else None


def _problems(
    endpoint: EndpointState, last: LastRollout | None, folder: str | None, *, is_known: bool
) -> Iterator[str]:
    """Yield what a person must look at.

    Args:
        is_known: True if the run of the last rollout is known to have ended.
    """
    go_on = f"`rollway deploy {folder}`" if folder else "another rollout"
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
        yield f"its rollout failed {failures.count} times for temporary reasons, last at {at_text(failures.at)}"
    if last is not None and last.outcome is LastOutcome.UNCONFIRMED:
        stable = traffic.describe(endpoint.stable_traffic)
        yield f"a rollout moved traffic and ended before the smoke test (before: {stable}); {go_on} repairs it"
    if (underway := endpoint.record.underway) and underway.held:
        answers = f"`rollway promote {endpoint.name}`, or `rollway abort {endpoint.name}`"
        yield f"its rollout waits for a person: {underway.held}; {answers}"
    if last is not None and last.outcome is LastOutcome.ORPHANED:
        gone = "has ended" if is_known else f"has done nothing since {at_text(last.at or '')}"
        yield f"no run works on its rollout any more: {last.run} {gone}; {go_on} goes on with it"
