"""The decision over all states that rollouts, crashes, orders and other people can bring an endpoint to."""

from datetime import timedelta
from itertools import product
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from rollway.rollout import traffic
from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.entries import Lease, Order, Served
from rollway.rollout.moves import Kind, Move, Outcome
from rollway.rollout.plan import after, plan
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord, with_record
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.wanted import RequestedBy, Wanted, candidate_of
from rollway.spec import RolloutSpec
from tests.unit.rollout.examples import (
    ABSENT,
    NOW,
    facts,
    is_refused_by_azure,
    name_of,
    order,
    rolled_out,
    run,
    setting,
    spec_with,
    wanted,
)

TAGS: list[dict[str, str]] = [{}, {"a": ""}, {"a": "1"}, {"b": "2"}]
STATES = ["Succeeded", "Succeeded", "Failed", "Creating", "Updating", "Deleting", "Canceled"]
TIMES = [None, "2026-01-01T00:00:00.000+00:00", "2026-01-02T11:59:50.000+00:00", "yesterday"]
# The writes of one rollout until its canary serves, and after it.
BUDGET = {
    Kind.CREATE_ENDPOINT: 1,
    Kind.CHANGE_ENDPOINT: 1,
    Kind.CREATE: 1,
    Kind.MOVE_TRAFFIC: 1,
    Kind.PROMOTE: 2,  # one for traffic that an earlier rollout moved and left
    Kind.RESTORE: 1,
}
ENDED = frozenset({"dead/1"})
SCALED = (setting("blue"),)


class Situation(NamedTuple):
    """The folder, the endpoint, and the wish of a run."""

    spec: RolloutSpec
    endpoint: EndpointState
    wanted: Wanted


def every_spec() -> list[RolloutSpec]:
    """Folders with all combinations of the options, some of which differ from what Azure has."""
    found = []
    for keep, failed, adopt in product([0, 3600], ["delete", "keep"], [True, False]):
        options = {"keep_replaced_seconds": keep, "failed": failed, "adopt": adopt}
        found.append(spec_with(options))
        changed = spec_with(options, name="A-name-of-32-characters-abcdefgh", instance_count=3, tags={"a": "1"})
        update = {"auth_mode": "aad_token", "description": "new", "tags": {"b": "2"}}
        found.append(changed.model_copy(update={"endpoint": changed.endpoint.model_copy(update=update)}))
    return found + [one.model_copy(update={"smoke_requests": ()}) for one in found]


SPECS = every_spec()
WISHES = [
    wanted(),
    wanted(weight=10, pause_reason="canary at 10 %"),
    wanted(force="token"),
    wanted(goes_back_to="blue", pause_reason="rolled back", tidies=False),
    wanted(stays_because="nothing new"),
    wanted(requested_by=RequestedBy.WATCHER),
]


@st.composite
def endpoints(draw: st.DrawFn, candidate: str, content: OnlineDeploymentRecord) -> EndpointState:
    """The endpoint in any state that rollouts, crashes and other people can bring it to."""
    there = tuple(
        draw(online_deployments(name, content)) for name in (candidate, "blue", "green") if draw(st.booleans())
    )
    serving = [one.name for one in there if one.provisioning_state != "Deleting"]
    weights = draw(st.sampled_from([(100,), (90, 10), (50, 49, 1), (0,)]))
    live = dict(zip(draw(st.permutations(serving)), weights, strict=False))
    if sum(live.values()) not in (0, 100):
        live = {}
    live |= {one.name: 0 for one in there if one.name not in live}  # as Azure shows them
    return EndpointState(
        name="diabetes",
        provisioning_state=draw(st.sampled_from(["Succeeded", "Succeeded", "Updating", "Failed"])),
        tags=with_record(draw(st.sampled_from(TAGS)), draw(records(live))),
        auth_mode=draw(st.sampled_from(["key", "aad_token"])),
        traffic=live,
        mirror_traffic={} if live.get("green") else draw(st.sampled_from([{}, {"green": 10}])),
        online_deployments=there,
    )


@st.composite
def records(draw: st.DrawFn, live: dict[str, int]) -> EndpointRecord:
    """The memory of rollouts that are over, one of which may have died anywhere."""
    record = EndpointRecord(
        created_by=draw(st.sampled_from([None, "dead/1"])), promoted_at=draw(st.sampled_from(TIMES))
    )
    if draw(st.booleans()):  # a rollout moved traffic; if somebody else has changed it since then, that is not today's
        before = draw(st.sampled_from([{}, {"blue": 100}, {"green": 60, "blue": 40}, {"gone": 100}]))
        written = [one for one in (live, {"blue": 100}) if sum(one.values())]  # no rollout moves traffic to nothing
        record = record.moved("dead/1", draw(st.sampled_from(written)), before)
        if draw(st.booleans()):
            record = record.tested(record.written_traffic or {})
    if draw(st.booleans()):
        record = record.claimed(Lease(holder="dead/1", ttl_seconds=300, renewed_at="then"))
    if draw(st.booleans()):
        previous = draw(st.sampled_from(["blue", "gone"]))
        record = record.replacing(Served(online_deployment=previous, model="diabetes:1"))
    given_order = draw(st.sampled_from([None, Order.HOLD, Order.PROMOTE, Order.ABORT]))
    return record if given_order is None else record.told(order(given_order, NOW - timedelta(days=1)))


