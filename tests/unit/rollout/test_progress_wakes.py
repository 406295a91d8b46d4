"""Progressive rollouts whose run waits: it wakes in a new process, and others may have acted meanwhile."""

from datetime import timedelta
from typing import Any

import pytest

from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.decide import decide
from rollway.rollout.entries import Order
from rollway.rollout.evidence import Verdict
from rollway.rollout.facts import Facts
from rollway.rollout.moves import Kind, Move, Outcome
from rollway.rollout.plan import plan
from rollway.rollout.rollback import wanted_to_go_on
from rollway.rollout.state import EndpointState
from rollway.rollout.wanted import RequestedBy, Wanted
from rollway.spec import Judge, Step
from tests.support.builders import planned_rollout
from tests.unit.rollout.courses import (
    GATED,
    GOOD,
    STEPS,
    V1,
    V2,
    Told,
    go,
    half_way,
    progressive,
    verdict,
)
from tests.unit.rollout.examples import (
    NOW,
    facts,
    order,
    rolled_out,
    with_changes,
)


def woken(left: Told, **changes: Any) -> Facts:
    """The facts of the same run after it has waited: a new process, which began later than the rollout."""
    now = changes.pop("now", left.facts.now)
    return facts(**{"attempt": "run/2", "started": now, "now": now, "owned": True, **changes})


def goes_on(left: Told) -> Wanted:
    canary = left.endpoint.online_deployment(V2)
    assert canary is not None
    return wanted_to_go_on(canary, RequestedBy.PERSON)


def test_an_order_to_abort_counts_for_a_run_that_wakes_later() -> None:
    left = half_way()
    state = with_changes(left.endpoint, left.endpoint.record.told(order(Order.ABORT, left.facts.now)))

    told = go(progressive(), state, goes_on(left), woken(left, now=left.facts.now + timedelta(seconds=9)))

    assert (told.moves, told.last.outcome) == ([], Outcome.ABORTED)


@pytest.mark.parametrize("seconds", [200_000, 10])
def test_the_plan_of_a_run_that_wakes_ends_with_a_failure_only_if_it_must_abort(seconds: int) -> None:
    left = half_way()
    now = left.facts.now + timedelta(seconds=seconds)

    made = plan(progressive(), goes_on(left), left.endpoint, woken(left, now=now))
    rollout = planned_rollout(progressive(), made)

    assert (made.end.outcome is Outcome.LATE) == (seconds > 100_000)
    assert not rollout.is_over


def test_the_plan_of_a_run_that_wakes_into_a_hold_is_to_wait_on() -> None:
    left = half_way()
    foreign = with_changes(left.endpoint, traffic={V1: 50, V2: 50})

    made = plan(progressive(), goes_on(left), foreign, woken(left))

    assert (made.moves, made.end.kind) == ((), Kind.HOLD)
    assert not planned_rollout(progressive(), made).is_over


def test_a_hold_is_written_once_with_its_reason_and_makes_nobody_else_take_over() -> None:
    told = go(
        progressive(),
        rolled_out("1"),
        judged=lambda _number, _at: verdict(Verdict.NO_DATA),
        until=lambda move, known: move.kind is Kind.HOLD and known.now > NOW + timedelta(hours=9),
    )
    later = facts(attempt="next/1", now=told.facts.now)

    move = decide(progressive(), goes_on(told), told.endpoint, later)

    assert told.writes == [Kind.MOVE_TRAFFIC, Kind.RECORD]
    assert told.endpoint.record.underway is not None
    assert told.endpoint.record.underway.held == "no data: the numbers"
    assert (move.outcome, move.why.partition(":")[0]) == (Outcome.DONE, "a rollout is under way")


def test_a_run_that_has_lost_its_rollout_to_another_one_leaves_it_alone() -> None:
    left = half_way()
    now = left.facts.now + timedelta(hours=3)
    takes = decide(progressive(), goes_on(left), left.endpoint, facts(attempt="next/1", now=now))
    assert takes.record is not None
    state = with_changes(left.endpoint, takes.record)

    move = decide(progressive(), goes_on(left), state, woken(left, now=now))

    assert "is overdue; this one goes on" in takes.why
    assert (move.outcome, move.why.partition(":")[0]) == (Outcome.DONE, "a rollout is under way")


