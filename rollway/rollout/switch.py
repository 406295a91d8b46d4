"""Moving all traffic at once, or a canary's part of it: test, move, test again, write down."""

from collections.abc import Mapping

from rollway.rollout import traffic
from rollway.rollout.changes import differences
from rollway.rollout.entries import Lease, Order, Served, time_text
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Change, Kind, Move, Outcome, end
from rollway.rollout.record import EndpointRecord, is_same_run
from rollway.rollout.state import EndpointState, model_of
from rollway.rollout.wanted import Candidate, Wanted
from rollway.spec import RolloutSpec

UNTESTED = "Azure says that it is ready, and rollout.yml has no smoke test"


def advance(
    spec: RolloutSpec,
    wanted: Wanted,
    endpoint: EndpointState,
    candidate: Candidate,
    after: dict[str, int],
    facts: Facts,
) -> Move | None:
    """Test the candidate and give it its traffic."""
    name, record = candidate.name, endpoint.record
    if candidate.existing is None or traffic.is_same(endpoint.traffic, after):
        return None
    if move := untested(spec, wanted, endpoint, candidate, facts):
        return move
    if move := autoscale_to_copy(endpoint, name, facts):
        return move
    moved = record.provisioned(facts.provisioning_seconds).moved(facts.attempt, after, stable_of(endpoint, facts))
    return Move(
        kind=Kind.MOVE_TRAFFIC,
        target=name,
        why="it is ready and answers" if spec.is_smoke_tested else UNTESTED,
        changes=traffic_change(endpoint.traffic, after),
        traffic=after,
        record=moved.claimed(_claim(facts)),
    )


def untested(
    spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, candidate: Candidate, facts: Facts
) -> Move | None:
    """Return the move that is due until the candidate has passed its pinned smoke test; None if it has, or has none."""
    name, existing, command = candidate.name, candidate.existing, endpoint.record.command
    if command is not None and is_told(Order.HOLD, endpoint, wanted, facts):
        return end(Outcome.HELD, name, command.sentence)
    if not spec.is_smoke_tested:
        return None
    seen = facts.test_of(name)
    if seen is None or existing is None:
        return Move(kind=Kind.SMOKE_TEST, target=name, why="it must answer before it gets traffic")
    if seen.content != existing.content:
        fields = ("model", "environment", "code", "settings")
        changed = [field for field in fields if getattr(seen, field) != getattr(existing, field)]
        return end(Outcome.FOREIGN, name, f"it was changed since its smoke test: {', '.join(changed) or 'its record'}")
    return None


def promotion(spec: RolloutSpec, wanted: Wanted, endpoint: EndpointState, facts: Facts) -> Move | None:
    """Test the traffic that moved, and write down that it is stable now."""
    lease = endpoint.record.lease
    has_moved = lease is not None and lease.holder == facts.attempt
    if not endpoint.serving or not (endpoint.is_unproven or has_moved):
        return None
    if spec.is_smoke_tested and not facts.has_proven(endpoint.traffic):
        why = "traffic has moved, and must be answered as before"
        return Move(kind=Kind.TEST_LIVE, target=endpoint.name, why=why)
    return Move(
        kind=Kind.PROMOTE,
        target=traffic.served_by(endpoint.traffic)[0],
        why="its live smoke test passed" if spec.is_smoke_tested else UNTESTED,
        record=promoted_record(wanted, endpoint, facts),
    )


def promoted_record(wanted: Wanted, endpoint: EndpointState, facts: Facts) -> EndpointRecord:
    """Return the record in which the traffic of today is stable, or, if several share it, a canary that was tested."""
    record, today = endpoint.record.released(), endpoint.serving
    if not wanted.stays_because:
        is_held = is_told(Order.HOLD, endpoint, wanted, facts)
        record = record.paused(wanted.pause_reason).told(record.command if is_held else None)
    if len(today) > 1:  # a canary: stable keeps the rest, and a person decides
        canary = endpoint.online_deployment(endpoint.newcomer or "")
        record = record.accepting(model_of(canary) or "") if canary else record
        return record.paused(record.pause_reason or f"canary: {traffic.describe(today)}").tested(today)
    heaviest = endpoint.online_deployment(traffic.served_by(today)[0])
    live = Served(online_deployment=heaviest.name, model=model_of(heaviest) or "") if heaviest else None
    before = endpoint.behind(endpoint.stable_traffic)
    replaced = next((one for one in before if not endpoint.weight_of(one.name)), None)
    if live is not None:
        record = record.promoted(facts.attempt, facts.at, live, today).accepting(live.model)
    if replaced is not None:
        record = record.replacing(Served(online_deployment=replaced.name, model=model_of(replaced) or ""))
    return record


def restoration(endpoint: EndpointState, attempt: str, why: str) -> Move:
    """Return the one write that brings all traffic back to stable."""
    stable, underway = endpoint.stable_traffic, endpoint.record.underway
    canary = underway.canary.lower() if underway else None
    return Move(
        kind=Kind.RESTORE,
        target=endpoint.name,
        why=why,
        changes=traffic_change(endpoint.traffic, stable),
        traffic=stable,
        mirror={name: one for name, one in endpoint.mirror_traffic.items() if name.lower() != canary},
        record=endpoint.record.restored(attempt, stable).released(),
    )


def stable_of(endpoint: EndpointState, facts: Facts) -> dict[str, int]:
    """Return the traffic to return to; today's if this run has tested it."""
    return endpoint.serving if facts.has_proven(endpoint.traffic) else endpoint.stable_traffic


def autoscale_to_copy(endpoint: EndpointState, name: str, facts: Facts) -> Move | None:
    """Return the copy of the settings of the heaviest online deployment that serves and has some.

    None if there are none, or if the candidate has settings of its own.
    """
    if facts.settings_of(name):
        return None
    serving = traffic.served_by(stable_of(endpoint, facts))
    found = next((found for one in serving if one != name.lower() and (found := facts.settings_of(one))), ())
    if not found:
        return None
    why = f"its rules follow the traffic: {', '.join(found)}"
    return Move(kind=Kind.COPY_AUTOSCALE, target=name, why=why, settings=found)


def is_told(order: Order, endpoint: EndpointState, wanted: Wanted, facts: Facts) -> bool:
    """Return True if the last command holds for this run: a person's run ends those that were given before it.

    A run of a progressive rollout began with the rollout, however often it has waited since then.
    """
    command, underway = endpoint.record.command, endpoint.record.underway
    if command is None or command.order is not order or is_same_run(command.by, facts.attempt):
        return False
    is_automatic = wanted.requested_by.is_automatic and order is Order.HOLD
    begun = time_text(facts.started)
    if underway is not None and underway.is_of(facts.attempt):
        begun = min(begun, underway.begun)
    return is_automatic or command.at > begun


def traffic_change(today: Mapping[str, int], after: Mapping[str, int]) -> tuple[Change, ...]:
    """Return the change of the traffic map for a report; none if both route alike."""
    return differences([("traffic", traffic.describe(today), traffic.describe(after))])


def _claim(facts: Facts) -> Lease:
    return Lease(holder=facts.attempt, ttl_seconds=facts.lease_seconds, renewed_at=facts.at)
