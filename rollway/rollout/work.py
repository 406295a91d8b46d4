"""The rollout that works on an endpoint, and how one tells that its run is gone."""

from datetime import datetime, timedelta

from rollway.rollout.entries import Lease, age
from rollway.rollout.progress import is_lost
from rollway.rollout.record import is_same_run
from rollway.rollout.removal import CLAIM_SECONDS
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.spec import Frozen, RolloutFile

STALE_AFTER = 2  # times the time of a lease: the clocks of two machines may differ
READY_SECONDS = int(RolloutFile.model_fields["ready_timeout_seconds"].default)


class Work(Frozen):
    """A rollout that has begun and has not ended.

    Attributes:
        run: The attempt that works on it, `<flow run>/<attempt>`; `<flow run>/` if any attempt may.
        since: The last time that it wrote to Azure, in UTC.
        is_progressive: True if it moves traffic in steps.
        is_overdue: True if it should have written again long ago.
        candidate: The online deployment that it has created and given no traffic yet; empty if there is none.
    """

    run: str
    since: str
    is_progressive: bool = False
    is_overdue: bool = False
    candidate: str = ""


def work_at(endpoint: EndpointState, rollout: RolloutFile | None, now: datetime) -> Work | None:
    """Return the rollout that works on an endpoint, or None.

    Args:
        rollout: The endpoint's rollout.yml; None if unknown.
    """
    record = endpoint.record
    if lease := record.lease:
        is_overdue = endpoint.busy is None and is_abandoned(lease, now)
        return Work(run=lease.holder, since=lease.renewed_at, is_overdue=is_overdue)
    if underway := record.underway:
        since = underway.since[-1] if underway.since else underway.asked
        return Work(run=underway.any_attempt, since=since, is_progressive=True, is_overdue=is_lost(underway, now))
    if endpoint.is_unproven or record.is_held:  # the rollout has ended, or waits for a person
        return None
    candidates = [one for one in endpoint.online_deployments if _is_candidate(endpoint, one)]
    if not candidates:
        return None
    newest = max(candidates, key=lambda one: one.record.created_at or "")
    since, ready_seconds = newest.record.created_at or "", rollout.ready_timeout_seconds if rollout else READY_SECONDS
    how_long = age(since, now)
    return Work(
        run=newest.record.written_by or newest.record.created_by or "",
        since=since,
        is_overdue=how_long is None or how_long > timedelta(seconds=ready_seconds + CLAIM_SECONDS),
        candidate=newest.name,
    )


def is_abandoned(lease: Lease, now: datetime) -> bool:
    """Return True if a lease is older than twice its time; the clocks of two machines may differ."""
    since = age(lease.renewed_at, now)
    return since is None or since.total_seconds() > STALE_AFTER * lease.ttl_seconds


def _is_candidate(endpoint: EndpointState, one: OnlineDeploymentState) -> bool:
    """Return True if a rollout that has not ended created it, as far as the record tells."""
    record, made = endpoint.record, one.record
    if made.created_by is None or made.created_at is None or one.is_failed or one.is_being_deleted:
        return False
    if endpoint.is_needed(one.name):
        return False
    if record.previous is not None and record.previous.online_deployment.lower() == one.name.lower():
        return False
    if record.last is not None and is_same_run(record.last.attempt, made.written_by or made.created_by):
        return False
    ends = [at for at in (record.promoted_at, record.last.at if record.last else None) if at]
    return all(made.created_at > at for at in ends)