@st.composite
def online_deployments(draw: st.DrawFn, name: str, content: OnlineDeploymentRecord) -> OnlineDeploymentState:
    """One that this rollout, another rollout or somebody else has made."""
    record = draw(st.sampled_from([OnlineDeploymentRecord(), content, OnlineDeploymentRecord(fingerprint="other")]))
    if draw(st.booleans()):
        record = record.created("dead/1", draw(st.sampled_from(TIMES)) or "")
    return OnlineDeploymentState(
        name=name,
        provisioning_state=draw(st.sampled_from(STATES)),
        instance_count=draw(st.integers(1, 3)),
        tags=with_record({}, record),
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Any folder, any endpoint, any wish."""
    spec = draw(st.sampled_from(SPECS))
    candidate = candidate_of(spec, wanted(), ABSENT)
    state = draw(endpoints(candidate.name, candidate.record)) if draw(st.integers(0, 9)) else ABSENT
    return Situation(spec, state, draw(st.sampled_from(WISHES)))


@given(situations())
@settings(max_examples=200)
def test_a_run_that_nobody_disturbs_leaves_nothing_to_do(situation: Situation) -> None:
    spec, endpoint, what = situation

    made = run(spec, what, endpoint, facts(autoscale=SCALED))
    later = facts(attempt="run/2", now=NOW + timedelta(seconds=31), autoscale=made.facts.autoscale)
    again = run(spec, what, made.endpoint, later)

    assert [move for move in again.moves if move.is_write] == []
    if made.last.outcome is Outcome.DONE and made.endpoint.exists:
        assert not made.endpoint.is_unproven
        assert made.endpoint.record.lease is None
    for kind, most in BUDGET.items():
        assert made.kinds.count(kind) <= most, [str(move) for move in made.moves]


@given(st.lists(st.integers(1, 99), min_size=1, max_size=5))
def test_however_many_canaries_follow_one_another_each_shares_with_stable_alone(weights: list[int]) -> None:
    endpoint = rolled_out("1")

    for number, weight in enumerate(weights, 2):
        known = facts(attempt=f"run{number}/1")
        endpoint = run(SPECS[0], wanted(str(number), weight=weight), endpoint, known).endpoint

        assert endpoint.serving == {name_of(str(number)): weight, name_of("1"): 100 - weight}
        assert endpoint.stable_traffic == {name_of("1"): 100}


@given(situations(), st.data())
@settings(max_examples=200)
def test_whoever_dies_midway_the_next_run_reaches_the_same_end(situation: Situation, data: st.DataObject) -> None:
    spec, endpoint, what = situation
    known = facts(autoscale=SCALED)
    undisturbed = run(spec, what, endpoint, known)
    done = data.draw(st.integers(0, len(undisturbed.moves)), label="moves made")

    left = run(spec, what, endpoint, known, done)
    later = facts(attempt="next/1", ended=ENDED | {"run/1"}, autoscale=left.facts.autoscale)
    reached = run(spec, what, left.endpoint, later).endpoint

    end = undisturbed.endpoint
    assert traffic.is_same(reached.traffic, end.traffic)
    names = {one.name for one in reached.online_deployments}
    assert {name.lower() for name in end.serving} <= {name.lower() for name in names}
    assert names <= {one.name for one in end.online_deployments}


@given(situations(), st.data())
@settings(max_examples=200)
def test_a_run_that_fails_anywhere_brings_traffic_back_to_stable_in_one_write(
    situation: Situation, data: st.DataObject
) -> None:
    spec, endpoint, what = situation
    known = facts(autoscale=SCALED)
    whole = run(spec, what, endpoint, known)
    left = run(spec, what, endpoint, known, data.draw(st.integers(0, len(whole.moves)), label="moves made")).endpoint
    stable = left.stable_traffic if left.is_unproven else left.serving

    failure = Failure(attempt="run/1", at="now", is_recorded=True, candidate=candidate_of(spec, what, left).name)
    writes: list[Move] = []
    while not (move := decide_abort(left, failure)).is_end:
        assert not is_refused_by_azure(move, left), move
        found = left.online_deployment(move.target)
        assert move.kind is not Kind.DELETE or (found is not None and found.is_ours), move
        writes += [move] if move.is_write else []
        left, _ = after(spec, what, left, known, move)
        assert len(writes) < 5, writes

    holder = left.record.lease.holder if left.record.lease else ""
    assert holder != "run/1" or move.outcome is Outcome.BLOCKED, "the claim is given back"
    is_left_to_another = left.record.lease is not None
    assert is_left_to_another or traffic.is_same(left.traffic, stable)
    assert sum(move.traffic is not None for move in writes) <= 1
    assert sum(move.kind is not Kind.DELETE for move in writes) <= 1, writes


@given(situations())
def test_what_others_made_and_what_stable_needs_is_never_deleted(situation: Situation) -> None:
    spec, endpoint, what = situation

    moves = run(spec, what, endpoint, facts(autoscale=SCALED)).moves

    for move in moves:
        if move.kind is Kind.DELETE and (found := endpoint.online_deployment(move.target)) is not None:
            assert found.is_ours or spec.rollout.adopt, move
    if any(move.kind is Kind.DELETE_ENDPOINT for move in moves):
        assert endpoint.record.created_by or spec.rollout.adopt


@given(situations())
def test_every_change_is_explained(situation: Situation) -> None:
    spec, endpoint, what = situation

    made = plan(spec, what, endpoint, facts(autoscale=SCALED))

    assert all(change.today != change.wanted for move in made.moves for change in move.changes)
    for move in made.moves:
        if move.kind in (Kind.MOVE_TRAFFIC, Kind.CHANGE_ENDPOINT):
            assert move.changes, move
