"""Progressive rollouts: each step, verdict, order, death and foreign change has its expected end."""

from datetime import timedelta

import pytest

from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.entries import Order
from rollway.rollout.evidence import Verdict
from rollway.rollout.moves import Kind, Outcome
from rollway.rollout.request import Models, Request, answer
from rollway.rollout.rollback import wanted_to_go_on
from rollway.rollout.wanted import RequestedBy
from rollway.spec import Judge, Step
from tests.unit.rollout.courses import (
    GATED,
    GOOD,
    LAG,
    STEPS,
    V1,
    V2,
    go,
    half_way,
    progressive,
    tell,
    verdict,
)
from tests.unit.rollout.examples import (
    NOW,
    endpoint,
    facts,
    hand_made,
    name_of,
    order,
    ours,
    rolled_out,
    wanted,
    with_changes,
)


def test_a_good_canary_passes_all_steps_with_one_write_each_and_is_promoted() -> None:
    told = go(progressive(), rolled_out("1"))

    assert told.weights == [5, 25, 100]
    assert told.writes == [Kind.MOVE_TRAFFIC, Kind.MOVE_TRAFFIC, Kind.MOVE_TRAFFIC, Kind.PROMOTE]
    assert (told.last.outcome, told.endpoint.serving) == (Outcome.DONE, {V2: 100})
    record = told.endpoint.record
    assert (record.underway, record.progression, record.lease) == (None, None, None)
    assert record.live is not None
    assert record.live.online_deployment == V2
    assert record.previous is not None
    assert record.previous.online_deployment == V1
    took = (told.facts.now - NOW).total_seconds()
    assert took >= sum(step.bake_seconds + LAG for step in STEPS)


def test_the_first_rollout_of_all_has_nothing_to_compare_with_and_moves_all_traffic() -> None:
    spec = progressive()
    first = answer(spec, Request(folder="diabetes"), Models(), None, endpoint(), NOW).wanted

    assert not first.is_progressive


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_canary_that_fails_a_step_goes_back_in_one_write_from_there(number: int) -> None:
    told = go(
        progressive(),
        rolled_out("1"),
        judged=lambda step, _: verdict(Verdict.FAILED, "errors 4 % of 412") if step == number else GOOD,
    )

    assert (told.last.outcome, told.last.why) == (Outcome.WORSE, "failed: errors 4 % of 412")
    back = decide_abort(told.endpoint, Failure(attempt="run/1", at="now", rejects="diabetes:2/abc"))
    assert (back.kind, back.traffic) == (Kind.RESTORE, {V1: 100})
    assert back.record is not None
    assert (back.record.underway, back.record.rejected) == (None, ("diabetes:2/abc",))


def test_a_failure_is_seen_at_the_next_look_and_not_only_at_the_end_of_the_bake() -> None:
    told = go(progressive(), rolled_out("1"), judged=lambda _number, _at: verdict(Verdict.FAILED))

    assert told.facts.now - NOW == timedelta(seconds=LAG + 60)
    assert told.weights == [5]


@pytest.mark.parametrize("open_verdict", [Verdict.INCONCLUSIVE, Verdict.ERROR, Verdict.NO_DATA])
@pytest.mark.parametrize(
    ("reaction", "end"),
    [("hold", None), ("abort", Outcome.UNPROVEN), ("promote", Outcome.DONE)],
)
def test_without_a_verdict_the_bake_is_extended_once_and_then_the_file_decides(
    open_verdict: Verdict, reaction: str, end: Outcome | None
) -> None:
    spec = progressive(judge=Judge.model_validate({"on_inconclusive": reaction}))

    told = go(
        spec,
        rolled_out("1"),
        judged=lambda _number, _at: verdict(open_verdict),
        until=lambda move, _: move.kind is Kind.HOLD,
    )

    assert told.last.outcome is end
    if end is not Outcome.DONE:
        waited = (told.facts.now - NOW).total_seconds()
        assert waited == 2 * STEPS[0].bake_seconds + LAG + 60
        assert told.weights == [5]


def test_a_held_rollout_gives_stable_everything_back_at_the_deadline() -> None:
    told = go(
        progressive(deadline_seconds=20_000), rolled_out("1"), judged=lambda _number, _at: verdict(Verdict.NO_DATA)
    )

    assert (told.last.outcome, told.facts.now - NOW) == (Outcome.LATE, timedelta(seconds=20_000))
    back = decide_abort(told.endpoint, Failure(attempt="run/1", at="now"))
    assert (back.kind, back.traffic) == (Kind.RESTORE, {V1: 100})


