"""The online deployments that may be deleted: one rule for leftovers and for what was replaced."""

from collections.abc import Iterator
from datetime import UTC, datetime

from rollway.rollout.record import is_same_run
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.spec import Frozen, RolloutFile, RolloutSpec

SETTLE_SECONDS = 30  # after traffic has moved, so that requests that are running there can end
NEVER = datetime(9999, 1, 1, tzinfo=UTC)
CLAIM_SECONDS = 3600  # longer than a rollout works on a candidate besides the time in which it becomes ready


class Removal(Frozen):
    """An online deployment to delete, and why; `in_seconds` is positive if that must wait a little.

    `is_leftover` is False for what a promotion replaced.
    """

    name: str
    why: str
    in_seconds: float = 0.0
    is_leftover: bool = False


def removals(
    spec: RolloutSpec,
    endpoint: EndpointState,
    candidate: str | None,
    attempt: str,
    now: datetime,
    ended: frozenset[str],
) -> Iterator[Removal]:
    """Yield what may be deleted now.

    Never what has traffic or mirrored traffic, what stable needs, the candidate, or what Rollway did not create
    (unless rollout.yml says `adopt`). What was replaced last stays for `keep_replaced_seconds`; what another rollout
    created stays until that has ended.

    Args:
        attempt: The attempt that would delete it.
        ended: Attempts that are known to have ended.
    """
    previous = endpoint.record.previous
    for one in endpoint.online_deployments:
        is_candidate = candidate is not None and one.name.lower() == candidate.lower()
        is_deletable = one.is_settled and (one.is_ours or spec.rollout.adopt)
        if is_candidate or not is_deletable or endpoint.is_needed(one.name):
            continue
        if previous is not None and previous.online_deployment.lower() == one.name.lower():
            yield from _replaced(spec, endpoint, one, now)
        elif _is_abandoned(spec, endpoint, one, attempt, now, ended):
            why = f"an earlier rollout left it without traffic, {one.provisioning_state}"
            # It may have shared the traffic until the last promotion.
            in_seconds = (_time(endpoint.record.promoted_at) - now).total_seconds() + SETTLE_SECONDS
            yield Removal(name=one.name, why=why, in_seconds=max(0.0, in_seconds), is_leftover=True)


def replaced_stays_until(rollout: RolloutFile, promoted_at: str | None) -> datetime:
    """Return the time from which what the last promotion replaced may be deleted."""
    until = _time(promoted_at).timestamp() + rollout.keep_replaced_seconds
    return datetime.fromtimestamp(min(until, NEVER.timestamp()), UTC)


def _replaced(
    spec: RolloutSpec, endpoint: EndpointState, one: OnlineDeploymentState, now: datetime
) -> Iterator[Removal]:
    keep = spec.rollout.keep_replaced_seconds
    seconds = max(keep, SETTLE_SECONDS) - (now - _time(endpoint.record.promoted_at)).total_seconds()
    why = f"it was replaced, and rollout.yml keeps it for {keep} s"
    if keep == 0 and seconds > 0:
        yield Removal(name=one.name, why=why, in_seconds=seconds)
    elif seconds <= 0:
        yield Removal(name=one.name, why=why)


def _is_abandoned(
    spec: RolloutSpec,
    endpoint: EndpointState,
    one: OnlineDeploymentState,
    attempt: str,
    now: datetime,
    ended: frozenset[str],
) -> bool:
    record = one.record
    if not one.is_ours and not one.is_failed:  # nobody knows what it is for
        return False
    is_newer_than_promotion = (record.created_at or "") > (endpoint.record.promoted_at or "")
    if one.is_failed and spec.rollout.failed == "keep" and is_newer_than_promotion:
        return False
    makers = {maker for maker in (record.written_by, record.created_by) if maker}
    if all(maker in ended or is_same_run(maker, attempt) for maker in makers):
        return True
    age_seconds = (now - _time(record.created_at)).total_seconds()
    return age_seconds > spec.rollout.ready_timeout_seconds + CLAIM_SECONDS


def _time(text: str | None) -> datetime:
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:  # Rollway did not write it
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
