"""The decision for a rollout that nobody disturbs, and for what an earlier run has left."""

from datetime import timedelta
from typing import Any

import pytest

from rollway.rollout.decide import decide
from rollway.rollout.entries import Lease, Served
from rollway.rollout.fingerprint import SCHEMES
from rollway.rollout.moves import Kind, Outcome
from rollway.rollout.provision import seconds_without_process
from rollway.rollout.record import EndpointRecord, with_record
from rollway.rollout.wanted import RequestedBy
from tests.unit.rollout.examples import (
    ABSENT,
    EARLIER,
    NOW,
    at,
    facts,
    name_of,
    ours,
    rolled_out,
    run,
    run_until,
    setting,
    spec_with,
    wanted,
    with_changes,
)

SPEC = spec_with()
V1, V2, V3 = name_of("1"), name_of("2"), name_of("3")
DEAD = Lease(holder="dead/1", ttl_seconds=300, renewed_at=at(EARLIER))


def test_a_first_rollout_creates_tests_and_promotes() -> None:
    made = run(SPEC, wanted(), ABSENT)

    assert [(move.kind, move.target) for move in made.moves] == [
        (Kind.CREATE_ENDPOINT, "diabetes"),
        (Kind.CREATE, V1),
        (Kind.WAIT_UNTIL_READY, V1),
        (Kind.SMOKE_TEST, V1),
        (Kind.MOVE_TRAFFIC, V1),
        (Kind.TEST_LIVE, "diabetes"),
        (Kind.PROMOTE, V1),
    ]
    assert (made.last.outcome, made.last.why) == (Outcome.DONE, "Azure is as the folder describes it")
    assert made.endpoint.serving == {V1: 100}


def test_a_new_version_replaces_the_live_one_which_stays_to_go_back_to() -> None:
    made = run(SPEC, wanted("2"), rolled_out("1"))

    assert made.kinds == [
        Kind.CREATE,
        Kind.WAIT_UNTIL_READY,
        Kind.SMOKE_TEST,
        Kind.MOVE_TRAFFIC,
        Kind.TEST_LIVE,
        Kind.PROMOTE,
    ]
    assert made.endpoint.serving == {V2: 100}
    assert {one.name for one in made.endpoint.online_deployments} == {V1, V2}
    assert made.endpoint.record.previous == Served(online_deployment=V1, model="diabetes:1")


def test_nothing_is_due_when_azure_is_as_the_folder_describes_it() -> None:
    move = decide(SPEC, wanted("2"), rolled_out("1", "2"), facts())

    assert (move.kind, move.outcome, move.why) == (Kind.END, Outcome.DONE, "Azure is as the folder describes it")


def test_traffic_record_and_claim_are_one_write() -> None:
    move = run(SPEC, wanted("2"), rolled_out("1"), facts(lease_seconds=400)).the(Kind.MOVE_TRAFFIC)

    assert move.traffic == {V2: 100}
    assert move.record is not None
    assert (move.record.written_traffic, move.record.stable_traffic) == ({V2: 100}, {V1: 100})
    assert (move.record.moved_by, move.record.is_tested) == ("run/1", False)
    assert move.record.lease == Lease(holder="run/1", ttl_seconds=400, renewed_at=at(NOW))


def test_the_promotion_gives_the_claim_back_and_remembers_live_and_replaced() -> None:
    record = run(SPEC, wanted("2"), rolled_out("1")).the(Kind.PROMOTE).record

    assert record is not None
    assert (record.lease, record.promoted_at, record.has_promoted("run/1")) == (None, at(NOW), True)
    assert record.stable_traffic == record.written_traffic == {V2: 100}
    assert record.live == Served(online_deployment=V2, model="diabetes:2")
    assert record.previous == Served(online_deployment=V1, model="diabetes:1")


def test_instance_count_and_tags_change_in_place_and_it_is_tested_again() -> None:
    made = run(spec_with(instance_count=3, tags={"team": "ml"}), wanted(), rolled_out("1"))

    assert made.kinds == [Kind.CHANGE, Kind.SMOKE_TEST]
    change = made.the(Kind.CHANGE)
    assert (change.target, change.instances) == (V1, 3)
    assert [(one.field, one.today, one.wanted) for one in change.changes] == [
        ("instance_count", "1", "3"),
        ("tags.team", "(not set)", "ml"),
    ]


