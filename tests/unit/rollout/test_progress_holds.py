"""Holds, gates and orders of progressive rollouts, when something else happens meanwhile."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from rollway.rollout import predictions
from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.decide import decide
from rollway.rollout.entries import Order
from rollway.rollout.evidence import Judgement, Verdict
from rollway.rollout.facts import Facts, Look
from rollway.rollout.moves import Kind, Move, Outcome
from rollway.rollout.plan import after
from rollway.rollout.predictions import Comparison
from rollway.rollout.rollback import wanted_to_go_on
from rollway.rollout.state import EndpointState
from rollway.rollout.wanted import RequestedBy
from rollway.spec import Judge
from tests.unit.rollout.courses import GATED, GOOD, V1, V2, Told, go, half_way, progressive, tell, verdict
from tests.unit.rollout.examples import (
    EARLIER,
    NOW,
    at,
    facts,
    hand_made,
    order,
    rolled_out,
    run,
    setting,
    spec_with,
    wanted,
    with_changes,
)

DISAGREES = Comparison(
    verdict=predictions.Verdict.DISAGREES,
    compared=100,
    not_comparable=0,
    disagreements=50,
    noise=0,
    lowest_excess=0.4,
    minimum_agreement=0.98,
    minimum_requests=50,
)
COMPARED = progressive(judge=Judge.model_validate({"predictions": {"requests": "r.jsonl"}}))
PROBED = Judge.model_validate({"source": "probes", "minimum_requests": 100, "probes": {"requests_per_second": 10}})


def until_second(seconds: float) -> Callable[[Move, Facts], bool]:
    """The end of a course: the first wait for a person so many seconds after `NOW`."""
    return lambda move, known: move.kind in (Kind.HOLD, Kind.GATE) and known.now > NOW + timedelta(seconds=seconds)


def held_before_the_first_step(state: EndpointState | None = None) -> Told:
    """A rollout that waits for a person, because its predictions differ from those of stable."""
    known = facts(comparison=DISAGREES)
    return go(COMPARED, state or rolled_out("1"), known=known, until=lambda move, _: move.kind is Kind.HOLD)


def a_persons_abort(state: EndpointState) -> dict[str, int] | None:
    """The traffic that `rollway abort` writes."""
    failure = Failure(attempt="steer/1", at=at(NOW), undoes_canary=True, is_recorded=True)
    return decide_abort(state, failure).traffic


@pytest.mark.parametrize("when", ["before the hold", "during it"])
def test_traffic_that_somebody_set_before_the_first_step_is_stable(when: str) -> None:
    by_hand: dict[str, Any] = {"behind": (hand_made("blue"),), "traffic": {"blue": 100}}
    start = rolled_out("1")

    if when == "before the hold":
        held = held_before_the_first_step(with_changes(start, **by_hand))
    else:
        held = held_before_the_first_step()
        held = held._replace(endpoint=with_changes(held.endpoint, **by_hand))

    assert a_persons_abort(held.endpoint) == {"blue": 100}
    told = order(Order.PROMOTE, held.facts.now + timedelta(minutes=1))
    promoted = with_changes(held.endpoint, held.endpoint.record.told(told))
    move = decide(COMPARED, wanted("2", is_progressive=True), promoted, held.facts)
    assert (move.kind, move.traffic) == (Kind.MOVE_TRAFFIC, {"blue": 95, V2: 5})


@pytest.mark.parametrize("command", [None, Order.PROMOTE])
def test_the_failure_of_another_run_leaves_a_rollout_and_its_orders_alone(command: Order | None) -> None:
    left = half_way()
    before = left.endpoint
    if command is not None:
        before = with_changes(before, before.record.told(order(command, left.facts.now)))

    move = decide_abort(before, Failure(attempt="laptop/1", at=at(left.facts.now), is_recorded=True))

    assert (move.kind, move.traffic) == (Kind.RECORD, None)
    assert move.record is not None
    assert (move.record.underway, move.record.command) == (before.record.underway, before.record.command)
    assert move.record.progression == before.record.progression
    ended = go(progressive(), with_changes(before, move.record), known=left.facts)
    assert (ended.last.outcome, ended.endpoint.serving) == (Outcome.DONE, {V2: 100})


@pytest.mark.parametrize("first", ["without a verdict", "at a gate", "by a person"])
def test_a_failure_that_is_held_counts_whatever_held_it_before(first: str) -> None:
    judge = Judge.model_validate({"on_failure": "hold"})
    spec = progressive(judge=judge, steps=GATED) if first == "at a gate" else progressive(judge=judge)
    worse, better = NOW + timedelta(seconds=5000), NOW + timedelta(seconds=7000)

    def judged(_number: int, when: datetime) -> Judgement:
        if worse <= when < better:
            return verdict(Verdict.FAILED, "errors 30 %")
        return GOOD if when >= better or first != "without a verdict" else verdict(Verdict.INCONCLUSIVE)

    told = go(
        spec,
        rolled_out("1"),
        judged=judged,
        between=tell(Order.HOLD, Kind.BAKE) if first == "by a person" else lambda state, _move, _known: state,
        until=until_second(20_000),
    )

    assert (told.last.kind, told.last.why) == (Kind.HOLD, "failed: errors 30 %")
    assert told.endpoint.record.underway is not None
    assert told.endpoint.record.underway.held == "failed: errors 30 %"
    assert len(told.weights) == 1


def test_a_canary_that_is_not_ready_gets_no_more_traffic_until_it_is_repaired() -> None:
    left = half_way()
    canary = left.endpoint.online_deployment(V2)
    assert canary is not None
    failed = with_changes(left.endpoint, behind=(canary.model_copy(update={"provisioning_state": "Failed"}),))

    told = go(progressive(), failed, known=left.facts, until=until_second(20_000))

    assert (told.last.kind, told.weights) == (Kind.HOLD, [])
    assert told.last.why == "the canary is Failed and gets no more traffic: repair it, or rollway abort"
    repaired = with_changes(told.endpoint, behind=(canary,))
    ended = go(progressive(), repaired, known=told.facts)
    assert (ended.last.outcome, ended.endpoint.serving) == (Outcome.DONE, {V2: 100})


def test_a_person_cannot_promote_a_canary_that_is_not_ready() -> None:
    held = held_before_the_first_step()
    canary = held.endpoint.online_deployment(V2)
    assert canary is not None
    told = held.endpoint.record.told(order(Order.PROMOTE, held.facts.now + timedelta(minutes=1)))
    failed = with_changes(held.endpoint, told, behind=(canary.model_copy(update={"provisioning_state": "Failed"}),))

    move = decide(COMPARED, wanted("2", is_progressive=True), failed, held.facts)

    assert (move.kind, move.traffic) == (Kind.HOLD, None)


def test_autoscale_settings_are_copied_if_a_person_begins_the_first_step_too() -> None:
    def promotes(state: EndpointState, move: Move, known: Facts) -> EndpointState:
        if move.kind is not Kind.HOLD or state.record.command is not None:
            return state
        return with_changes(state, state.record.told(order(Order.PROMOTE, known.now)))

    known = facts(comparison=DISAGREES, autoscale=(setting(V1),))
    told = go(COMPARED, rolled_out("1"), known=known, between=promotes)

    kinds = [move.kind for move in told.moves]
    assert Kind.COPY_AUTOSCALE in kinds[: kinds.index(Kind.MOVE_TRAFFIC)]
    assert told.endpoint.serving == {V2: 100}


@pytest.mark.parametrize("later", [Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.NO_DATA])
def test_a_gate_stays_open_if_a_later_look_has_no_verdict(later: Verdict) -> None:
    spec = progressive(steps=GATED, judge=Judge.model_validate({"on_inconclusive": "abort"}))

    def judged(_number: int, when: datetime) -> Judgement:
        return GOOD if when < NOW + timedelta(seconds=6000) else verdict(later, "Azure is unavailable")

    told = go(spec, rolled_out("1"), judged=judged, until=until_second(20_000))

    assert told.last.kind is Kind.GATE
    assert told.last.why.startswith("gate after step 1 of 2 (25 %): successful")


def test_no_verdict_ends_nothing_that_a_person_holds() -> None:
    spec = progressive(judge=Judge.model_validate({"on_inconclusive": "abort"}))

    def judged(_number: int, _when: datetime) -> Judgement:
        return verdict(Verdict.INCONCLUSIVE)

    told = go(spec, rolled_out("1"), judged=judged, between=tell(Order.HOLD, Kind.BAKE), until=until_second(20_000))

    assert (told.last.kind, told.last.why) == (Kind.HOLD, "hold by ann: because")
    resumed = with_changes(told.endpoint, told.endpoint.record.told(order(Order.RESUME, told.facts.now)))
    assert go(spec, resumed, known=told.facts, judged=judged).last.outcome is Outcome.UNPROVEN


def test_probes_are_not_sent_again_while_a_person_holds_and_once_after_that() -> None:
    spec = progressive(judge=PROBED)
    held = go(
        spec, rolled_out("1"), between=tell(Order.HOLD, Kind.BAKE), until=lambda move, _known: move.kind is Kind.HOLD
    )
    canary = held.endpoint.online_deployment(V2)
    assert canary is not None
    going_on = wanted_to_go_on(canary, RequestedBy.PERSON)

    def woken(number: int, state: EndpointState) -> Kind:
        now = held.facts.now + timedelta(seconds=300 * number)
        known = facts(attempt=f"run/{number + 1}", now=now, started=NOW, owned=True)
        return decide(spec, going_on, state, known).kind

    assert [woken(number, held.endpoint) for number in (1, 2, 3)] == [Kind.HOLD] * 3
    resumed = with_changes(held.endpoint, held.endpoint.record.told(order(Order.RESUME, held.facts.now)))
    assert woken(4, resumed) is Kind.LOOK


@pytest.mark.parametrize("strategy", ["blue_green", "progressive"])
def test_a_persons_run_does_not_heed_an_earlier_hold(strategy: str) -> None:
    start = rolled_out("1")
    start = with_changes(start, start.record.told(order(Order.HOLD, EARLIER)))

    if strategy == "progressive":
        told = go(progressive(), start)
        assert (told.last.outcome, told.endpoint.record.command) == (Outcome.DONE, None)
        assert told.endpoint.serving == {V2: 100}
    else:
        made = run(spec_with(), wanted("2"), start)
        assert (made.last.outcome, made.endpoint.serving) == (Outcome.DONE, {V2: 100})


def test_one_order_to_promote_begins_one_step_even_if_clocks_differ() -> None:
    baking = go(progressive(), rolled_out("1"), until=lambda move, _known: move.kind is Kind.BAKE)
    ahead = order(Order.PROMOTE, baking.facts.now + timedelta(seconds=3))
    state = with_changes(baking.endpoint, baking.endpoint.record.told(ahead))
    what, known = wanted("2", is_progressive=True), baking.facts

    move = decide(progressive(), what, state, known)
    assert (move.kind, move.traffic) == (Kind.MOVE_TRAFFIC, {V1: 75, V2: 25})
    state, known = after(progressive(), what, state, known, move)

    assert state.record.command is None
    assert decide(progressive(), what, state, known).kind is Kind.BAKE


@pytest.mark.parametrize("stays_because", ["", "it is paused"])
def test_automation_leaves_a_rollout_alone_that_began_after_it(stays_because: str) -> None:
    left = half_way()
    automatic = wanted(
        "3", is_progressive=not stays_because, requested_by=RequestedBy.SCHEDULE, stays_because=stays_because
    )
    began_before = facts(attempt="next/1", started=EARLIER, now=left.facts.now, began_with={V1: 100})

    move = decide(progressive(), automatic, left.endpoint, began_before)

    assert (move.outcome, move.why.partition(":")[0]) == (Outcome.DONE, "a rollout is under way")


def test_a_persons_canary_of_the_same_version_brings_all_traffic_back_and_begins() -> None:
    left = half_way()

    told = run(
        progressive(),
        wanted("2", weight=10, pause_reason="canary at 10 %"),
        left.endpoint,
        facts(attempt="next/1", started=left.facts.now, now=left.facts.now),
    )

    assert [move.traffic for move in told.moves if move.traffic][:2] == [{V1: 100}, {V1: 90, V2: 10}]
    assert told.endpoint.record.underway is None


def test_a_look_of_another_step_says_nothing_about_this_one() -> None:
    left = half_way()
    old = left.facts.model_copy(
        update={"look": Look(number=1, at=left.facts.now, judgement=verdict(Verdict.FAILED, "errors"))}
    )

    assert decide(progressive(), wanted("2", is_progressive=True), left.endpoint, old).outcome is None
