"""Capacity: how many instances an online deployment gets."""

import pytest

from rollway.rollout.autoscale import AutoscaleSetting
from rollway.rollout.moves import Kind
from rollway.rollout.state import EndpointState
from tests.unit.rollout.examples import (
    ABSENT,
    endpoint,
    facts,
    hand_made,
    name_of,
    rolled_out,
    run,
    setting,
    spec_with,
    wanted,
    with_changes,
)

TWO = spec_with(instance_count=2)
V1, V2 = name_of("1"), name_of("2")


def scaled(state: EndpointState, instances: int) -> EndpointState:
    """The endpoint after somebody scaled everything behind it by hand."""
    behind = (one.model_copy(update={"instance_count": instances}) for one in state.online_deployments)
    return with_changes(state, behind=tuple(behind))


def test_a_first_version_gets_the_number_in_the_file() -> None:
    assert run(TWO, wanted(), ABSENT).the(Kind.CREATE).instances == 2


def test_one_that_was_scaled_out_by_hand_is_not_scaled_in() -> None:
    live = scaled(rolled_out("1", spec=TWO), 8)

    assert run(TWO, wanted(), live).moves == []


def test_a_new_version_starts_with_as_many_as_the_live_one_has_now() -> None:
    live = scaled(rolled_out("1", spec=TWO), 8)

    made = run(TWO, wanted("2"), live)

    assert made.the(Kind.CREATE).instances == 8
    assert Kind.CHANGE not in made.kinds
    assert run(TWO, wanted("2"), made.endpoint).moves == []


@pytest.mark.parametrize("number", [1, 3])
def test_it_is_scaled_in_when_the_number_in_the_file_has_changed(number: int) -> None:
    live = scaled(rolled_out("1", spec=TWO), 8)
    changed = spec_with(instance_count=number)

    made = run(changed, wanted(), live)

    assert (made.the(Kind.CHANGE).instances, made.kinds) == (number, [Kind.CHANGE, Kind.SMOKE_TEST])
    scaled_out_again = scaled(made.endpoint, 8)
    assert run(changed, wanted(), scaled_out_again).moves == [], "the number has not changed since then"


def test_it_is_scaled_out_to_the_number_in_the_file() -> None:
    live = scaled(rolled_out("1", spec=TWO), 1)

    assert run(TWO, wanted(), live).the(Kind.CHANGE).instances == 2


def test_one_of_an_earlier_rollway_without_a_recorded_number_is_not_scaled_in() -> None:
    live = rolled_out("1", spec=TWO)
    one = live.online_deployments[0]
    tags = {name: value for name, value in one.tags.items() if name != "rollway:instances"}
    unknown = one.model_copy(update={"tags": tags, "instance_count": 8})

    assert run(TWO, wanted(), with_changes(live, behind=(unknown,))).moves == []


def test_where_autoscale_rules_decide_the_file_changes_nothing() -> None:
    live = scaled(rolled_out("1", spec=TWO), 8)

    assert run(spec_with(instance_count=3), wanted(), live, facts(autoscale=(setting(V1),))).moves == []
    assert run(spec_with(instance_count=9), wanted(), live, facts(autoscale=(setting(V1),))).moves == []


@pytest.mark.parametrize(
    ("rules", "instances"),
    [
        (setting(V1, minimum=4, maximum=9), 5),
        (setting(V1, minimum=6, maximum=9), 6),
        (setting(V1, minimum=1, maximum=4), 4),
        (setting(V1, minimum=1, maximum=4, is_enabled=False), 5),
        (setting("other", minimum=6, maximum=9), 5),
    ],
    ids=["inside", "below the minimum", "above the maximum", "disabled", "of another"],
)
def test_autoscale_rules_of_the_live_one_limit_the_number_in_the_file(rules: AutoscaleSetting, instances: int) -> None:
    made = run(spec_with(instance_count=5), wanted("2"), rolled_out("1"), facts(autoscale=(rules,)))

    assert made.the(Kind.CREATE).instances == instances


def test_a_rollback_gives_the_target_as_many_as_the_live_one_has_and_never_fewer_than_it_had() -> None:
    more = endpoint(hand_made("green", instance_count=3), hand_made("blue"))
    fewer = endpoint(hand_made("green"), hand_made("blue", instance_count=3))

    grows, stays = (run(TWO, wanted(goes_back_to="blue"), state) for state in (more, fewer))

    assert grows.the(Kind.CHANGE).instances == 3
    assert Kind.CHANGE not in stays.kinds


def test_a_canary_starts_as_large_as_the_largest_that_serves() -> None:
    behind = (hand_made("green", instance_count=2), hand_made("blue", instance_count=6))
    shared = endpoint(*behind, traffic={"green": 60, "blue": 40})

    assert run(TWO, wanted(weight=10), shared).the(Kind.CREATE).instances == 6


def test_a_candidate_that_was_left_small_grows_before_it_gets_traffic() -> None:
    state = run(TWO, wanted("2"), rolled_out("1", spec=TWO), most=2).endpoint  # created, and left
    live = state.online_deployment(V1)
    assert live is not None
    grown = with_changes(state, behind=(live.model_copy(update={"instance_count": 8}),))

    made = run(TWO, wanted("2"), grown, facts(attempt="run/2"))

    assert made.the(Kind.CHANGE).instances == 8
    assert made.kinds.index(Kind.CHANGE) < made.kinds.index(Kind.MOVE_TRAFFIC)
