"""A rollout that is killed at any write is finished by the next one, and nobody who scores notices.

The writes are those of an undisturbed rollout, see `tests.calls`; the process is killed with -9 right before and right
after each of them. What the operator does afterwards is what Prefect would do by itself within a minute.
"""

from collections.abc import Callable

import pytest

from tests.calls import Call, calls_of
from tests.lab import Lab, Seen
from tests.rest import Client

KILLED = -9


@pytest.fixture(scope="session")
def undisturbed(lab: Lab) -> tuple[list[Call], list[Call], Seen]:
    """The writes of the first rollout of an endpoint, those of the second, and what Azure has in the end."""
    lab.use_new_endpoint()
    first = calls_of(lab.requests_of(lab.roll_out))
    lab.change()
    second = calls_of(lab.requests_of(lab.roll_out))
    return [one for one in first if one.is_write], [one for one in second if one.is_write], lab.look()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_second_rollout_that_is_killed_is_finished_by_the_next_and_no_request_fails(
    moment: str,
    lab: Lab,
    undisturbed: tuple[list[Call], list[Call], Seen],
    record_property: Callable[[str, object], None],
) -> None:
    _, writes, expected = undisturbed
    problems = []
    lab.start_afresh()
    client = Client(lab.rest, lab.rollout.name)
    client.start()
    try:
        for write in writes:
            lab.change()
            problems += [f"{moment} {write}: {found}" for found in kill_and_finish(lab, write, moment, expected)]
    finally:
        client.stop()
    record_property("cells", f"killed {moment}: {len(writes)} writes, {len(client.statuses)} requests scored meanwhile")

    assert problems == []
    assert set(client.statuses) == {200}, [status for status in client.statuses if status != 200][:5]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_first_rollout_that_is_killed_is_finished_by_the_next(
    moment: str,
    lab: Lab,
    undisturbed: tuple[list[Call], list[Call], Seen],
    record_property: Callable[[str, object], None],
) -> None:
    """Only at the writes that later rollouts do not make."""
    first, second, expected = undisturbed
    writes = [one for one in first if one not in second]
    problems = []
    for write in writes:
        lab.use_new_endpoint()
        problems += [f"{moment} {write}: {found}" for found in kill_and_finish(lab, write, moment, expected)]
    record_property("cells", f"first rollout killed {moment}: {len(writes)} writes")

    assert writes, "the first rollout creates the endpoint"
    assert problems == []


def kill_and_finish(lab: Lab, write: Call, moment: str, expected: Seen) -> list[str]:
    """What is wrong after a rollout that was killed there, and after the one that followed."""
    kill = {"method": write.method, "path": f"{write.path[1:]}", "occurrence": write.occurrence, "moment": moment}
    killed = lab.roll_out(kill=kill)
    lab.free_the_turn()
    problems = [] if killed.exit_code == KILLED else [f"was not killed but ended with {killed.exit_code}\n{killed.log}"]
    following = lab.roll_out()
    if following.exit_code:
        problems.append(f"the next run ended with {following.exit_code}: {following.error[:1500]}")
    seen = lab.look()
    if shape(seen) != shape(expected) or not seen.is_free:
        problems.append(f"the next run left {seen}")
    lab.note(f"killed {moment} {write}: {problems or 'finished'}")
    return problems


def shape(seen: Seen) -> tuple[list[int], list[str], set[str]]:
    """What is the same after every rollout, whatever the online deployment is called."""
    return list(seen.traffic.values()), list(seen.online_deployments.values()), set(seen.tags)
