"""The endpoints that a look of the watcher reads closely, and which failures it counts or tells."""

from datetime import timedelta

import pytest

from rollway.errors import InvalidRollout, WatchIncomplete
from rollway.rollout.entries import Order, Served
from rollway.rollout.state import EndpointState
from rollway.rollout.watch import (
    EndedRun,
    Look,
    broken,
    forgotten_promotion,
    must_look_behind,
    require_read,
    turns,
    unrecorded_failures,
)
from rollway.spec import Problem
from tests.unit.rollout.examples import NOW
from tests.unit.rollout.test_watch import (
    INTERVAL,
    ONE,
    TWO,
    canary,
    following,
    listed,
    online_deployment,
    serving,
    with_changes,
)


def test_whoever_gives_an_order_to_promote_has_time_to_carry_it_out() -> None:
    assert forgotten_promotion(canary(Order.PROMOTE, minutes=4), NOW) is None


def test_only_a_closer_look_finds_an_order_to_promote() -> None:
    endpoint = listed(canary(Order.PROMOTE))

    assert forgotten_promotion(endpoint, NOW) is None
    assert must_look_behind(following(), endpoint, NOW, is_turn=False)


@pytest.mark.parametrize("endpoints", [1, 2, 143, 144, 145, 200, 300])
def test_every_endpoint_has_one_turn_a_day_and_the_turns_are_spread(endpoints: int) -> None:
    names = [f"Endpoint-{number}" for number in range(endpoints)]
    looks = [NOW + timedelta(seconds=INTERVAL * number) for number in range(144)]

    found = [turns(names, look, INTERVAL) for look in looks]

    assert sorted(name for one in found for name in one) == sorted(name.lower() for name in names)
    assert max(map(len, found)) == -(-endpoints // 144)


@pytest.mark.parametrize("interval_seconds", [1, 7, 600, 601, 50_000, 86_400, 10**6])
def test_the_turn_of_an_endpoint_comes_with_any_interval(interval_seconds: int) -> None:
    midnight = NOW.replace(hour=0)
    starts = range(0, 86_400, min(interval_seconds, 86_400))

    found = [turns(["a", "B", "c"], midnight + timedelta(seconds=one), interval_seconds) for one in starts]

    assert frozenset().union(*found) == {"a", "b", "c"}


def test_a_workspace_without_endpoints_has_no_turns() -> None:
    assert turns([], NOW, INTERVAL) == frozenset()


def test_a_listed_endpoint_whose_record_knows_everything_is_not_looked_behind() -> None:
    endpoint = listed(serving(ONE))

    assert not must_look_behind(following(), endpoint, NOW, is_turn=False)
    assert must_look_behind(following(), endpoint, NOW, is_turn=True)
    assert not must_look_behind(following(), serving(ONE), NOW, is_turn=False)
    assert not must_look_behind(following(), EndpointState(name="diabetes", exists=False), NOW, is_turn=False)


@pytest.mark.parametrize(
    "endpoint",
    [
        serving(ONE).model_copy(update={"tags": {}}),
        serving(ONE, behind=(online_deployment("green", TWO),)).model_copy(update={"traffic": {"green": 100}}),
    ],
    ids=["an older record", "somebody else's traffic"],
)
def test_an_endpoint_whose_record_does_not_know_what_serves_is_looked_behind(endpoint: EndpointState) -> None:
    assert must_look_behind(following(), listed(endpoint), NOW, is_turn=False)


@pytest.mark.parametrize(
    ("seconds", "is_due"), [(-1, False), (1, True), (24 * 3600 - 1, True), (24 * 3600, False)], ids=str
)
def test_what_was_replaced_is_looked_for_within_a_day_after_its_time(seconds: float, is_due: bool) -> None:
    record = serving(ONE).record.replacing(Served(online_deployment="green"))
    endpoint = listed(with_changes(serving(ONE), record)).model_copy(update={"name": "other"})
    keep = following().rollout.keep_replaced_seconds
    now = NOW - timedelta(days=1) + timedelta(seconds=keep + seconds)

    assert must_look_behind(following(), endpoint, now, is_turn=False) is is_due


def ended(minutes: float, run: str = "run", *, has_failed: bool = True) -> EndedRun:
    return EndedRun(id=run, at=NOW - timedelta(minutes=minutes), has_failed=has_failed)


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ([], ""),
        ([ended(1, has_failed=False), ended(2)], ""),
        (
            [ended(9), ended(10, has_failed=False), ended(20)],
            "the last run failed before anything could be written down; the next try is due at 12:01:00 UTC",
        ),
        ([ended(10)], ""),
        (
            [ended(30), ended(60), ended(90)],
            "the last 3 runs failed before anything could be written down; the next try is due at 12:10:00 UTC",
        ),
        ([ended(1, "known")], ""),
    ],
)
def test_runs_that_fail_before_they_write_anything_are_started_ever_more_rarely(
    runs: list[EndedRun], reason: str
) -> None:
    assert unrecorded_failures(runs, "known/1", NOW) == reason


def test_a_broken_folder_has_the_same_text_each_time() -> None:
    error = InvalidRollout(
        "deployments/x does not describe a rollout",
        [Problem(file="rollout.yml", field="smoke_test", message="is missing")],
    )
    error.request_id = "1f2e"

    assert broken("x", error) == Look(
        rollout="x", error="deployments/x does not describe a rollout; rollout.yml: smoke_test: is missing"
    )
    assert broken("x", ValueError()).error == "ValueError"


def test_only_a_workspace_that_cannot_be_read_fails_the_run() -> None:
    require_read([broken("x", ValueError("no"))])

    with pytest.raises(WatchIncomplete) as caught:
        require_read([broken(one, ValueError("gone"), is_unreadable=True) for one in ("x", "y")])

    assert caught.value.what == "2 rollouts could not be watched: x, y"
    assert caught.value.details == "gone"
