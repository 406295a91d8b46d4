"""The abort: what is left to do when a rollout has failed, from any state. Traffic comes first."""

from typing import Any

import pytest

from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.entries import End, Ended, Failures, Lease, Order
from rollway.rollout.moves import Kind, Move, Outcome
from rollway.rollout.plan import after
from rollway.rollout.record import EndpointRecord
from rollway.rollout.state import EndpointState
from tests.unit.rollout.examples import (
    ABSENT,
    NOW,
    at,
    endpoint,
    facts,
    hand_made,
    is_refused_by_azure,
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
CLAIMED = EndpointRecord().claimed(Lease(holder="run/1", ttl_seconds=300, renewed_at=at(NOW)))
ABORTED = Ended(outcome=End.ABORTED, attempt="run/1", at=at(NOW))


def failure(**changes: Any) -> Failure:
    return Failure(**{"attempt": "run/1", "at": at(NOW), **changes})


def moved(**changes: Any) -> EndpointState:
    """The endpoint after `run/1` has moved traffic from version 1 to version 2."""
    return run_until(SPEC, wanted("2", **changes), rolled_out("1"), Kind.MOVE_TRAFFIC).endpoint


def carried_out(state: EndpointState, failed: Failure) -> tuple[EndpointState, list[Move], Move]:
    """The endpoint after the whole abort, its moves without waits, and the last decision."""
    moves: list[Move] = []
    while not (move := decide_abort(state, failed)).is_end:
        assert not is_refused_by_azure(move, state), move
        moves.append(move)
        state, _ = after(SPEC, wanted("2"), state, facts(), move)
    return state, [move for move in moves if move.is_write], move


def test_traffic_goes_back_first_with_the_record_in_the_same_write_and_then_the_candidate_goes() -> None:
    failed = failure(candidate=V2, rejects="diabetes:2/folder")

    state, moves, last = carried_out(moved(), failed)

    assert [(move.kind, move.target) for move in moves] == [(Kind.RESTORE, "diabetes"), (Kind.DELETE, V2)]
    assert (last.outcome, last.why) == (Outcome.DONE, "nothing of the failed rollout has traffic")
    record = moves[0].record
    assert moves[0].traffic == {V1: 100}
    assert record == state.record
    assert record is not None
    assert (record.last, record.lease, record.rejected) == (ABORTED, None, ("diabetes:2/folder",))
    assert record.written_traffic == record.stable_traffic == {V1: 100}


def test_the_abort_of_a_canary_gives_stable_all_traffic() -> None:
    state, moves, _ = carried_out(moved(weight=10), failure())

    assert (state.serving, [move.kind for move in moves]) == ({V1: 100}, [Kind.RESTORE])
    assert moves[0].changes[0].today == f"{V1} 90 %, {V2} 10 %"


def test_the_first_version_of_an_endpoint_goes_back_to_no_traffic() -> None:
    first = run_until(SPEC, wanted(), ABSENT, Kind.MOVE_TRAFFIC).endpoint

    assert decide_abort(first, failure()).traffic == {}


def test_an_abort_that_is_done_is_not_done_again() -> None:
    failed = failure(candidate=V2, rejects="diabetes:2/folder", delays="0123abcd", is_recorded=True)
    state, _, _ = carried_out(moved(), failed)

    assert carried_out(state, failed)[:2] == (state, [])


def test_traffic_stays_if_the_live_smoke_test_has_passed() -> None:
    state, moves, _ = carried_out(moved(), failure(keeps_traffic=True))

    assert (state.serving, [move.kind for move in moves]) == ({V2: 100}, [Kind.RECORD])
    assert state.record.lease is None
    assert state.is_unproven, "the next run tests it and confirms"


def test_a_promoted_rollout_that_fails_afterwards_stays_promoted() -> None:
    promoted = run(SPEC, wanted("2"), rolled_out("1")).endpoint

    state, moves, _ = carried_out(promoted, failure(is_recorded=True))

    assert (state, moves) == (promoted, [])


@pytest.mark.parametrize("is_undone", [True, False])
def test_a_canary_that_passed_its_test_goes_only_when_a_person_says_so(is_undone: bool) -> None:
    canary = run(SPEC, wanted("2", weight=10), rolled_out("1")).endpoint

    state, _, _ = carried_out(canary, failure(attempt="steer/1", undoes_canary=is_undone))

    assert state.serving == ({V1: 100} if is_undone else {V1: 90, V2: 10})


def test_nothing_is_done_while_another_rollout_holds_the_endpoint() -> None:
    move = decide_abort(moved(), failure(attempt="other/1", is_recorded=True))

    assert (move.outcome, move.why) == (Outcome.SUPERSEDED, "the rest is left to another rollout: run/1")


def test_a_later_attempt_of_the_same_run_may_abort_for_an_earlier_one() -> None:
    assert decide_abort(moved(), failure(attempt="run/2")).kind is Kind.RESTORE


def test_an_earlier_attempt_leaves_the_endpoint_to_a_later_one() -> None:
    left = moved()
    claimed = with_changes(left, left.record.claimed(Lease(holder="run/2", ttl_seconds=300, renewed_at=at(NOW))))

    move = decide_abort(claimed, failure())

    assert (move.outcome, move.why) == (Outcome.SUPERSEDED, "the rest is left to another rollout: run/2")


def test_an_abort_by_a_person_can_pause_the_endpoint() -> None:
    state, _, _ = carried_out(moved(), failure(pauses="aborted by ann"))

    assert (state.serving, state.record.pause_reason) == ({V1: 100}, "aborted by ann")


def test_without_an_endpoint_nothing_is_left_to_do() -> None:
    move = decide_abort(ABSENT, failure())

    assert (move.outcome, move.why) == (Outcome.DONE, "there is no endpoint")


def test_it_waits_for_a_running_operation_on_the_endpoint_which_hides_its_changes() -> None:
    move = decide_abort(endpoint(ours("green"), provisioning_state="Updating"), failure())

    assert (move.kind, move.target, move.why) == (Kind.WAIT, "diabetes", "it is Updating")


CREATING = ours("blue", provisioning_state="Creating")


def test_only_traffic_is_worth_the_wait_for_an_online_deployment() -> None:
    to_restore = with_changes(moved(), behind=(CREATING,))
    to_record = endpoint(ours("green"), CREATING, record=CLAIMED)

    waits, ends = decide_abort(to_restore, failure()), decide_abort(to_record, failure())

    assert (waits.kind, waits.target, waits.why) == (Kind.WAIT, "blue", "blue is Creating")
    assert (ends.outcome, ends.why) == (Outcome.BLOCKED, "blue is Creating; the next run continues from there")


def test_a_claim_is_given_back_even_if_traffic_never_moved() -> None:
    move = decide_abort(endpoint(ours("green"), record=CLAIMED), failure())

    assert (move.kind, move.traffic) == (Kind.RECORD, None)
    assert move.record is not None
    assert (move.record.lease, move.record.last) == (None, ABORTED)


@pytest.mark.parametrize(
    ("changes", "rejected", "failures"),
    [
        ({"rejects": "diabetes:2/folder"}, ("diabetes:2/folder",), None),
        (
            {"delays": "0123abcd", "is_recorded": True},
            (),
            Failures(content="0123abcd", count=1, at=at(NOW)),
        ),
        ({"is_recorded": True}, (), None),
    ],
    ids=["its own fault", "temporary", "neither"],
)
def test_the_end_is_written_down_for_automation(
    changes: dict[str, Any], rejected: tuple[str, ...], failures: Failures | None
) -> None:
    state, moves, _ = carried_out(endpoint(ours("green")), failure(**changes))

    assert [move.kind for move in moves] == [Kind.RECORD]
    assert (state.record.last, state.record.rejected, state.record.failures) == (ABORTED, rejected, failures)


def test_a_run_that_left_nothing_writes_nothing() -> None:
    assert carried_out(endpoint(ours("green")), failure(candidate="gone"))[1] == []


@pytest.mark.parametrize(
    "state",
    [
        endpoint(ours("blue"), traffic={"blue": 100}),
        endpoint(ours("green"), ours("blue"), mirror_traffic={"blue": 10}),
        endpoint(ours("green"), hand_made("blue")),
    ],
    ids=["traffic", "mirrored traffic", "hand-made"],
)
def test_a_candidate_that_is_needed_or_not_ours_is_never_deleted(state: EndpointState) -> None:
    assert carried_out(state, failure(candidate="blue"))[1] == []


def test_a_failed_candidate_stays_if_it_is_not_at_fault_or_the_folder_keeps_it() -> None:
    state, moves, _ = carried_out(endpoint(ours("green"), ours("blue")), failure(candidate=None))

    assert moves == []
    assert state.online_deployment("blue") is not None


@pytest.mark.parametrize(("word", "stays"), [(Order.ABORT, False), (Order.PROMOTE, False), (Order.HOLD, True)], ids=str)
def test_an_order_to_the_rollout_is_over_and_a_hold_stays(word: Order, stays: bool) -> None:
    left = moved()
    told = with_changes(left, left.record.told(order(word, NOW)))

    state, _, _ = carried_out(told, failure())

    assert (state.record.command == order(word, NOW)) is stays
    assert (state.record.command is None) is not stays
