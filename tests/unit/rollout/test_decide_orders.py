"""The decision under orders of people, and for a run that goes back to something that exists."""

from datetime import timedelta
from typing import Any

import pytest

from rollway.rollout.decide import decide
from rollway.rollout.entries import Lease, Order, Served
from rollway.rollout.moves import Kind, Outcome
from rollway.rollout.record import EndpointRecord
from rollway.rollout.state import EndpointState
from rollway.rollout.wanted import RequestedBy
from tests.unit.rollout.examples import (
    ABSENT,
    EARLIER,
    LATER,
    NOW,
    at,
    endpoint,
    facts,
    name_of,
    order,
    ours,
    rolled_out,
    run,
    run_until,
    spec_with,
    wanted,
    with_changes,
)

SPEC = spec_with()
V1, V2 = name_of("1"), name_of("2")
HELD = EndpointRecord().claimed(Lease(holder="other/1", ttl_seconds=300, renewed_at=at(EARLIER)))


def told(word: Order, state: EndpointState, given: Any = LATER) -> EndpointState:
    """The endpoint after a person gave an order."""
    return with_changes(state, state.record.told(order(word, given)))


def test_a_hold_stops_the_rollout_before_traffic_moves() -> None:
    ready = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.SMOKE_TEST)

    move = decide(SPEC, wanted("2"), told(Order.HOLD, ready.endpoint), ready.facts)

    assert (move.outcome, move.why) == (Outcome.HELD, "hold by ann: because")


def test_under_a_hold_the_candidate_is_still_created() -> None:
    made = run(SPEC, wanted("2"), told(Order.HOLD, rolled_out("1")))

    assert (made.kinds, made.last.outcome) == ([Kind.CREATE, Kind.WAIT_UNTIL_READY, Kind.SMOKE_TEST], Outcome.HELD)
    assert made.endpoint.serving == {V1: 100}


def test_a_hold_that_comes_after_traffic_has_moved_outlives_the_promotion() -> None:
    moved = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.MOVE_TRAFFIC)
    held = told(Order.HOLD, moved.endpoint)

    made = run(SPEC, wanted("2"), held, moved.facts)

    assert made.kinds == [Kind.TEST_LIVE, Kind.PROMOTE]
    assert made.endpoint.record.command == order(Order.HOLD, LATER)


@pytest.mark.parametrize(("given", "outcome"), [(EARLIER, Outcome.DONE), (LATER, Outcome.ABORTED)])
def test_an_abort_ends_the_run_that_it_was_given_to_and_no_later_one(given: Any, outcome: Outcome) -> None:
    made = run(SPEC, wanted("2"), told(Order.ABORT, rolled_out("1"), given))

    assert made.last.outcome is outcome
    assert made.endpoint.serving == {V1 if outcome is Outcome.ABORTED else V2: 100}


def test_a_canary_that_is_told_to_promote_while_it_runs_gets_all_traffic() -> None:
    moved = run_until(SPEC, wanted("2", weight=10, pause_reason="canary"), rolled_out("1"), Kind.TEST_LIVE)

    made = run(SPEC, wanted("2", weight=10, pause_reason="canary"), told(Order.PROMOTE, moved.endpoint), moved.facts)

    record = made.endpoint.record
    assert (made.endpoint.serving, record.pause_reason, record.command) == ({V2: 100}, "", None)
    assert record.previous == Served(online_deployment=V1, model="diabetes:1")


def test_a_rollback_is_not_aborted_by_the_order_with_which_it_made_room() -> None:
    state = with_changes(rolled_out("1"), EndpointRecord(command=order(Order.ABORT, LATER, by="run/1")))

    assert run(SPEC, wanted("2"), state).last.outcome is Outcome.DONE


def test_a_persons_new_run_ends_an_old_hold() -> None:
    made = run(SPEC, wanted("2"), told(Order.HOLD, rolled_out("1"), EARLIER))

    assert made.endpoint.serving == {V2: 100}
    assert made.endpoint.record.command is None


def test_a_hold_stops_automation_however_old_it_is() -> None:
    state = told(Order.HOLD, rolled_out("1"), NOW - timedelta(days=30))

    made = run(SPEC, wanted("2", requested_by=RequestedBy.SCHEDULE), state)

    assert made.last.outcome is Outcome.HELD
    assert Kind.MOVE_TRAFFIC not in made.kinds


def test_going_back_moves_traffic_to_what_exists_and_deletes_nothing() -> None:
    made = run(SPEC, wanted(goes_back_to=V1, pause_reason="rolled back to it", tidies=False), rolled_out("1", "2"))

    assert made.kinds == [Kind.SMOKE_TEST, Kind.MOVE_TRAFFIC, Kind.TEST_LIVE, Kind.PROMOTE]
    assert made.endpoint.serving == {V1: 100}
    assert made.endpoint.record.pause_reason == "rolled back to it"
    assert made.endpoint.record.previous == Served(online_deployment=V2, model="diabetes:2")


@pytest.mark.parametrize(
    ("behind", "outcome", "why"),
    [
        ((), Outcome.GONE, "it is gone"),
        (
            (ours("blue", provisioning_state="Failed"),),
            Outcome.BLOCKED,
            "it is Failed, and Azure cannot repair a failed first provisioning; delete it, or roll out a version",
        ),
    ],
)
def test_going_back_to_what_cannot_serve_ends_the_run(behind: Any, outcome: Outcome, why: str) -> None:
    move = decide(SPEC, wanted(goes_back_to="blue"), endpoint(ours("green"), *behind), facts())

    assert (move.outcome, move.target, move.why) == (outcome, "blue", why)


def test_going_back_on_an_endpoint_that_does_not_exist_ends_the_run() -> None:
    move = decide(SPEC, wanted(goes_back_to="blue"), ABSENT, facts())

    assert (move.outcome, move.why) == (Outcome.GONE, "the endpoint does not exist")
