"""Orders of people: which of them have a meaning on an endpoint, and what `promote` promotes."""

import pytest

from rollway.errors import ConfigurationError
from rollway.rollout.entries import Order, Served
from rollway.rollout.moves import Kind
from rollway.rollout.record import EndpointRecord
from rollway.rollout.rollback import Target
from rollway.rollout.state import EndpointState
from rollway.rollout.steering import promotable, require_meaning
from tests.unit.rollout.examples import (
    ABSENT,
    EARLIER,
    LATER,
    NOW,
    at,
    endpoint,
    hand_made,
    name_of,
    order,
    ours,
    rolled_out,
    run,
    run_until,
    spec_with,
    wanted,
)

SPEC = spec_with()
V2 = name_of("2")
LIVE = ours("green")
IDLE = endpoint(LIVE, record=EndpointRecord(promoted_at=at(NOW)))


def test_promote_gives_all_traffic_to_the_canary() -> None:
    canary = run(SPEC, wanted("2", weight=10), rolled_out("1")).endpoint

    require_meaning(Order.PROMOTE, canary)

    assert promotable(canary) == Target(online_deployment=V2, model="diabetes", version="2")


def test_promote_gives_all_traffic_to_a_ready_candidate_that_waits_for_it() -> None:
    waiting = run_until(SPEC, wanted("2"), rolled_out("1"), Kind.SMOKE_TEST).endpoint

    assert promotable(waiting) == Target(online_deployment=V2, model="diabetes", version="2")


def test_of_several_candidates_the_newest_is_promoted() -> None:
    newer, older = ours("newer", "3", created=LATER), ours("older", "2", created=NOW)

    assert promotable(endpoint(LIVE, newer, older)) == Target(online_deployment="newer", model="diabetes", version="3")


@pytest.mark.parametrize(
    "state",
    [
        IDLE,
        endpoint(LIVE, hand_made("blue")),
        endpoint(LIVE, ours("blue", provisioning_state="Failed")),
        endpoint(LIVE, ours("blue"), record=EndpointRecord().replacing(Served(online_deployment="Blue"))),
        endpoint(LIVE, ours("blue", created=EARLIER), record=EndpointRecord(promoted_at=at(NOW))),
    ],
    ids=["nothing else", "hand-made", "failed", "replaced", "older than the promotion"],
)
def test_without_a_canary_or_a_new_candidate_there_is_nothing_to_promote(state: EndpointState) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_meaning(Order.PROMOTE, state)

    assert caught.value.what == "there is nothing to promote"
    assert caught.value.why == "no canary has traffic, and none waits for it: green 100 %"


@pytest.mark.parametrize("word", list(Order))
def test_no_order_has_a_meaning_without_an_endpoint(word: Order) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_meaning(word, ABSENT)

    assert caught.value.what == "there is no endpoint 'diabetes'"


@pytest.mark.parametrize("word", [Order.HOLD, Order.ABORT])
def test_hold_and_abort_always_have_a_meaning(word: Order) -> None:
    require_meaning(word, IDLE)


@pytest.mark.parametrize(
    "record", [EndpointRecord().paused("rolled back"), EndpointRecord().told(order(Order.HOLD, NOW))]
)
def test_what_is_paused_or_held_can_be_resumed(record: EndpointRecord) -> None:
    require_meaning(Order.RESUME, endpoint(LIVE, record=record))


@pytest.mark.parametrize("record", [EndpointRecord(), EndpointRecord().told(order(Order.ABORT, NOW))])
def test_otherwise_there_is_nothing_to_resume(record: EndpointRecord) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_meaning(Order.RESUME, endpoint(LIVE, record=record))

    assert (caught.value.what, caught.value.why) == ("there is nothing to resume", "it is neither paused nor held")