def test_a_difference_to_endpoint_yml_is_changed_first() -> None:
    spec = SPEC.model_copy(update={"endpoint": SPEC.endpoint.model_copy(update={"auth_mode": "aad_token"})})

    move = decide(spec, wanted("2"), rolled_out("1"), facts())

    assert (move.kind, move.target) == (Kind.CHANGE_ENDPOINT, "diabetes")
    assert [(one.field, one.today, one.wanted) for one in move.changes] == [("auth_mode", "key", "aad_token")]


def test_a_forced_rollout_creates_the_same_content_under_another_name_once() -> None:
    forced = run(SPEC, wanted(force="flow run"), rolled_out("1"))
    again = run(SPEC, wanted(), forced.endpoint)

    name = forced.the(Kind.CREATE).target
    assert name == name_of("1", force="flow run") != V1
    assert (again.moves, again.endpoint.serving) == ([], {name: 100})


def test_what_an_earlier_scheme_of_fingerprints_made_is_not_deployed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    live = rolled_out("1")
    monkeypatch.setattr("rollway.rollout.fingerprint.SCHEMES", {**SCHEMES, 2: lambda *_: "0" * 64})

    assert run(SPEC, wanted(), live).moves == []
    assert Kind.CREATE in run(spec_with(code_sha256=None), wanted(), live).kinds


@pytest.mark.parametrize("what", [wanted(), wanted("2", requested_by=RequestedBy.WATCHER)])
def test_without_an_endpoint_a_run_that_rolls_nothing_out_creates_none(what: Any) -> None:
    stays = what.model_copy(update={"stays_because": "it is paused"})

    move = decide(SPEC, stays, ABSENT, facts())

    assert (move.outcome, move.why) == (Outcome.DONE, "it is paused")


def test_a_canary_gets_its_weight_and_stable_keeps_the_rest() -> None:
    made = run(SPEC, wanted("2", weight=10, pause_reason="canary at 10 %"), rolled_out("1"))

    assert made.endpoint.serving == {V2: 10, V1: 90}
    assert (made.endpoint.is_canary, made.endpoint.stable_traffic) == (True, {V1: 100})
    assert made.endpoint.record.pause_reason == "canary at 10 %"
    assert made.endpoint.record.live == Served(online_deployment=V1, model="diabetes:1")


def test_a_canary_over_a_canary_shares_with_stable_and_not_with_the_other_canary() -> None:
    first = run(SPEC, wanted("2", weight=10), rolled_out("1")).endpoint

    second = run(SPEC, wanted("3", weight=10), first, facts(attempt="run2/1"))

    assert second.endpoint.serving == {V3: 10, V1: 90}
    assert second.endpoint.stable_traffic == {V1: 100}


def test_a_canary_that_gets_all_traffic_replaces_stable_and_ends_the_pause() -> None:
    canary = run(SPEC, wanted("2", weight=10, pause_reason="canary at 10 %"), rolled_out("1")).endpoint

    made = run(SPEC, wanted("2"), canary, facts(attempt="run2/1"))

    assert made.kinds == [Kind.SMOKE_TEST, Kind.MOVE_TRAFFIC, Kind.TEST_LIVE, Kind.PROMOTE]
    record = made.endpoint.record
    assert (made.endpoint.serving, record.pause_reason) == ({V2: 100}, "")
    assert record.previous == Served(online_deployment=V1, model="diabetes:1")


@pytest.mark.parametrize("weight", [10, 100])
def test_after_a_retry_that_went_well_nothing_is_both_rejected_and_serving(weight: int) -> None:
    before = rolled_out("1")
    record = before.record.rejecting("diabetes:2/0a1b2c3d").rejecting("diabetes:9/0a1b2c3d")
    before = before.model_copy(update={"tags": with_record(before.tags, record)})

    made = run(SPEC, wanted("2", weight=weight), before)

    assert V2 in made.endpoint.serving
    assert made.endpoint.record.rejected == ("diabetes:9/0a1b2c3d",)


