"""A team: PostgreSQL, two workers, seven folders, and one worker that dies with its runs; nobody steps in."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from rollway.local.process import Process
from tests.support import pages
from tests.support.alerting import documented_block
from tests.support.clone import make_checkout
from tests.support.forks import Forks
from tests.support.postgres import Postgres
from tests.support.prefect_api import PrefectApi
from tests.support.receiver import Receiver, receiver
from tests.support.rest import Rest
from tests.support.waiting import wait_for
from tests.support.world import PatientStack, Rollout, World, start_prefect

NAMES = tuple(f"team-{number}" for number in range(1, 8))
WAIT_SECONDS = 300
TOKEN = "token-of-the-receiver"


@dataclass
class Team:
    """A checkout with seven folders whose Prefect deployments exist, two workers, and somebody who listens."""

    world: World
    api: PrefectApi
    inbox: Receiver
    checkout: Path
    rollouts: dict[str, Rollout]
    workers: list[Process]

    def rollway(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command in the checkout."""
        command = [self.world.python, "-m", "rollway", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.checkout,
            env=self.world.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def change_all(self) -> None:
        """Change every folder, so that there is something to roll out."""
        for rollout in self.rollouts.values():
            rollout.online_deployment["environment_variables"] = {"CHANGED": str(time.time_ns())}
            rollout.write()

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Return the runs of a folder, the newest first."""
        chosen = {"flow_runs": {"tags": {"all_": [f"rollout:{name}"]}}, "sort": "START_TIME_DESC"}
        found: list[dict[str, Any]] = self.api.post("/flow_runs/filter", chosen)
        return found

    def run_after(self, name: str, known: set[str]) -> str:
        """Return the id of a run of a folder that is not among the known ones."""
        runs: list[str] = self.wait_until(
            lambda: [one["id"] for one in self.runs(name) if one["id"] not in known], f"other run of {name}"
        )
        return runs[0]

    def wait_until(self, is_so: Callable[[], Any], what: str) -> Any:
        """Return the first true answer."""
        return wait_for(is_so, what, WAIT_SECONDS)


@pytest.fixture
def team(forks: Forks, postgres: Postgres | None, tmp_path: Path) -> Iterator[Team]:
    checkout = make_checkout(tmp_path / "checkout")
    with PatientStack(tmp_path / "state", lambda _: None, forks.python) as stack, receiver() as inbox:
        stack.start_emulator()
        start_prefect(stack, postgres)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        variables = {**stack.environment(), "NO_COLOR": "1", "COLUMNS": "200", "PATH": path}
        world = World(stack, variables, Rest(variables), tmp_path)
        rollouts = {name: world.make_rollout() for name in NAMES}
        for name, rollout in rollouts.items():
            rollout.folder = checkout / "deployments" / name
            rollout.write()
        pages.register_everything(checkout, variables)
        subprocess.run([sys.executable, "-c", documented_block(inbox.url, TOKEN)], env=variables, check=True)
        workers = [stack.add_worker(checkout), stack.add_worker(checkout)]
        yield Team(world, PrefectApi(stack), inbox, checkout, rollouts, workers)


def test_a_fleet_of_seven_ends_well_although_a_worker_dies_with_its_runs(team: Team) -> None:
    world = team.world
    applied = team.rollway("alerts", "--apply")
    said = applied.communicate(timeout=WAIT_SECONDS)[0]
    assert applied.returncode == 0, said

    first = team.rollway("deploy", "team-*", "--at-most", "4")
    said = first.communicate(timeout=WAIT_SECONDS)[0]

    assert first.returncode == 0, said
    assert "fleet: 7 done" in said
    assert [line.split()[:3] for line in said.splitlines() if line.startswith("  wave")] == [
        ["wave", "1" if number < 5 else "2", f"team-{number}"] for number in range(1, 8)
    ]
    assert team.inbox.deliveries == []
    served = {name: world.rest.traffic(rollout.name) for name, rollout in team.rollouts.items()}

    team.change_all()
    slow = team.rollouts["team-7"].name
    world.rest.fault(method="PUT", path=f"/onlineEndpoints/{slow}/deployments/", operation="stuck")
    second = team.rollway("deploy", "team-*", "--at-most", "7", "--stop-after", "8")

    def waiting() -> dict[str, Any] | None:
        runs = team.runs("team-7")
        task = str(runs[0]["labels"].get("rollway.task", "")) if runs else ""
        return runs[0] if task.startswith("wait until") and runs[0]["state_type"] == "RUNNING" else None

    run = team.wait_until(waiting, "run of team-7 that waits")
    pid = int(run["infrastructure_pid"].rpartition(":")[2])
    for one in (psutil.Process(pid).ppid(), pid):
        os.kill(one, signal.SIGKILL)
    world.rest.clear_faults()
    said = second.communicate(timeout=WAIT_SECONDS)[0]
    newest = {name: team.runs(name)[0] for name in NAMES}
    lost = {name: one["id"] for name, one in newest.items() if one["state_type"] != "COMPLETED"}

    assert second.returncode == 4, said
    assert lost["team-7"] == run["id"]
    assert f"{len(lost)} of 7 rollouts went wrong" in said
    assert all(f"{name}: failed, " in said for name in lost), said
    for name, lost_run in lost.items():
        assert lost_run in team.inbox.wait_for(f"rollout {name}: crashed", timeout_seconds=WAIT_SECONDS).body

    known = {name: {one["id"] for one in team.runs(name)} for name in lost}
    watch = ["prefect", "deployment", "run", "watch-endpoints/watch-endpoints"]
    subprocess.run(watch, cwd=team.checkout, env=world.variables, check=True, capture_output=True)
    for name in lost:
        following = team.run_after(name, known[name])
        assert team.api.wait(following)["type"] == "COMPLETED", team.api.logs(following)

    for name, rollout in team.rollouts.items():
        serving = {one: weight for one, weight in (world.rest.traffic(rollout.name) or {}).items() if weight}
        assert list(serving.values()) == [100], name
        assert serving != served[name], f"{name} serves what its folder says"
    crashed = [one.subject for one in team.inbox.deliveries if "crashed" in one.subject]
    assert sorted(crashed) == sorted(f"[notify] rollout {name}: crashed" for name in lost)
    others = [one.subject for one in team.inbox.deliveries if not any(name in one.subject for name in lost)]
    assert others == []
