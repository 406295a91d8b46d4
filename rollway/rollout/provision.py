"""Everything about the candidate before it gets traffic, and the deletion of what nobody needs."""

from datetime import datetime, timedelta

from rollway.rollout import traffic
from rollway.rollout.capacity import instances_of
from rollway.rollout.changes import content_changes, differences, in_place_changes
from rollway.rollout.entries import age
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Change, Kind, Move, Outcome, end, wait
from rollway.rollout.record import is_same_run
from rollway.rollout.removal import removals
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.wanted import Candidate, Wanted, has_served
from rollway.spec import RolloutSpec

USUAL_SHARE = 0.95  # of the last time: an operation of the same kind hardly ever ends earlier
EARLIER_SHARE = 0.8  # of the last time: a guess, if it had ended before anybody looked


def provision(
    spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, candidate: Candidate, facts: Facts
) -> Move | None:
    """Return the move that is due until the candidate is ready as the folder describes it; None if it is."""
    name, existing = candidate.name, candidate.existing
    instances = instances_of(spec, wanted, endpoint, existing, facts.autoscale)
    if existing is None:
        if wanted.goes_back_to:
            return end(Outcome.GONE, name, "it is gone")
        if leftover := tidy(spec, wanted, endpoint, name, facts, is_only_leftovers=True):
            return leftover  # first, because it takes quota
        reasons = _reasons(spec, wanted, endpoint, candidate, instances)
        why = "no online deployment is what the folder describes"
        made = candidate.record
        return Move(kind=Kind.CREATE, target=name, why=why, changes=reasons, made=made, instances=instances)
    if existing.is_being_deleted:
        return wait(name, "it is being deleted")
    if existing.is_failed and name in facts.changed:
        # The wait finds out whether that is this run's own change, and raises Azure's reason.
        return Move(kind=Kind.WAIT_UNTIL_READY, target=name, why=f"it is {existing.provisioning_state} after a change")
    if existing.is_failed and not has_served(endpoint, name):
        why = f"it is {existing.provisioning_state}, and Azure cannot repair a failed first provisioning"
        if wanted.goes_back_to or not (existing.is_ours or spec.rollout.adopt):
            return end(Outcome.BLOCKED, name, f"{why}; delete it, or roll out a version")
        return Move(kind=Kind.DELETE, target=name, why=why)
    if not existing.is_settled:
        seconds = endpoint.record.provisioning_seconds or 0
        until = _nearly_ready_at(existing, min(seconds, spec.rollout.ready_timeout_seconds), facts.now)
        why = f"it is {existing.provisioning_state}"
        return Move(kind=Kind.WAIT_UNTIL_READY, target=name, why=why, seconds=seconds, until=until)
    wants_tags = (
        spec.online_deployment.model_copy(update={"tags": {}}) if wanted.goes_back_to else spec.online_deployment
    )
    changes = in_place_changes(existing, wants_tags, instances)
    if changes or existing.is_failed:
        why = "its last change failed" if existing.is_failed else "these fields can change in place"
        made = existing.record.changed(candidate.record, facts.attempt)
        return Move(kind=Kind.CHANGE, target=name, why=why, changes=changes, made=made, instances=instances)
    if spec.is_smoke_tested and name in facts.changed and facts.test_of(name) is None:
        return Move(kind=Kind.SMOKE_TEST, target=name, why="this run changed it")
    return None


def _nearly_ready_at(existing: OnlineDeploymentState, usual_seconds: float, now: datetime) -> datetime | None:
    """Return when a new online deployment is nearly ready, if it takes as long as usual; None if nobody knows."""
    record = existing.record
    since_creation = age(record.created_at or "", now) if record.written_by == record.created_by else None
    if since_creation is None or not usual_seconds:
        return None
    return now - since_creation + timedelta(seconds=USUAL_SHARE * usual_seconds)


def seconds_without_process(endpoint: EndpointState, attempt: str) -> int | None:
    """Return about how long Azure needed for an online deployment that its run found ready when it woke.

    None if there is none that the run of the attempt created, or if no earlier time is known.
    """
    usual = endpoint.record.provisioning_seconds
    made = [one for one in endpoint.online_deployments if is_same_run(one.record.created_by or "", attempt)]
    return round(EARLIER_SHARE * usual) if usual and any(one.is_succeeded for one in made) else None


def tidy(
    spec: RolloutSpec,
    wanted: Wanted,
    endpoint: EndpointState,
    candidate: str | None,
    facts: Facts,
    *,
    is_only_leftovers: bool = False,
) -> Move | None:
    """Return the move that deletes what an earlier rollout left, or what was replaced long enough ago, or None."""
    if not wanted.tidies:
        return None
    for removal in removals(spec, endpoint, candidate, facts.attempt, facts.now, facts.ended):
        if is_only_leftovers and not removal.is_leftover:
            continue
        if (seconds := removal.in_seconds) > 0:
            why = f"requests may still run there for {seconds:.0f} s"
            return Move(kind=Kind.SETTLE, target=removal.name, why=why, seconds=seconds)
        if settings := facts.settings_of(removal.name):
            why = "the online deployment goes"
            return Move(kind=Kind.DELETE_AUTOSCALE, target=removal.name, why=why, settings=settings)
        return Move(kind=Kind.DELETE, target=removal.name, why=removal.why)
    return None


def _reasons(
    spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, candidate: Candidate, instances: int
) -> tuple[Change, ...]:
    serving = traffic.served_by(endpoint.traffic)
    live = endpoint.online_deployment(serving[0]) if serving else None
    if live is None:
        return (Change(field="online deployment", today="none serves traffic", wanted=candidate.name),)
    return (
        *differences(
            [("online deployment", live.name, candidate.name), ("code", live.record.code, candidate.record.code)]
        ),
        *content_changes(spec.online_deployment, wanted.model, wanted.environment, live),
        *differences([("instance_count", spec.online_deployment.instance_count, instances)]),
    )