def test_a_failure_may_be_held_instead_of_going_back() -> None:
    spec = progressive(judge=Judge.model_validate({"on_failure": "hold"}))

    told = go(
        spec,
        rolled_out("1"),
        judged=lambda _number, _at: verdict(Verdict.FAILED, "errors"),
        until=lambda move, _: move.kind is Kind.HOLD,
    )

    assert told.last.why == "failed: errors"


def test_a_gate_waits_for_a_person_even_if_all_is_well() -> None:
    told = go(progressive(steps=GATED), rolled_out("1"), until=lambda move, _: move.kind is Kind.GATE)

    assert told.last.why.startswith("gate after step 1 of 2 (25 %): successful")
    assert told.last.why.endswith("confirm with rollway promote")
    assert told.endpoint.serving == {V1: 75, V2: 25}


@pytest.mark.parametrize(
    ("word", "kind", "end", "weights"),
    [
        (Order.PROMOTE, Kind.GATE, Outcome.DONE, [25, 100]),
        (Order.PROMOTE, Kind.BAKE, Outcome.DONE, [25, 100]),
        (Order.ABORT, Kind.GATE, Outcome.ABORTED, [25]),
        (Order.ABORT, Kind.BAKE, Outcome.ABORTED, [25]),
        (Order.ABORT, Kind.LOOK, Outcome.ABORTED, [25]),
        (Order.ABORT, Kind.CREATE, Outcome.ABORTED, []),
        (Order.HOLD, Kind.CREATE, Outcome.HELD, []),
        (Order.HOLD, Kind.BAKE, Outcome.LATE, [25]),
        (Order.RESUME, Kind.GATE, Outcome.LATE, [25]),
    ],
)
def test_orders_of_people_count_at_every_phase(word: Order, kind: Kind, end: Outcome, weights: list[int]) -> None:
    told = go(progressive(steps=GATED), rolled_out("1"), between=tell(word, kind))

    assert (told.last.outcome, told.weights) == (end, weights)


def test_another_attempt_of_the_run_goes_on_where_it_was_without_any_write() -> None:
    left = half_way()
    assert left.weights == [5, 25]
    canary = left.endpoint.online_deployment(V2)
    assert canary is not None

    told = go(
        progressive(),
        left.endpoint,
        wanted_to_go_on(canary, RequestedBy.PERSON),
        facts(attempt="run/2", now=left.facts.now),
    )

    assert (told.weights, told.writes) == ([100], [Kind.MOVE_TRAFFIC, Kind.PROMOTE])
    assert told.last.outcome is Outcome.DONE


def test_another_run_leaves_a_rollout_alone_that_has_a_run() -> None:
    left = half_way()
    canary = left.endpoint.online_deployment(V2)
    assert canary is not None

    told = go(
        progressive(),
        left.endpoint,
        wanted_to_go_on(canary, RequestedBy.SCHEDULE),
        facts(attempt="next/1", now=left.facts.now),
    )

    assert (told.moves, told.last.outcome) == ([], Outcome.DONE)
    assert told.last.why.startswith("a rollout is under way: step 2 of 3 (25 %) since 2026-")


@pytest.mark.parametrize("how", ["it has ended", "it is long overdue"])
def test_another_run_goes_on_with_a_rollout_that_has_lost_its_run(how: str) -> None:
    left = half_way()
    canary = left.endpoint.online_deployment(V2)
    assert canary is not None
    known = facts(attempt="next/1", now=left.facts.now, ended=frozenset({"run/"}))
    if how == "it is long overdue":
        known = facts(attempt="next/1", now=left.facts.now + timedelta(hours=3))

    told = go(progressive(), left.endpoint, wanted_to_go_on(canary, RequestedBy.WATCHER), known)

    assert told.writes == [Kind.RECORD, Kind.MOVE_TRAFFIC, Kind.PROMOTE]
    assert told.endpoint.serving == {V2: 100}


