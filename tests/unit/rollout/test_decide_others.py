"""The decision when others are at work, or something is in the way."""

from typing import Any

import pytest

from rollway.rollout.decide import decide
from rollway.rollout.entries import Command, Lease, Order, Served
from rollway.rollout.moves import Kind, Outcome
from rollway.rollout.record import EndpointRecord
from rollway.rollout.state import SERVICE_VARIABLES, EndpointState
from rollway.rollout.wanted import RequestedBy
from rollway.spec import HiddenText
from tests.unit.rollout.examples import (
    EARLIER,
    LATER,
    NOW,
    at,
    endpoint,
    facts,
    hand_made,
    name_of,
    ours,
    rolled_out,
    run,
    run_until,
    spec_with,
    wanted,
    with_changes,
)

SPEC = spec_with()
ADOPTS = spec_with({"adopt": True})
V1, V2 = name_of("1"), name_of("2")
HELD = EndpointRecord().claimed(Lease(holder="other/1", ttl_seconds=300, renewed_at=at(EARLIER)))


@pytest.mark.parametrize(
    ("known", "is_over"),
    [
        ({}, False),
        ({"lease_age_seconds": 299.9}, False),
        ({"lease_age_seconds": 300.0}, True),
        ({"ended": frozenset({"other/1"})}, True),
        ({"attempt": "other/2"}, True),
        ({"attempt": "other/1"}, True),
        ({"attempt": "others/2"}, False),
    ],
)
def test_a_run_takes_over_only_when_the_holder_has_ended_or_its_time_is_over(
    known: dict[str, Any], is_over: bool
) -> None:
    move = decide(SPEC, wanted("2"), endpoint(ours("green"), record=HELD), facts(**known))

    assert move.kind is (Kind.CREATE if is_over else Kind.WAIT)
    if not is_over:
        assert move.why == f"another rollout holds it: other/1, since {at(EARLIER)}"


@pytest.mark.parametrize(
    ("state", "target", "why"),
    [
        (
            endpoint(ours("green"), provisioning_state="Updating"),
            "diabetes",
            "an operation is running on it, it is Updating",
        ),
        (
            endpoint(ours("green"), ours("blue", provisioning_state="Deleting")),
            "blue",
            "an operation is running on it, it is Deleting",
        ),
    ],
    ids=["endpoint", "online deployment"],
)
def test_a_write_waits_until_azure_is_done_with_every_other_one(state: EndpointState, target: str, why: str) -> None:
    move = decide(SPEC, wanted(), state, facts())

    assert (move.kind, move.target, move.why) == (Kind.WAIT, target, why)


def test_a_candidate_that_is_being_deleted_is_created_again_when_it_is_gone() -> None:
    state = endpoint(ours("green"), ours(V1, provisioning_state="Deleting"))

    made = run(SPEC, wanted(), state)

    assert made.kinds[:2] == [Kind.WAIT, Kind.CREATE]
    assert made.endpoint.serving == {V1: 100}


def moved_by_another(record: EndpointRecord | None) -> EndpointState:
    """Traffic that was on green and is on blue now."""
    return endpoint(ours("blue"), hand_made("green"), record=record)


def test_traffic_that_somebody_set_by_hand_meanwhile_stops_the_run() -> None:
    move = decide(SPEC, wanted(), moved_by_another(None), facts(began_with={"green": 100}))

    assert (move.outcome, move.why) == (
        Outcome.FOREIGN,
        "traffic was green 100 % and is blue 100 %; Rollway did not write that",
    )


@pytest.mark.parametrize("requested_by", [RequestedBy.SCHEDULE, RequestedBy.WATCHER])
def test_automation_ends_as_superseded_when_another_rollout_was_faster(requested_by: RequestedBy) -> None:
    faster = EndpointRecord().promoted("other/1", at(NOW), Served(online_deployment="blue"), {"blue": 100})
    record = faster.model_copy(update={"moved_by": "other/1"})

    move = decide(SPEC, wanted(requested_by=requested_by), moved_by_another(record), facts(began_with={"green": 100}))

    assert (move.outcome, move.why) == (
        Outcome.SUPERSEDED,
        "other/1 was faster: traffic was green 100 % and is blue 100 %",
    )


def test_a_persons_run_goes_on_after_another_rollout_was_faster() -> None:
    faster = EndpointRecord().promoted("other/1", at(NOW), Served(online_deployment="blue"), {"blue": 100})

    record = faster.replacing(Served(online_deployment="green"))
    move = decide(SPEC, wanted(), moved_by_another(record), facts(began_with={"green": 100}))

    assert move.kind is Kind.CREATE


def test_a_persons_run_that_waited_without_a_process_does_not_undo_what_was_promoted_meanwhile() -> None:
    record = EndpointRecord().moved("other/1", {"blue": 100}, {"green": 100})
    record = record.promoted("other/1", at(LATER), Served(online_deployment="blue"), {"blue": 100})
    woken = facts(began_with={"blue": 100}, is_woken=True)

    move = decide(SPEC, wanted(), moved_by_another(record), woken)
    later = decide(SPEC, wanted(), moved_by_another(record), woken.model_copy(update={"started": LATER}))

    assert (move.outcome, move.why) == (Outcome.SUPERSEDED, "other/1 was faster: traffic is blue 100 %")
    assert later.kind is Kind.CREATE, "it began after that"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "somebody's"),
        ("environment", "somebody's"),
        ("code", "somebody's"),
        ("settings", {"instance_type": "huge"}),
    ],
)
def test_a_candidate_that_was_changed_after_its_smoke_test_gets_no_traffic(field: str, value: Any) -> None:
    tested = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.SMOKE_TEST)
    found = tested.endpoint.online_deployment(V2)
    assert found is not None
    changed = with_changes(tested.endpoint, behind=(found.model_copy(update={field: value}),))

    move = decide(SPEC, wanted("2"), changed, tested.facts)

    assert (move.outcome, move.target) == (Outcome.FOREIGN, V2)
    assert move.why == f"it was changed since its smoke test: {field}"


