"""A rollout that is killed at any write is finished by the next one, and nobody who scores notices.

The writes are those of an undisturbed rollout, see `tests.support.calls`; the process is killed with -9 right before
and right after each of them, in turns when `ROLLWAY_MATRIX` is not `full`. Then Prefect is told that the run is dead,
as a worker tells it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from rollway.rollout.record import PROVISIONING
from tests.support.calls import Call, calls_of
from tests.support.lab import Lab, Seen
from tests.support.matrix import IS_FULL
from tests.support.rest import Client

KILLED = -9
MOMENTS = ["before", "after"]


@dataclass(frozen=True)
class Undisturbed:
    """The writes of a rollout that nobody disturbs, and what Azure has in the end."""

    writes: list[Call]
    seen: Seen


@pytest.fixture(scope="package")
def first(lab: Lab) -> Undisturbed:
    """The first rollout of an endpoint."""
    lab.use_new_endpoint()
    return undisturbed(lab)


@pytest.fixture(scope="package")
def second(lab: Lab) -> Undisturbed:
    """A rollout that replaces what serves."""
    lab.start_afresh()
    lab.change()
    return undisturbed(lab)


def undisturbed(lab: Lab) -> Undisturbed:
    writes = [one for one in calls_of(lab.requests_of(lab.roll_out)) if one.is_write]
    assert writes, "a rollout writes"
    return Undisturbed(writes, lab.look())


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_second_rollout_that_is_killed_is_finished_by_the_next_and_no_request_fails(
    moment: str, lab: Lab, second: Undisturbed, record_property: Callable[[str, object], None]
) -> None:
    problems = []
    writes = [write for number, write in enumerate(second.writes) if IS_FULL or number % 2 == MOMENTS.index(moment)]
    lab.start_afresh()
    client = Client(lab.rest, lab.rollout.name, pause_seconds=0.1)
    client.start()
    try:
        for write in writes:
            lab.change()
            problems += kill_and_finish(lab, write, moment, second.seen)
    finally:
        client.stop()
    scored = f"{len(client.statuses)} requests scored meanwhile"
    record_property("cells", f"killed {moment}: {len(writes)} of {len(second.writes)} writes, {scored}")

    assert problems == []
    assert set(client.statuses) == {200}, [status for status in client.statuses if status != 200][:5]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_first_rollout_that_is_killed_is_finished_by_the_next(
    moment: str, lab: Lab, first: Undisturbed, second: Undisturbed, record_property: Callable[[str, object], None]
) -> None:
    """Only at the writes that later rollouts do not make."""
    writes = [one for one in first.writes if one not in second.writes]
    problems = []
    for write in writes:
        lab.use_new_endpoint()
        problems += kill_and_finish(lab, write, moment, first.seen)
    record_property("cells", f"first rollout killed {moment}: {len(writes)} writes")

    assert writes, "the first rollout creates the endpoint"
    assert problems == []


def kill_and_finish(lab: Lab, write: Call, moment: str, expected: Seen) -> list[str]:
    """Return the problems after a killed rollout and after the next one."""
    kill = {"method": write.method, "path": write.path[1:], "occurrence": write.occurrence, "moment": moment}
    killed = lab.roll_out(kill=kill)
    lab.bury(killed)
    problems = [] if killed.exit_code == KILLED else [f"was not killed but ended with {killed.exit_code}\n{killed.log}"]
    following = lab.roll_out()
    if following.exit_code:
        problems.append(f"the next run ended with {following.exit_code}: {following.error[:1500]}")
    seen = lab.look()
    # One that dies with nothing left to do leaves its lease: the next one does nothing, and whoever follows takes over.
    is_given_back = seen.is_free or (seen.is_proven and seen.holder.startswith(killed.flow_run))
    if shape(seen) != shape(expected) or not is_given_back:
        problems.append(f"the next run left {seen}")
    lab.note(f"killed {moment} {write}: {problems or 'finished'}")
    return [f"killed {moment} {write}: {problem}" for problem in problems]


def shape(seen: Seen) -> tuple[list[int], list[str], set[str]]:
    """Return the state without the names of online deployments, to compare rollouts.

    Only a run that has created an online deployment and seen it become ready knows how long Azure needed.
    """
    return list(seen.traffic.values()), list(seen.online_deployments.values()), set(seen.tags) - {PROVISIONING}