def test_the_first_version_of_an_endpoint_gets_all_traffic_even_as_a_canary() -> None:
    made = run(SPEC, wanted(weight=10), ABSENT)

    assert made.endpoint.serving == {V1: 100}
    assert made.endpoint.record.live == Served(online_deployment=V1, model="diabetes:1")


def test_autoscale_rules_are_copied_before_traffic_moves_and_deleted_with_the_replaced_one() -> None:
    spec = spec_with({"keep_replaced_seconds": 0})

    made = run(spec, wanted("2"), rolled_out("1"), facts(autoscale=(setting(V1),)))

    follows = [(move.kind, move.target, move.settings) for move in made.moves[3:]]
    assert follows == [
        (Kind.COPY_AUTOSCALE, V2, (f"of-{V1}",)),
        (Kind.MOVE_TRAFFIC, V2, ()),
        (Kind.TEST_LIVE, "diabetes", ()),
        (Kind.PROMOTE, V2, ()),
        (Kind.SETTLE, V1, ()),
        (Kind.DELETE_AUTOSCALE, V1, (f"of-{V1}",)),
        (Kind.DELETE, V1, ()),
    ]


def test_a_candidate_that_has_autoscale_rules_gets_no_others() -> None:
    rules = (setting(V1), setting(V2, name="its-own"))

    assert Kind.COPY_AUTOSCALE not in run(SPEC, wanted("2"), rolled_out("1"), facts(autoscale=rules)).kinds


def test_the_time_that_azure_needed_is_recorded_with_the_traffic_and_expected_the_next_time() -> None:
    first = run(SPEC, wanted("2"), rolled_out("1"), facts(provisioning_seconds=540)).endpoint
    second = run(SPEC, wanted("3"), first, facts(attempt="next/1"))

    assert first.record.provisioning_seconds == 540
    assert second.the(Kind.WAIT_UNTIL_READY).seconds == 540
    assert second.endpoint.record.provisioning_seconds == 540, "the second run has not seen how long it took"


@pytest.mark.parametrize(
    ("last_seconds", "seconds_after_creation"),
    [(600, 570), (None, None), (0, None), (9000, 0.95 * 1800)],
    ids=["as the last time", "unknown", "no time", "longer than the deadline"],
)
def test_nobody_needs_to_look_before_a_new_online_deployment_is_nearly_ready(
    last_seconds: int | None, seconds_after_creation: float | None
) -> None:
    made = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.CREATE).endpoint
    creating = with_changes(made, made.record.model_copy(update={"provisioning_seconds": last_seconds}))

    later = decide(SPEC, wanted("2"), creating, facts(now=NOW + timedelta(seconds=200)))

    expected = None if seconds_after_creation is None else NOW + timedelta(seconds=seconds_after_creation)
    assert (later.kind, later.until) == (Kind.WAIT_UNTIL_READY, expected)


@pytest.mark.parametrize(
    ("created_by", "state", "usual", "seconds"),
    [
        ("run/1", "Succeeded", 600, 480),
        ("run/1", "Creating", 600, None),
        ("other/1", "Succeeded", 600, None),
        ("run/1", "Succeeded", None, None),
    ],
    ids=["ready", "not ready", "of another run", "no last time"],
)
def test_what_became_ready_while_its_run_had_no_process_was_faster_than_usual(
    created_by: str, state: str, usual: int | None, seconds: int | None
) -> None:
    live = rolled_out("1")
    record = live.record.model_copy(update={"provisioning_seconds": usual})
    found = with_changes(live, record, behind=(ours("new", by=created_by, provisioning_state=state),))

    assert seconds_without_process(found, "run/2") == seconds


def test_a_change_in_place_is_looked_at_all_the_time() -> None:
    changed = ours(V1, provisioning_state="Updating")
    record = changed.record.model_copy(update={"written_by": "run/1"})
    state = rolled_out("1")
    updating = with_changes(
        state,
        state.record.model_copy(update={"provisioning_seconds": 600}),
        behind=(changed.model_copy(update={"tags": record.tags()}),),
    )

    move = decide(SPEC, wanted(), updating, facts())

    assert (move.kind, move.until) == (Kind.WAIT_UNTIL_READY, None)