@pytest.mark.parametrize(
    ("variable", "is_a_change"), [("A", True), *((name, False) for name in sorted(SERVICE_VARIABLES))]
)
def test_variables_that_somebody_adds_meanwhile_are_a_change_and_those_of_the_service_are_not(
    variable: str, is_a_change: bool
) -> None:
    tested = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.SMOKE_TEST)
    found = tested.endpoint.online_deployment(V2)
    assert found is not None
    update = {"environment_variables": {variable: HiddenText.of("1")}}
    changed = with_changes(tested.endpoint, behind=(found.model_copy(update=update),))

    assert (decide(SPEC, wanted("2"), changed, tested.facts).outcome is Outcome.FOREIGN) is is_a_change


@pytest.mark.parametrize("state", ["Failed", "Canceled"])
def test_a_candidate_whose_creation_failed_is_deleted_and_created_again(state: str) -> None:
    made = run(SPEC, wanted(), endpoint(ours("green"), ours(V1, provisioning_state=state)))

    assert [(move.kind, move.target) for move in made.moves][:2] == [(Kind.DELETE, V1), (Kind.CREATE, V1)]
    assert made.moves[0].why == f"it is {state}, and Azure cannot repair a failed first provisioning"


def test_a_failed_hand_made_one_of_the_same_name_is_in_the_way_unless_the_folder_adopts() -> None:
    state = endpoint(ours("green"), hand_made(V1, provisioning_state="Failed"))

    move = decide(SPEC, wanted(), state, facts())

    assert (move.outcome, move.target) == (Outcome.BLOCKED, V1)
    assert decide(ADOPTS, wanted(), state, facts()).kind is Kind.DELETE


def test_a_live_one_whose_last_change_failed_is_changed_again_and_never_deleted() -> None:
    live = rolled_out("1")
    failed = live.online_deployments[0].model_copy(update={"provisioning_state": "Failed"})

    made = run(SPEC, wanted(), with_changes(live, behind=(failed,)))

    assert [(move.kind, move.why) for move in made.moves] == [
        (Kind.CHANGE, "its last change failed"),
        (Kind.SMOKE_TEST, "this run changed it"),
    ]


@pytest.mark.parametrize("has_traffic", [True, False])
def test_what_failed_after_this_run_wrote_it_is_waited_for_which_tells_why_and_never_written_again(
    has_traffic: bool,
) -> None:
    live = rolled_out("1")
    failed = live.online_deployments[0].model_copy(update={"provisioning_state": "Failed"})
    today = with_changes(live, behind=(failed,), traffic=live.traffic if has_traffic else {})

    move = decide(SPEC, wanted(), today, facts(changed=frozenset({V1})))

    assert (move.kind, move.target, move.why) == (Kind.WAIT_UNTIL_READY, V1, "it is Failed after a change")


FAILED_ENDPOINT = EndpointState(name="diabetes", provisioning_state="Failed")
CREATED_BY_US = EndpointRecord().created("dead/1", at(EARLIER)).tags()


@pytest.mark.parametrize(
    ("spec", "tags"), [(SPEC, CREATED_BY_US), (ADOPTS, {})], ids=["Rollway created it", "the folder adopts"]
)
def test_a_failed_endpoint_without_online_deployments_is_created_anew_if_it_is_ours(
    spec: Any, tags: dict[str, str]
) -> None:
    made = run(spec, wanted(), FAILED_ENDPOINT.model_copy(update={"tags": tags}))

    assert made.kinds[:2] == [Kind.DELETE_ENDPOINT, Kind.CREATE_ENDPOINT]
    assert made.moves[0].why == "its creation failed, and Azure cannot repair that"


def test_a_failed_endpoint_that_rollway_did_not_create_is_left_alone() -> None:
    move = decide(SPEC, wanted(), FAILED_ENDPOINT, facts())

    assert (move.kind, move.outcome) == (Kind.END, Outcome.BLOCKED)
    assert move.why.endswith("Rollway did not create it and leaves it alone")


def test_a_failed_endpoint_with_online_deployments_is_never_deleted() -> None:
    state = endpoint(ours("green"), provisioning_state="Failed", tags=CREATED_BY_US)

    assert Kind.DELETE_ENDPOINT not in run(ADOPTS, wanted(), state).kinds


def test_automation_carries_out_the_abort_of_a_rollout_that_died_before_it_could() -> None:
    order = Command(order=Order.ABORT, by="ann", at="2026-01-01T00:00:00.000+00:00", reason="wrong answers")
    record = EndpointRecord().moved("dead/1", {"blue": 100}, {"green": 100}).told(order)
    state = endpoint(ours("blue"), ours("green"), record=record)

    move = decide(SPEC, wanted(requested_by=RequestedBy.WATCHER), state, facts())

    assert (move.kind, move.traffic, move.why) == (Kind.RESTORE, {"green": 100}, "abort by ann: wrong answers")
    assert move.record is not None
    assert (move.record.command, move.record.pause_reason) == (None, "abort by ann: wrong answers")


def test_a_persons_new_run_ends_the_order_to_abort_an_earlier_one() -> None:
    order = Command(order=Order.ABORT, by="ann", at="2026-01-01T00:00:00.000+00:00")
    record = EndpointRecord().moved("dead/1", {"blue": 100}, {"green": 100}).told(order)

    move = decide(SPEC, wanted(), endpoint(ours("blue"), ours("green"), record=record), facts())

    assert move.kind is Kind.TEST_ABANDONED
