"""Removal: what may be deleted, and when."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rollway.rollout.entries import Served
from rollway.rollout.moves import Kind
from rollway.rollout.record import EndpointRecord
from rollway.rollout.removal import CLAIM_SECONDS, Removal, removals, replaced_stays_until
from rollway.rollout.state import EndpointState
from tests.unit.rollout.examples import (
    EARLIER,
    NOW,
    at,
    endpoint,
    facts,
    hand_made,
    name_of,
    ours,
    rolled_out,
    run,
    spec_with,
    wanted,
)

SPEC, AT_ONCE, ADOPTS = spec_with(), spec_with({"keep_replaced_seconds": 0}), spec_with({"adopt": True})
V1, V2, V3 = name_of("1"), name_of("2"), name_of("3")
LIVE = ours("green")
REPLACED_BLUE = EndpointRecord(promoted_at=at(EARLIER)).replacing(Served(online_deployment="blue"))


def found(state: EndpointState, spec: Any = SPEC, now: datetime = NOW, **more: Any) -> list[Removal]:
    """The removals of the run `run/1`, which knows that `dead/1` has ended."""
    values = {"candidate": None, "attempt": "run/1", "ended": frozenset({"dead/1"}), **more}
    return list(removals(spec, state, now=now, **values))


def names(state: EndpointState, spec: Any = SPEC, **more: Any) -> list[str]:
    return [one.name for one in found(state, spec, **more)]


def test_the_replaced_one_stays_for_the_time_that_the_folder_says() -> None:
    state = endpoint(LIVE, ours("blue"), record=REPLACED_BLUE)
    until = EARLIER + timedelta(hours=1)

    assert replaced_stays_until(SPEC.rollout, at(EARLIER)) == until
    assert found(state, now=until - timedelta(milliseconds=1)) == []
    assert found(state, now=until) == [Removal(name="blue", why="it was replaced, and rollout.yml keeps it for 3600 s")]


def test_one_that_stays_for_ever_is_never_deleted() -> None:
    forever = spec_with({"keep_replaced_seconds": 10**15})

    assert found(endpoint(LIVE, ours("blue"), record=REPLACED_BLUE), forever, now=NOW + timedelta(days=10**6)) == []


def test_the_next_run_after_that_time_deletes_it() -> None:
    state = rolled_out("1", "2")  # five minutes before NOW

    early = run(SPEC, wanted("2"), state, facts(now=EARLIER + timedelta(minutes=59)))
    late = run(SPEC, wanted("2"), state, facts(now=EARLIER + timedelta(minutes=60)))

    assert early.moves == []
    assert [(move.kind, move.target) for move in late.moves] == [(Kind.DELETE, V1)]


def test_one_that_need_not_stay_is_deleted_when_its_last_requests_have_ended() -> None:
    made = run(AT_ONCE, wanted("2"), rolled_out("1"))

    assert [(move.kind, move.target) for move in made.moves][-2:] == [(Kind.SETTLE, V1), (Kind.DELETE, V1)]
    assert made.moves[-2].why == "requests may still run there for 30 s"


def test_of_two_replaced_ones_only_the_last_one_stays() -> None:
    made = run(SPEC, wanted("3"), rolled_out("1", "2"), facts(ended=frozenset({"before0/1", "before1/1"})))

    assert [move.target for move in made.moves if move.kind is Kind.DELETE] == [V1]
    assert {one.name for one in made.endpoint.online_deployments} == {V2, V3}


@pytest.mark.parametrize("promoted_at", [None, "yesterday", "2026-01-01T00:00:00"])
def test_a_time_that_rollway_did_not_write_is_long_ago(promoted_at: str | None) -> None:
    assert replaced_stays_until(SPEC.rollout, promoted_at) <= datetime(2026, 1, 1, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize("spec", [SPEC, ADOPTS])
@pytest.mark.parametrize(
    "state",
    [
        endpoint(LIVE),
        endpoint(LIVE, ours("blue"), traffic={"green": 90, "blue": 10}),
        endpoint(LIVE, ours("blue"), mirror_traffic={"Blue": 10}),
        endpoint(LIVE, ours("blue"), record=EndpointRecord().moved("dead/1", {"green": 100}, {"blue": 100})),
    ],
    ids=["live", "canary", "mirror", "stable"],
)
def test_one_that_is_needed_is_never_deleted(state: EndpointState, spec: Any) -> None:
    assert names(state, spec) == []


def test_the_candidate_is_never_deleted() -> None:
    assert names(endpoint(LIVE, ours("blue")), candidate="Blue") == []


def test_one_with_an_operation_running_on_it_is_left_alone() -> None:
    assert names(endpoint(LIVE, ours("blue", provisioning_state="Updating"))) == []


def test_a_hand_made_one_is_deleted_only_if_the_folder_adopts() -> None:
    failed = endpoint(LIVE, hand_made("blue", provisioning_state="Failed"))
    replaced = endpoint(LIVE, hand_made("blue"), record=REPLACED_BLUE)
    later = NOW + timedelta(hours=2)

    assert (names(failed), names(replaced, now=later)) == ([], [])
    assert (names(failed, ADOPTS), names(replaced, ADOPTS, now=later)) == (["blue"], ["blue"])


def test_a_hand_made_one_that_was_never_replaced_is_never_deleted() -> None:
    state = endpoint(hand_made("blue"), hand_made("experiment"))

    made = run(ADOPTS, wanted("1"), state)

    assert Kind.DELETE not in made.kinds
    assert {one.name for one in made.endpoint.online_deployments} == {"blue", "experiment", V1}


@pytest.mark.parametrize("keep", [0, 5, 3600])
def test_requests_to_a_former_canary_can_end_before_it_is_deleted(keep: int) -> None:
    spec = spec_with({"keep_replaced_seconds": keep})
    canary = run(SPEC, wanted("2", weight=10), rolled_out("1")).endpoint

    made = run(spec, wanted("3"), canary, facts(attempt="next/1", ended=frozenset({"run/1", "before0/1"})))

    assert V2 in [move.target for move in made.moves if move.kind is Kind.DELETE]
    assert made.kinds.index(Kind.SETTLE) < made.kinds.index(Kind.DELETE)


def test_requests_to_what_was_replaced_can_end_even_if_it_need_not_stay_that_long() -> None:
    spec = spec_with({"keep_replaced_seconds": 5})
    made = run(spec, wanted("2"), rolled_out("1"))

    def later(seconds: int) -> list[str]:
        return names(made.endpoint, spec, now=NOW + timedelta(seconds=seconds), candidate=V2)

    assert (later(6), later(31)) == ([], [V1])


def test_a_leftover_of_a_rollout_that_has_ended_is_deleted() -> None:
    assert found(endpoint(LIVE, ours("blue"))) == [
        Removal(name="blue", why="an earlier rollout left it without traffic, Succeeded", is_leftover=True)
    ]


def test_leftovers_go_before_the_candidate_comes_because_they_take_quota() -> None:
    made = run(SPEC, wanted("2"), endpoint(LIVE, ours("blue")))

    assert [(move.kind, move.target) for move in made.moves][:2] == [(Kind.DELETE, "blue"), (Kind.CREATE, V2)]


def test_a_leftover_of_an_earlier_attempt_of_the_same_run_is_deleted() -> None:
    assert names(endpoint(LIVE, ours("blue", by="run/1")), attempt="run/2") == ["blue"]


def test_a_leftover_of_a_rollout_that_may_still_be_running_stays_until_it_cannot_be() -> None:
    state = endpoint(LIVE, ours("blue", by="other/1"))
    longest = timedelta(seconds=SPEC.rollout.ready_timeout_seconds + CLAIM_SECONDS)

    assert names(state, now=EARLIER + longest) == []
    assert names(state, now=EARLIER + longest + timedelta(milliseconds=1)) == ["blue"]


def test_a_failed_one_stays_for_a_look_if_the_folder_says_keep_until_the_next_promotion() -> None:
    keeps = spec_with({"failed": "keep"})
    failed = ours("blue", provisioning_state="Failed")
    promoted_later = EndpointRecord(promoted_at=at(NOW))

    assert names(endpoint(LIVE, failed), keeps) == []
    assert names(endpoint(LIVE, failed, record=promoted_later), keeps) == ["blue"]
    assert names(endpoint(LIVE, failed)) == ["blue"]


@pytest.mark.parametrize("tidies", [True, False])
def test_a_run_that_must_not_tidy_deletes_nothing(tidies: bool) -> None:
    made = run(SPEC, wanted(stays_because="it is paused", tidies=tidies), endpoint(LIVE, ours("blue")))

    assert made.kinds == ([Kind.DELETE] if tidies else [])
