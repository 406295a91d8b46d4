"""A person tells a rollout how it goes on, from the command line."""

import json
import subprocess
from dataclasses import dataclass

import pytest

from tests.support.world import Rollout, World


@dataclass(frozen=True)
class Canary:
    """An endpoint on which a canary has 10 % of the traffic."""

    world: World
    rollout: Rollout
    stable: str
    canary: str

    @property
    def traffic(self) -> dict[str, int]:
        """The traffic map, without entries of weight 0."""
        return {name: weight for name, weight in (self.world.rest.traffic(self.rollout.name) or {}).items() if weight}

    def tell(self, order: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """`rollway promote|abort|hold|resume` for the endpoint, by its name."""
        folders = {"ROLLWAY_DEPLOYMENTS": str(self.rollout.folder.parent)}
        return self.world.rollway(order, self.rollout.name, *arguments, variables=folders)


@pytest.fixture
def canary(world: World) -> Canary:
    """Stable and a canary that waits."""
    rollout = world.make_rollout()
    first = world.deploy(rollout)
    assert first.returncode == 0, first.stderr
    (stable,) = world.rest.online_deployments(rollout.name)
    rollout.online_deployment["environment_variables"] = {"A": "1"}
    second = world.deploy(rollout, "--weight", "10")
    assert second.returncode == 0, second.stderr
    (name,) = set(world.rest.online_deployments(rollout.name)) - {stable}
    found = Canary(world, rollout, stable, name)
    assert found.traffic == {stable: 90, name: 10}
    return found


def test_promote_gives_the_canary_all_traffic_and_ends_the_pause(canary: Canary) -> None:
    waiting = canary.world.rollway("status", canary.rollout.name)

    done = canary.tell("promote", "--reason", "it looks good")

    assert f"{canary.canary} waits for promote or abort" in waiting.stdout
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{canary.rollout.name}: promoted; traffic now {canary.canary} 100 %\n"
    assert canary.traffic == {canary.canary: 100}
    (seen,) = json.loads(canary.world.rollway("status", canary.rollout.name, "--json").stdout)["endpoints"]
    assert (seen["pause_reason"], seen["order"], seen["canary"]) == ("", "", "")
    again = canary.tell("promote")
    assert again.returncode == 2
    assert "error: there is nothing to promote\n" in again.stderr


def test_abort_brings_all_traffic_back_to_stable_in_one_write_and_needs_no_prefect(canary: Canary) -> None:
    before = canary.world.rest.last_request()
    away = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "ROLLWAY_DEPLOYMENTS": "nowhere"}

    done = canary.world.rollway("abort", canary.rollout.name, "--reason", "wrong answers", variables=away)

    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"{canary.rollout.name}: aborted, all traffic is back on stable; traffic now {canary.stable} 100 %\n"
    )
    assert canary.traffic == {canary.stable: 100}
    writes = canary.world.rest.writes(to=f"/onlineEndpoints/{canary.rollout.name}", after=before)
    assert [one.split()[0] for one in writes] == ["PUT"]
    (seen,) = json.loads(canary.world.rollway("status", canary.rollout.name, "--json").stdout)["endpoints"]
    assert seen["last_rollout"]["outcome"] == "aborted"
    assert seen["pause_reason"].endswith(": wrong answers")


def test_a_hold_stops_the_runs_of_a_schedule_until_somebody_resumes(world: World) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    (stable,) = world.rest.online_deployments(rollout.name)
    idle = Canary(world, rollout, stable, "")
    rollout.online_deployment["environment_variables"] = {"A": "1"}

    held = idle.tell("hold", "--reason", "month end")
    scheduled = world.deploy(rollout, "--requested-by", "schedule")
    seen = world.rollway("status", rollout.name)

    assert (held.returncode, scheduled.returncode) == (0, 0), held.stderr + scheduled.stderr
    assert held.stdout == f"{rollout.name}: held until somebody resumes it; traffic now {stable} 100 %\n"
    assert "nothing to do\n" in scheduled.stdout
    assert ": month end" in scheduled.stdout
    assert "told to hold by " in seen.stdout
    assert idle.traffic == {stable: 100}

    resumed = idle.tell("resume", "--json")
    scheduled = world.deploy(rollout, "--requested-by", "schedule")

    assert (resumed.returncode, scheduled.returncode) == (0, 0), resumed.stderr + scheduled.stderr
    assert json.loads(resumed.stdout)["outcome"] == "resumed"
    assert ": promoted\n" in scheduled.stdout
    assert idle.traffic != {stable: 100}