def test_a_foreign_change_of_traffic_is_held_and_nothing_is_touched() -> None:
    left = half_way()
    foreign = with_changes(left.endpoint, traffic={V1: 50, V2: 50})
    canary = foreign.online_deployment(V2)
    assert canary is not None

    told = go(
        progressive(),
        foreign,
        wanted_to_go_on(canary, RequestedBy.PERSON),
        facts(attempt="run/2", now=left.facts.now),
    )

    assert (told.writes, told.last.outcome) == ([], Outcome.LATE)
    holds = {move.why for move in told.moves if move.kind is Kind.HOLD}
    assert holds == {
        f"somebody changed the traffic: it was {V1} 75 %, {V2} 25 % and is {V1} 50 %, {V2} 50 %; nothing is touched"
    }


def test_promote_after_a_foreign_change_in_the_last_step_begins_that_step_again() -> None:
    last = go(progressive(), rolled_out("1"), until=lambda _move, known: known.now > NOW + timedelta(seconds=6500))
    assert last.weights == [5, 25, 100]
    told = order(Order.PROMOTE, last.facts.now)
    foreign = with_changes(last.endpoint, last.endpoint.record.told(told), traffic={V1: 40, V2: 60})

    again = go(progressive(), foreign, known=last.facts)

    assert (again.weights, again.writes) == ([100], [Kind.MOVE_TRAFFIC, Kind.PROMOTE])
    assert (again.last.outcome, again.endpoint.serving) == (Outcome.DONE, {V2: 100})


def test_a_rollout_that_somebody_ended_is_not_begun_again_by_its_run() -> None:
    left = half_way()
    back = decide_abort(left.endpoint, Failure(attempt="other/1", at="now", undoes_canary=True, is_recorded=True))
    ended = with_changes(left.endpoint, back.record, traffic=back.traffic)

    told = go(progressive(), ended, known=left.facts)

    assert (told.moves, told.last.outcome) == ([], Outcome.SUPERSEDED)


def test_a_change_of_the_file_does_not_change_a_rollout_that_is_under_way() -> None:
    left = half_way()
    canary = left.endpoint.online_deployment(V2)
    assert canary is not None

    told = go(
        progressive(steps=(Step(weight=50), Step(weight=100))),
        left.endpoint,
        wanted_to_go_on(canary, RequestedBy.PERSON),
        facts(attempt="run/2", now=left.facts.now),
    )

    assert told.weights == [100]


def test_another_candidate_that_comes_first_brings_all_traffic_back_and_then_begins() -> None:
    left = half_way()

    told = go(
        progressive(), left.endpoint, wanted("3", is_progressive=True), facts(attempt="next/1", now=left.facts.now)
    )

    assert told.moves[0].kind is Kind.RESTORE
    assert told.moves[0].traffic == {V1: 100}
    assert told.endpoint.serving == {name_of("3"): 100}


def test_a_mirror_step_sets_and_removes_the_mirror_with_the_neighbouring_traffic_writes() -> None:
    steps = (Step(mirror=20), Step(weight=10), Step(weight=100))

    told = go(progressive(steps=steps), rolled_out("1"))

    writes = [move for move in told.moves if move.kind is Kind.MOVE_TRAFFIC]
    assert [(move.traffic, move.mirror) for move in writes] == [
        ({V1: 100}, {V2: 20}),
        ({V1: 90, V2: 10}, {}),
        ({V2: 100}, {}),
    ]
    assert told.endpoint.serving == {V2: 100}


def test_stable_is_one_write_away_from_a_mirror_too() -> None:
    steps = (Step(mirror=20), Step(weight=100))
    told = go(progressive(steps=steps), rolled_out("1"), judged=lambda _number, _at: verdict(Verdict.FAILED))

    back = decide_abort(told.endpoint, Failure(attempt="run/1", at="now"))

    assert (back.kind, back.traffic, back.mirror) == (Kind.RESTORE, {V1: 100}, {})


def test_a_canary_that_is_under_way_is_no_leftover() -> None:
    left = half_way()

    assert left.endpoint.is_needed(V2)
    assert not left.endpoint.is_unproven


def test_stable_made_by_hand_is_what_a_progressive_rollout_goes_back_to() -> None:
    told = go(
        progressive(),
        endpoint(hand_made("blue")),
        judged=lambda _number, _at: verdict(Verdict.FAILED),
    )

    back = decide_abort(told.endpoint, Failure(attempt="run/1", at="now"))
    assert back.traffic == {"blue": 100}
    assert ours("x").is_ours
