"""The decision: from every state of an endpoint, the one move that is due, and why.

`decide` is pure and total. The plan is the sequence of its moves (`rollway.rollout.plan`), the flow is the loop around
it.
"""

from rollway.rollout import traffic
from rollway.rollout.changes import endpoint_changes
from rollway.rollout.entries import Order, Underway, time_text
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Kind, Move, Outcome, end, wait
from rollway.rollout.progress import left_alone, progress
from rollway.rollout.provision import provision, tidy
from rollway.rollout.record import is_same_run
from rollway.rollout.state import EndpointState
from rollway.rollout.switch import advance, is_told, promotion, restoration, stable_of
from rollway.rollout.wanted import Wanted, candidate_of
from rollway.spec import FULL_WEIGHT, RolloutSpec


def decide(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move:
    """Return the one move that is due.

    Args:
        wanted: What the run brings the endpoint to.
        endpoint: The endpoint as Azure reports it now.
        facts: What the run knows besides.
    """
    lease = endpoint.record.lease
    due = _due(spec, wanted, endpoint, facts)
    if lease is not None and not facts.is_over(lease):
        why = f"another rollout holds it: {lease.holder}, since {lease.renewed_at}"
        return due if due.is_end else wait(endpoint.name, why)
    if due.outcome in (Outcome.DONE, Outcome.HELD, Outcome.SUPERSEDED) and lease is not None:
        why = f"{lease.holder} claimed the endpoint and has ended"
        due = Move(kind=Kind.RECORD, target=endpoint.name, why=why, record=endpoint.record.released())
    return _when_free(due, endpoint) if due.is_write else due


def _when_free(due: Move, endpoint: EndpointState) -> Move:
    # Azure runs one operation at a time on an endpoint and everything behind it, and refuses other writes meanwhile.
    if endpoint.busy is None:
        return due
    name, state = endpoint.busy
    return wait(name, f"an operation is running on it, it is {state}")


def _due(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move:
    command = endpoint.record.command
    if is_told(Order.ABORT, endpoint, wanted, facts):
        return end(Outcome.ABORTED, endpoint.name, command.sentence if command else "")
    if wanted.weight < FULL_WEIGHT and is_told(Order.PROMOTE, endpoint, wanted, facts):
        wanted = wanted.model_copy(update={"weight": FULL_WEIGHT, "pause_reason": ""})
    if not endpoint.exists:
        return _absent(wanted, endpoint)
    if back := _ordered_back(wanted, endpoint, facts):
        return back
    if endpoint.record.underway is not None:
        return _under_way(spec, wanted, endpoint, endpoint.record.underway, facts)
    if not wanted.stays_because and not wanted.goes_back_to:
        if endpoint.is_failed and not endpoint.online_deployments:
            return _broken_endpoint(spec, endpoint)
        if changes := endpoint_changes(spec.endpoint, endpoint):
            why = "it is not as endpoint.yml says"
            return Move(kind=Kind.CHANGE_ENDPOINT, target=endpoint.name, why=why, changes=changes)
    if wanted.stays_because:
        return (
            _abandoned(spec, endpoint, facts)
            or promotion(spec, wanted, endpoint, facts)
            or tidy(spec, wanted, endpoint, None, facts)
            or end(Outcome.DONE, endpoint.name, wanted.stays_because)
        )
    candidate = candidate_of(spec, wanted, endpoint)
    after = traffic.shift(stable_of(endpoint, facts), candidate.name, wanted.weight)
    is_there = traffic.is_same(endpoint.traffic, after)
    return (
        (None if is_there or wanted.goes_back_to else _abandoned(spec, endpoint, facts))
        or (None if is_there else _overtaken(wanted, endpoint, facts))
        or provision(spec, wanted, endpoint, candidate, facts)
        or (None if is_there or not wanted.is_progressive else progress(spec, wanted, endpoint, candidate, facts))
        or advance(spec, wanted, endpoint, candidate, after, facts)
        or promotion(spec, wanted, endpoint, facts)
        or tidy(spec, wanted, endpoint, candidate.name, facts)
        or end(Outcome.DONE, endpoint.name, "Azure is as the folder describes it")
    )


def _under_way(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, found: Underway, facts: Facts) -> Move:
    """Return the move that is due while a progressive rollout is under way: this one goes on with it, or ends it."""
    candidate = candidate_of(spec, wanted, endpoint)
    if endpoint.online_deployment(found.canary) is None:
        return restoration(endpoint, facts.attempt, "its canary is gone")
    is_same = wanted.is_progressive and found.canary.lower() == candidate.name.lower()
    if is_same and not wanted.stays_because:
        return progress(spec, wanted, endpoint, candidate, facts)
    has_just_begun = wanted.requested_by.is_automatic and found.begun > time_text(facts.started)
    if not found.is_of(facts.attempt) and (wanted.stays_because or has_just_begun):
        return left_alone(endpoint, found)
    return restoration(endpoint, facts.attempt, "another rollout comes first")


def _absent(wanted: Wanted, endpoint: EndpointState) -> Move:
    if wanted.stays_because:
        return end(Outcome.DONE, endpoint.name, wanted.stays_because)
    if wanted.goes_back_to:
        return end(Outcome.GONE, endpoint.name, "the endpoint does not exist")
    return Move(kind=Kind.CREATE_ENDPOINT, target=endpoint.name, why="there is no endpoint of that name")


def _broken_endpoint(spec: RolloutSpec, endpoint: EndpointState) -> Move:
    why = "its creation failed, and Azure cannot repair that"
    if endpoint.record.created_by is None and not spec.rollout.adopt:
        return end(Outcome.BLOCKED, endpoint.name, f"{why}; Rollway did not create it and leaves it alone")
    return Move(kind=Kind.DELETE_ENDPOINT, target=endpoint.name, why=why)


def _ordered_back(wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move | None:
    """A person told a rollout to abort that died before it could: automation carries that out."""
    record = endpoint.record
    command = record.command
    if command is None or command.order is not Order.ABORT or not endpoint.is_rolling_out:
        return None
    if not wanted.requested_by.is_automatic or is_same_run(record.moved_by or "", facts.attempt):
        return None
    back = restoration(endpoint, facts.attempt, command.sentence)
    return back.model_copy(update={"record": (back.record or record).told(None).paused(command.sentence)})


def _abandoned(spec: RolloutSpec, endpoint: EndpointState, facts: Facts) -> Move | None:
    """Traffic that an earlier rollout moved and never tested: test it, and go back if it fails.

    Without a smoke test it is as good as what this run would move.
    """
    if not endpoint.is_unproven or facts.has_proven(endpoint.traffic):
        return None
    if is_same_run(endpoint.record.moved_by or "", facts.attempt):
        return None
    is_disproved = facts.disproved is not None and traffic.is_same(facts.disproved, endpoint.traffic)
    if endpoint.serving and not is_disproved:
        if not spec.is_smoke_tested:
            return None
        why = "a rollout moved traffic here and ended before the smoke test"
        return Move(kind=Kind.TEST_ABANDONED, target=endpoint.name, why=why)
    why = "the traffic that an earlier rollout moved fails its smoke test" if is_disproved else "nothing serves"
    return restoration(endpoint, facts.attempt, why)


def _overtaken(wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move | None:
    """Somebody else moved traffic since this run began."""
    record, today = endpoint.record, endpoint.traffic
    if record.moved_by is not None and is_same_run(record.moved_by, facts.attempt):
        return None
    if facts.began_with is None or traffic.is_same(facts.began_with, today):
        if facts.is_woken and (record.promoted_at or "") > time_text(facts.started):
            why = f"{record.moved_by} was faster: traffic is {traffic.describe(today)}"
            return end(Outcome.SUPERSEDED, endpoint.name, why)
        return None
    what = f"traffic was {traffic.describe(facts.began_with)} and is {traffic.describe(today)}"
    if record.written_traffic is None or not traffic.is_same(record.written_traffic, today):
        return end(Outcome.FOREIGN, endpoint.name, f"{what}; Rollway did not write that")
    if wanted.requested_by.is_automatic:
        return end(Outcome.SUPERSEDED, endpoint.name, f"{record.moved_by} was faster: {what}")
    return None
