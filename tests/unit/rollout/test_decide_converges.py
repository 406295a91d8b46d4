"""The decision over all states that rollouts, crashes, orders and other people can bring an endpoint to."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollway.rollout import traffic
from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.decide import Facts, decide
from rollway.rollout.entries import Command, Lease, Order, Served
from rollway.rollout.moves import Kind, Move, Outcome
from rollway.rollout.plan import after, plan
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord, with_record
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.wanted import RequestedBy, Wanted, candidate_of
from rollway.spec import NAME_RULE, RolloutSpec
from tests.support.builders import asset, rollout_spec

NOW = datetime(2026, 1, 2, tzinfo=UTC)
TEXT = st.text(max_size=4)
TAGS = st.dictionaries(st.text("abc", min_size=1, max_size=3), TEXT, max_size=3)
STATES = st.sampled_from(["Succeeded", "Succeeded", "Failed", "Creating", "Updating", "Deleting", "Canceled"])
TIMES = st.sampled_from([None, "2026-01-01T00:00:00.000+00:00", "2026-01-01T23:59:50.000+00:00", "yesterday"])
MOST_MOVES = 60
# The writes of one rollout until its canary serves, and after it.
BUDGET = {
    Kind.CREATE_ENDPOINT: 1,
    Kind.CHANGE_ENDPOINT: 1,
    Kind.CREATE: 1,
    Kind.MOVE_TRAFFIC: 1,
    Kind.PROMOTE: 2,  # one for traffic that an earlier rollout moved and left
    Kind.RESTORE: 1,
}


@st.composite
def specs(draw: st.DrawFn) -> RolloutSpec:
    """Any rollout of the endpoint `diabetes`."""
    spec = rollout_spec(
        endpoint={
            "auth_mode": draw(st.sampled_from(["key", "aml_token", "aad_token"])),
            "public_network_access": draw(st.sampled_from(["enabled", "disabled"])),
            "description": draw(st.none() | TEXT),
            "tags": draw(TAGS),
        },
        name=draw(st.from_regex(NAME_RULE, fullmatch=True)),
        code_sha256=draw(st.none() | st.just("c0de" * 16)),
        instance_count=draw(st.integers(1, 50)),
        tags=draw(TAGS),
        settings={"instance_type": draw(st.sampled_from(["small", "large"])), "nested": {"deep": draw(TEXT)}},
    )
    options = {
        "keep_replaced_seconds": draw(st.sampled_from([0, 3600])),
        "failed": draw(st.sampled_from(["delete", "keep"])),
        "adopt": draw(st.booleans()),
    }
    return spec.model_copy(update={"rollout": spec.rollout.model_copy(update=options)})


@st.composite
def endpoints(draw: st.DrawFn, spec: RolloutSpec) -> EndpointState:
    """The endpoint in any state that rollouts, crashes and other people can bring it to."""
    candidate = candidate_of(spec, wanted(), EndpointState(name="diabetes"))
    names = (candidate.name, "blue", "green")
    there = tuple(draw(online_deployments(name, candidate.record)) for name in names if draw(st.booleans()))
    serving = [one.name for one in there if one.provisioning_state != "Deleting"]
    weights = draw(st.sampled_from([(100,), (90, 10), (50, 49, 1), (0,)]))
    live = dict(zip(draw(st.permutations(serving)), weights, strict=False))
    if sum(live.values()) not in (0, 100):
        live = {}
    live |= {one.name: 0 for one in there if one.name not in live}  # as Azure shows them
    record = EndpointRecord(created_by=draw(st.sampled_from([None, "dead/1"])), promoted_at=draw(TIMES))
    if draw(st.booleans()):  # a rollout moved traffic; whether this is what it wrote, is another question
        before = draw(st.sampled_from([{}, {"blue": 100}, {"green": 60, "blue": 40}, {"gone": 100}]))
        record = record.moved("dead/1", draw(st.sampled_from([live, {"blue": 100}])), before)
        if draw(st.booleans()):
            record = record.tested(record.written_traffic or {})
    if draw(st.booleans()):
        record = record.claimed(Lease(holder="dead/1", ttl_seconds=300, renewed_at="then"))
    if draw(st.booleans()):
        previous = draw(st.sampled_from(["blue", "gone"]))
        record = record.replacing(Served(online_deployment=previous, model="diabetes:1"))
    if draw(st.booleans()):
        order = draw(st.sampled_from([Order.HOLD, Order.PROMOTE, Order.ABORT]))
        record = record.told(Command(order=order, by="ann", at="2026-01-01T00:00:00.000+00:00"))
    return EndpointState(
        name="diabetes",
        provisioning_state=draw(st.sampled_from(["Succeeded", "Updating", "Failed"])),
        tags=with_record(draw(TAGS), record),
        description=draw(st.none() | TEXT),
        auth_mode=draw(st.sampled_from(["key", "aad_token"])),
        traffic=live,
        mirror_traffic={} if live.get("green") else draw(st.sampled_from([{}, {"green": 10}])),
        online_deployments=there,
    )


@st.composite
def online_deployments(draw: st.DrawFn, name: str, candidate: OnlineDeploymentRecord) -> OnlineDeploymentState:
    """One that this rollout, another rollout or somebody else has made."""
    record = draw(st.sampled_from([OnlineDeploymentRecord(), candidate, OnlineDeploymentRecord(fingerprint="other")]))
    if draw(st.booleans()):
        record = record.created("dead/1", draw(TIMES) or "")
    return OnlineDeploymentState(
        name=name,
        provisioning_state=draw(STATES),
        instance_count=draw(st.integers(1, 3)),
        tags=with_record({}, record),
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[RolloutSpec, EndpointState, Wanted]:
    """The folder, the endpoint, and what a run wants."""
    spec = draw(specs())
    absent = st.just(EndpointState(name="diabetes", exists=False))
    what = draw(
        st.sampled_from(
            [
                {},
                {"weight": 10, "pause_reason": "canary at 10 %"},
                {"force": "token"},
                {"goes_back_to": "blue", "pause_reason": "rolled back", "tidies": False},
                {"stays_because": "nothing new"},
                {"requested_by": RequestedBy.WATCHER},
            ]
        )
    )
    return spec, draw(absent | endpoints(spec)), wanted(**what)


def wanted(**changes: Any) -> Wanted:
    return Wanted(**{"model": asset("model", "diabetes"), "environment": asset("environment", "inference"), **changes})


def facts(**changes: Any) -> Facts:
    values = {"attempt": "run/1", "started": NOW, "now": NOW, "ended": frozenset({"dead/1"})}
    scaled = (setting("blue"),)
    return Facts(**{**values, "autoscale": scaled, **changes})


def setting(online_deployment: str) -> AutoscaleSetting:
    return AutoscaleSetting(
        id=f"settings/of-{online_deployment}",
        name=f"of-{online_deployment}",
        online_deployment=online_deployment,
        minimum=1,
        maximum=4,
        default=1,
        is_enabled=True,
        location="westeurope",
        properties={},
    )


def is_refused_by_azure(move: Move, endpoint: EndpointState) -> str:
    """Return why Azure would refuse a move, or why it would hurt."""
    here = {one.name.lower(): one for one in endpoint.online_deployments}
    if move.is_write and any(not one.is_settled for one in here.values()):
        return "another operation is running"
    if move.traffic is not None:
        if sum(move.traffic.values()) not in (0, 100):
            return "the sum is neither 0 nor 100"
        for name, weight in move.traffic.items():
            if weight and name.lower() not in here:
                return f"{name} gets traffic and does not exist"
            is_new = not endpoint.weight_of(name) and not endpoint.stable_traffic.get(name.lower())
            if weight and is_new and not here[name.lower()].is_succeeded:
                return f"{name} gets traffic and is not ready"
    if move.kind is Kind.DELETE:
        if endpoint.weight_of(move.target) or endpoint.mirror_traffic.get(move.target):
            return "it has traffic"
        if move.target.lower() in endpoint.stable_traffic:
            return "stable needs it"
    if move.kind is Kind.CREATE and move.target.lower() in here:
        return "it exists"
    return ""


def run(spec: RolloutSpec, what: Wanted, endpoint: EndpointState, known: Facts, most: int = MOST_MOVES) -> Any:
    """Return the endpoint after at most so many moves, the moves, and the last decision."""
    moves: list[Move] = []
    known = known.model_copy(update={"began_with": endpoint.serving})
    while True:
        move = decide(spec, what, endpoint, known)
        assert move.why, move
        if move.is_end or len(moves) == most:
            return endpoint, moves, move
        assert not is_refused_by_azure(move, endpoint), (move, endpoint)
        moves.append(move)
        endpoint, known = after(spec, what, endpoint, known, move)
        assert len(moves) < MOST_MOVES, moves[-4:]


@given(situations())
@settings(max_examples=400)
def test_a_run_that_nobody_disturbs_leaves_nothing_to_do(situation: Any) -> None:
    spec, endpoint, what = situation

    reached, moves, last = run(spec, what, endpoint, facts())
    _, again, _ = run(spec, what, reached, facts(attempt="run/2", now=NOW + timedelta(seconds=31)))

    assert [move for move in again if move.is_write] == []
    if last.outcome is Outcome.DONE and reached.exists:
        assert not reached.is_unproven
        assert reached.record.lease is None
    for kind, most in BUDGET.items():
        assert sum(move.kind is kind for move in moves) <= most, [str(move) for move in moves]


@given(situations(), st.data())
@settings(max_examples=400)
def test_whoever_dies_midway_the_next_run_reaches_the_same_end(situation: Any, data: st.DataObject) -> None:
    spec, endpoint, what = situation
    undisturbed, moves, _ = run(spec, what, endpoint, facts())
    done = data.draw(st.integers(0, len(moves)), label="moves made")

    left, _, _ = run(spec, what, endpoint, facts(), done)
    later = facts(attempt="next/1", ended=frozenset({"dead/1", "run/1"}))
    reached, _, _ = run(spec, what, left, later)

    assert traffic.is_same(reached.traffic, undisturbed.traffic)
    names = {one.name for one in undisturbed.online_deployments}
    assert {one.name for one in reached.online_deployments} <= names
    assert {name for name in names if undisturbed.weight_of(name)} <= {one.name for one in reached.online_deployments}


@given(situations(), st.data())
@settings(max_examples=400)
def test_a_run_that_fails_anywhere_brings_traffic_back_to_stable_in_one_write(
    situation: Any, data: st.DataObject
) -> None:
    spec, endpoint, what = situation
    _, moves, _ = run(spec, what, endpoint, facts())
    done = data.draw(st.integers(0, len(moves)), label="moves made")
    left, _, _ = run(spec, what, endpoint, facts(), done)
    stable = left.stable_traffic if left.is_unproven else left.serving

    failure = Failure(attempt="run/1", at="now", has_written=True, candidate=candidate_of(spec, what, left).name)
    writes: list[Move] = []
    while not (move := decide_abort(left, failure)).is_end:
        assert not is_refused_by_azure(move, left), move
        writes += [move] if move.is_write else []
        left, _ = after(spec, what, left, facts(), move)
        assert len(writes) < 5, writes

    is_left_to_another = left.record.lease is not None
    assert is_left_to_another or traffic.is_same(left.traffic, stable)
    assert sum(move.traffic is not None for move in writes) <= 1
    assert sum(move.kind is not Kind.DELETE for move in writes) <= 1, writes


@given(situations())
def test_what_others_made_and_what_stable_needs_is_never_deleted(situation: Any) -> None:
    spec, endpoint, what = situation

    _, moves, _ = run(spec, what, endpoint, facts())

    for move in moves:
        if move.kind is Kind.DELETE and (found := endpoint.online_deployment(move.target)) is not None:
            assert found.is_ours or spec.rollout.adopt, move
    if any(move.kind is Kind.DELETE_ENDPOINT for move in moves):
        assert endpoint.record.created_by or spec.rollout.adopt


@given(situations())
def test_every_change_is_explained(situation: Any) -> None:
    spec, endpoint, what = situation

    made = plan(spec, what, endpoint, facts())

    assert all(change.today != change.wanted for move in made.moves for change in move.changes)
    for move in made.moves:
        if move.kind in (Kind.MOVE_TRAFFIC, Kind.CHANGE_ENDPOINT):
            assert move.changes, move