def test_a_run_that_wakes_and_finds_its_rollout_ended_begins_nothing() -> None:
    left = half_way()
    back = decide_abort(left.endpoint, Failure(attempt="other/1", at="now", undoes_canary=True))
    ended = with_changes(left.endpoint, back.record, traffic=back.traffic)

    told = go(progressive(), ended, known=woken(left))

    assert (told.moves, told.last.outcome) == ([], Outcome.SUPERSEDED)


def test_a_failure_that_is_held_stays_held_even_if_later_looks_are_better() -> None:
    spec = progressive(judge=Judge.model_validate({"on_failure": "hold"}))

    told = go(
        spec,
        rolled_out("1"),
        judged=lambda _number, at: verdict(Verdict.FAILED) if at < NOW + timedelta(hours=1) else GOOD,
    )

    assert (told.weights, told.last.outcome) == ([5], Outcome.LATE)


def test_a_hold_that_a_person_takes_back_is_taken_out_of_the_record() -> None:
    orders = iter([Order.HOLD, Order.RESUME])

    def between(state: EndpointState, move: Move, known: Facts) -> EndpointState:
        if move.kind is Kind.BAKE and state.record.command is None and known.now < NOW + timedelta(minutes=9):
            return with_changes(state, state.record.told(order(next(orders), known.now)))
        if move.kind is Kind.HOLD and known.now > NOW + timedelta(hours=5) and state.record.is_held:
            return with_changes(state, state.record.told(order(next(orders), known.now)))
        return state

    told = go(progressive(), rolled_out("1"), between=between)

    assert (told.weights, told.last.outcome) == ([5, 25, 100], Outcome.DONE)


def test_an_abort_after_a_foreign_change_goes_back_to_what_was_stable() -> None:
    left = half_way()
    foreign = with_changes(left.endpoint, traffic={V1: 50, V2: 50})

    back = decide_abort(foreign, Failure(attempt="run/1", at="now"))

    assert (back.kind, back.traffic) == (Kind.RESTORE, {V1: 100})


def test_probes_are_not_judged_again_and_again_while_a_person_is_asked() -> None:
    judge = {"source": "probes", "minimum_requests": 100, "probes": {"requests_per_second": 10}}
    told = go(progressive(steps=GATED, judge=Judge.model_validate(judge)), rolled_out("1"))

    assert told.last.outcome is Outcome.LATE
    assert [move.kind for move in told.moves].count(Kind.LOOK) == 1


@pytest.mark.parametrize("steps", [(Step(weight=100),), STEPS, (Step(weight=5), Step(weight=100))])
@pytest.mark.parametrize("attempt", ["run/2", "other/1"])
def test_a_rollout_whose_steps_cannot_be_read_does_not_go_on_with_those_of_the_folder_but_back_to_stable(
    steps: tuple[Step, ...], attempt: str
) -> None:
    left = half_way()
    state = with_changes(left.endpoint, left.endpoint.record.model_copy(update={"progression": None}))
    known = woken(left, attempt=attempt, owned=attempt == "run/2", ended=frozenset({"run/"}))

    due = decide(progressive(steps=steps), goes_on(left), state, known)

    assert (due.kind, due.outcome, due.target) == (Kind.END, Outcome.GONE, V2)
    assert due.why == "the steps of its rollout cannot be read from the record, so it cannot go on"
    failure, moves = Failure(attempt=attempt, at=known.at, is_recorded=True), list[Move]()
    while not (move := decide_abort(state, failure)).is_end:
        moves.append(move)
        state = with_changes(state, move.record, traffic=move.traffic or state.traffic)
    assert state.serving == {V1: 100}
    assert state.record.underway is None
    assert len(moves) <= 2
