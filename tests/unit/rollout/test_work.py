"""The rollout that works on an endpoint: what the record, the online deployments and the time tell."""

from datetime import timedelta
from typing import Any

import pytest

from rollway.rollout.entries import Command, End, Ended, Lease, Order, Served, Underway
from rollway.rollout.progress import GRACE
from rollway.rollout.record import EndpointRecord, OnlineDeploymentRecord, with_record
from rollway.rollout.removal import CLAIM_SECONDS
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.status import LastOutcome, Role, status_of
from rollway.rollout.work import READY_SECONDS, Work, work_at
from rollway.spec import Progression, Step
from tests.support.builders import NOW, rollout_spec

AT = NOW.isoformat()
BEFORE, AFTER = (NOW - timedelta(hours=1)).isoformat(), (NOW + timedelta(minutes=1)).isoformat()
STABLE = {"blue": 100}
STEPS = Progression(steps=(Step(weight=5), Step(weight=100)))


def behind(name: str, state: str = "Succeeded", **record: Any) -> OnlineDeploymentState:
    """An online deployment that the attempt new/1 created a minute after NOW."""
    made = OnlineDeploymentRecord(**{"created_by": "new/1", "written_by": "new/1", "created_at": AFTER, **record})
    return OnlineDeploymentState(name=name, provisioning_state=state, instance_count=1, tags=with_record({}, made))


def endpoint(record: EndpointRecord | None = None, *more: OnlineDeploymentState) -> EndpointState:
    """An endpoint whose online deployment `blue` was promoted at NOW, and more behind it."""
    promoted = EndpointRecord().promoted("old/1", AT, Served(online_deployment="blue"), STABLE)
    blue = behind("blue", created_by="old/1", written_by="old/1", created_at=BEFORE)
    return EndpointState(
        name="diabetes",
        tags=with_record({}, record or promoted),
        traffic=STABLE,
        online_deployments=(blue, *more),
    )


def after(seconds: float) -> Any:
    """That much after the creation of a candidate."""
    return NOW + timedelta(minutes=1, seconds=seconds)


def test_nobody_works_on_an_endpoint_at_rest() -> None:
    assert work_at(endpoint(), None, NOW) is None
    assert work_at(EndpointState(name="new"), None, NOW) is None


def test_an_online_deployment_without_traffic_is_worked_on_from_its_creation() -> None:
    state = endpoint(None, behind("green", "Creating"))

    assert work_at(state, None, after(1)) == Work(run="new/1", since=AFTER, candidate="green")


@pytest.mark.parametrize(
    ("seconds", "is_overdue"), [(READY_SECONDS + CLAIM_SECONDS, False), (READY_SECONDS + CLAIM_SECONDS + 1, True)]
)
def test_a_candidate_is_overdue_when_a_rollout_may_delete_it(seconds: int, is_overdue: bool) -> None:
    found = work_at(endpoint(None, behind("green")), None, after(seconds))

    assert found is not None
    assert found.is_overdue is is_overdue


def test_a_folder_that_allows_more_time_to_become_ready_allows_it_here_too() -> None:
    rollout = rollout_spec().rollout.model_copy(update={"ready_timeout_seconds": 2 * READY_SECONDS})

    found = work_at(endpoint(None, behind("green")), rollout, after(READY_SECONDS + CLAIM_SECONDS + 1))

    assert found is not None
    assert not found.is_overdue


NOT_CANDIDATES = {
    "failed": behind("green", "Failed"),
    "being deleted": behind("green", "Deleting"),
    "somebody else's": behind("green", created_by=None, written_by=None),
    "older than the promotion": behind("green", created_at=BEFORE),
    "of an unknown age": behind("green", created_at=None),
    "of a rollout that has ended": behind("green", written_by="old/2"),
}


@pytest.mark.parametrize("one", NOT_CANDIDATES.values(), ids=NOT_CANDIDATES)
def test_other_online_deployments_without_traffic_are_no_work(one: OnlineDeploymentState) -> None:
    assert work_at(endpoint(None, one), None, after(1)) is None


def test_what_was_replaced_and_what_waits_for_a_person_are_no_work() -> None:
    replaced = endpoint().record.replacing(Served(online_deployment="green"))
    held = endpoint().record.told(Command(order=Order.HOLD, by="ann", at=AT))

    assert work_at(endpoint(replaced, behind("green")), None, after(1)) is None
    assert work_at(endpoint(held, behind("green")), None, after(1)) is None


def test_the_candidate_of_an_aborted_rollout_that_is_kept_is_no_work() -> None:
    aborted = endpoint().record.model_copy(update={"last": Ended(outcome=End.ABORTED, attempt="new/1", at=AFTER)})

    assert work_at(endpoint(aborted, behind("green")), None, after(1)) is None


def test_a_claim_comes_before_a_candidate() -> None:
    claimed = endpoint().record.claimed(Lease(holder="new/1", ttl_seconds=300, renewed_at=AT))

    assert work_at(endpoint(claimed, behind("green")), None, after(0)) == Work(run="new/1", since=AT)


def begun(**changes: Any) -> EndpointState:
    """An endpoint in the first step of a progressive rollout, which must end at NOW."""
    underway = Underway(**{"run": "new", "canary": "green", "until": AT, "since": (BEFORE,), **changes})
    return endpoint(EndpointRecord().going_on(underway, STEPS), behind("green"))


@pytest.mark.parametrize(("seconds", "outcome"), [(0, LastOutcome.UNDERWAY), (1, LastOutcome.ORPHANED)])
def test_a_progressive_rollout_that_should_have_advanced_is_orphaned(seconds: int, outcome: LastOutcome) -> None:
    now = NOW + GRACE + timedelta(seconds=seconds)

    last = status_of(begun(), {}, now).last_rollout

    assert last is not None
    assert (last.outcome, last.run, last.at) == (outcome, "new", BEFORE)


@pytest.mark.parametrize(
    ("state", "run"),
    [
        (begun(), "new/"),
        (endpoint(None, behind("green")), "new/1"),
        (endpoint(EndpointRecord().claimed(Lease(holder="new/1", ttl_seconds=300, renewed_at=AT))), "new/1"),
    ],
    ids=["steps", "candidate", "claim"],
)
def test_a_rollout_whose_run_has_ended_is_orphaned_at_once(state: EndpointState, run: str) -> None:
    found = work_at(state, None, after(0))
    alive, dead = status_of(state, {}, after(0)), status_of(state, {}, after(0), ended=frozenset([run]), folder="x")

    assert found is not None
    assert found.run == run
    assert alive.problems == ()
    assert dead.last_rollout is not None
    assert dead.last_rollout.outcome is LastOutcome.ORPHANED
    name = run.rstrip("/")
    assert dead.problems == (
        f"no run works on its rollout any more: {name} has ended; `rollway deploy x` goes on with it",
    )


def test_a_candidate_has_its_own_role() -> None:
    seen = status_of(endpoint(None, behind("green", "Creating")), {}, after(1))

    assert {one.name: one.role for one in seen.online_deployments} == {"blue": Role.LIVE, "green": Role.CANDIDATE}
