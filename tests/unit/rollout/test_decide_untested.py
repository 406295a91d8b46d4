"""The decision for a folder with `smoke_test: none`."""

import pytest

from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.decide import decide
from rollway.rollout.entries import Served
from rollway.rollout.moves import Kind, Outcome
from rollway.rollout.record import EndpointRecord
from tests.unit.rollout.courses import go, progressive
from tests.unit.rollout.examples import (
    ABSENT,
    facts,
    name_of,
    rolled_out,
    run,
    run_until,
    spec_with,
    wanted,
    with_changes,
)

SPEC = spec_with({"smoke_test": "none"}).model_copy(update={"smoke_requests": ()})
V1, V2, V3 = name_of("1"), name_of("2"), name_of("3")
WHY = "Azure says that it is ready, and rollout.yml has no smoke test"
NEXT = facts(attempt="next/1", ended=frozenset({"run/1"}))


def test_readiness_alone_moves_and_promotes_the_traffic() -> None:
    made = run(SPEC, wanted(), ABSENT)

    assert made.kinds == [Kind.CREATE_ENDPOINT, Kind.CREATE, Kind.WAIT_UNTIL_READY, Kind.MOVE_TRAFFIC, Kind.PROMOTE]
    assert (made.the(Kind.MOVE_TRAFFIC).why, made.the(Kind.PROMOTE).why) == (WHY, WHY)
    assert (made.endpoint.serving, made.endpoint.is_unproven, made.endpoint.record.lease) == ({V1: 100}, False, None)


def test_the_record_is_the_one_of_a_tested_rollout() -> None:
    tested, untested = run(spec_with(), wanted("2"), rolled_out("1")), run(SPEC, wanted("2"), rolled_out("1"))

    assert untested.endpoint.tags == tested.endpoint.tags


def test_a_change_in_place_is_not_tested() -> None:
    changed = SPEC.model_copy(
        update={"online_deployment": SPEC.online_deployment.model_copy(update={"instance_count": 3})}
    )

    assert run(changed, wanted(), rolled_out("1")).kinds == [Kind.CHANGE]


def test_a_canary_waits_for_a_person() -> None:
    made = run(SPEC, wanted("2", weight=10), rolled_out("1"))

    assert made.kinds[-2:] == [Kind.MOVE_TRAFFIC, Kind.PROMOTE]
    assert (made.endpoint.is_canary, made.endpoint.serving) == (True, {V1: 90, V2: 10})


@pytest.mark.parametrize("wish", [wanted("2"), wanted(stays_because="nothing new")])
def test_traffic_that_a_dead_run_moved_is_promoted(wish: object) -> None:
    left = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.MOVE_TRAFFIC).endpoint

    made = run(SPEC, wish, left, NEXT)  # type: ignore[arg-type]

    assert made.kinds == [Kind.PROMOTE]
    assert made.endpoint.record.live == Served(online_deployment=V2, model="diabetes:2")


def test_the_version_after_a_dead_run_can_go_back_to_what_was_promoted() -> None:
    left = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.MOVE_TRAFFIC).endpoint

    made = run(SPEC, wanted("3"), left, NEXT)

    record = made.the(Kind.MOVE_TRAFFIC).record
    assert record is not None
    assert record.stable_traffic == {V1: 100}
    assert made.endpoint.serving == {V3: 100}


def test_traffic_that_leads_to_nothing_still_goes_back() -> None:
    record = EndpointRecord().moved("dead/1", {}, {V1: 100})
    left = with_changes(rolled_out("1"), record).model_copy(update={"traffic": {}})

    move = decide(SPEC, wanted("3"), left, facts(attempt="next/1", ended=frozenset({"dead/1"})))

    assert (move.kind, move.traffic, move.why) == (Kind.RESTORE, {V1: 100}, "nothing serves")


def test_a_run_that_fails_before_the_promotion_goes_back_to_stable() -> None:
    left = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.MOVE_TRAFFIC)

    move = decide_abort(left.endpoint, Failure(attempt="run/1", at="now", is_recorded=True))

    assert not left.facts.has_proven(left.endpoint.traffic), "so the abort does not keep the traffic"
    assert (move.kind, move.traffic) == (Kind.RESTORE, {V1: 100})


def test_a_progressive_rollout_begins_its_steps_when_it_is_ready() -> None:
    told = go(progressive().model_copy(update={"smoke_requests": ()}), rolled_out("1"))

    assert told.weights == [5, 25, 100]
    assert Kind.SMOKE_TEST not in [move.kind for move in told.moves]
    assert told.last.outcome is Outcome.DONE