def test_work_of_a_run_that_died_is_continued_and_not_repeated() -> None:
    left = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.CREATE).endpoint

    made = run(SPEC, wanted("2"), left, facts(attempt="next/1"))

    assert made.kinds == [Kind.WAIT_UNTIL_READY, Kind.SMOKE_TEST, Kind.MOVE_TRAFFIC, Kind.TEST_LIVE, Kind.PROMOTE]
    assert made.endpoint.serving == {V2: 100}


def test_when_the_record_of_a_passed_live_test_is_lost_the_next_run_confirms_and_does_not_go_back() -> None:
    left = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.TEST_LIVE).endpoint  # the promotion was not written

    same = run(SPEC, wanted("2"), left, facts(attempt="run/2"))
    tidying = run(SPEC, wanted(stays_because="nothing new"), left, facts(attempt="next/1", ended=frozenset({"run/1"})))

    assert same.kinds == [Kind.TEST_LIVE, Kind.PROMOTE]
    assert tidying.kinds == [Kind.TEST_ABANDONED, Kind.PROMOTE]
    for made in (same, tidying):
        assert made.endpoint.serving == {V2: 100}
        assert (made.endpoint.record.live, made.endpoint.record.lease) == (
            Served(online_deployment=V2, model="diabetes:2"),
            None,
        )


def test_abandoned_traffic_that_fails_its_smoke_test_goes_back_to_stable() -> None:
    left = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.MOVE_TRAFFIC).endpoint
    known = facts(attempt="next/1", ended=frozenset({"run/1"}), disproved={V2: 100})

    move = decide(SPEC, wanted("3"), left, known)

    assert (move.kind, move.traffic) == (Kind.RESTORE, {V1: 100})
    assert move.why == "the traffic that an earlier rollout moved fails its smoke test"
    assert move.record is not None
    assert (move.record.stable_traffic, move.record.lease) == ({V1: 100}, None)


def test_abandoned_traffic_to_nothing_goes_back_to_stable_without_a_test() -> None:
    record = EndpointRecord().moved("dead/1", {}, {V1: 100})
    left = with_changes(rolled_out("1"), record).model_copy(update={"traffic": {}})

    move = decide(SPEC, wanted("3"), left, facts(attempt="next/1", ended=frozenset({"dead/1"})))

    assert (move.kind, move.traffic, move.why) == (Kind.RESTORE, {V1: 100}, "nothing serves")


def test_abandoned_traffic_that_passes_is_what_the_next_version_goes_back_to() -> None:
    left = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.MOVE_TRAFFIC).endpoint

    made = run(SPEC, wanted("3"), left, facts(attempt="next/1", ended=frozenset({"run/1"})))

    assert made.kinds[0] is Kind.TEST_ABANDONED
    record = made.the(Kind.MOVE_TRAFFIC).record
    assert record is not None
    assert record.stable_traffic == {V2: 100}


def test_a_canary_whose_run_died_stays_a_canary_and_waits_for_a_person() -> None:
    left = run_until(SPEC, wanted("2", weight=10), rolled_out("1"), Kind.MOVE_TRAFFIC).endpoint
    known = facts(attempt="next/1", ended=frozenset({"run/1"}))

    made = run(SPEC, wanted(stays_because="nothing new"), left, known)

    assert made.kinds == [Kind.TEST_ABANDONED, Kind.PROMOTE]
    assert (made.endpoint.is_canary, made.endpoint.stable_traffic) == (True, {V1: 100})
    assert made.endpoint.record.pause_reason == f"canary: {V1} 90 %, {V2} 10 %"


def test_a_claim_of_a_dead_run_is_given_back_even_if_nothing_else_is_due() -> None:
    left = with_changes(rolled_out("1"), rolled_out("1").record.claimed(DEAD))

    made = run(SPEC, wanted(), left)

    assert [(move.kind, move.why) for move in made.moves] == [
        (Kind.RECORD, "dead/1 claimed the endpoint and has ended")
    ]
    assert made.endpoint.record.lease is None
