"""A stack as a team runs it: one of two API servers of Prefect dies in the middle of rollouts, and comes back."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollway.errors import ConfigurationError
from rollway.local.team import SERVERS, Programs, TeamStack
from tests.support.clone import make_clone
from tests.support.prefect_api import PrefectApi
from tests.support.processes import family, is_running
from tests.support.rest import Rest
from tests.support.waiting import wait_for
from tests.support.world import World

NAMES = ("team-1", "team-2", "team-3", "team-4")
# An online deployment takes 16 s: time to kill a server meanwhile.
PROFILE = "azure:0.03"

STARTER = """
import json, sys, time
from pathlib import Path
from rollway.local.team import TeamStack

stack = TeamStack(Path(sys.argv[1]), lambda _: None)
stack.start_stores()
print(json.dumps([[one.pid for one in stack.processes], [str(one) for one in stack.temporary_folders]]), flush=True)
time.sleep(600)
"""


@pytest.fixture
def installed() -> None:
    """Skip the test on a machine without the programs."""
    try:
        Programs.find()
    except ConfigurationError as missing:
        pytest.skip(missing.what)


@pytest.fixture
def stack(installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamStack]:
    """A team's stack that is ready. Its commands are no forks: each API would need warm processes of its own."""
    monkeypatch.setenv("ROLLWAY_PREFECT_SECONDS", "240")  # its runs lose nothing while a server stands still
    with TeamStack(tmp_path / "state", lambda _: None) as team:
        team.start_emulator("--profile", PROFILE)
        team.start_prefect()
        team.wait_for_emulator()
        team.wait_for_prefect()
        yield team


def uses_api(pid: str, url: str) -> bool:
    """Return True if a process of that id, `host:pid`, runs with that API."""
    try:
        variables = Path("/proc", pid.rpartition(":")[2], "environ").read_bytes()
    except OSError:
        return False
    return f"PREFECT_API_URL={url}".encode() in variables.split(b"\0")


def task_states(api: PrefectApi, run: str) -> set[str]:
    return {task.state for task in api.task_runs(run)}


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_runs_of_both_servers_complete_although_one_dies_and_nothing_is_left(stack: TeamStack, tmp_path: Path) -> None:
    variables = {**stack.environment(), "NO_COLOR": "1"}
    world = World(stack, variables, Rest(variables), tmp_path)
    checkout = make_clone(tmp_path / "checkout")
    rollouts = {name: world.make_rollout() for name in NAMES}
    for name, rollout in rollouts.items():
        rollout.folder = checkout / "deployments" / name
        rollout.write()
    entries = [stack.python, "-m", "rollway", "prefect-yaml"]
    subprocess.run(entries, cwd=checkout, env=variables, check=True, capture_output=True)
    stack.start_worker(checkout, limit=len(NAMES) // 2)
    stack.add_worker(checkout, limit=len(NAMES) // 2)
    first, second = (PrefectApi(stack, stack.api_url(number)) for number in SERVERS)

    apis = dict(zip(NAMES, (first, second, first, second), strict=True))
    runs = {name: api.run(f"deploy-endpoint/{name}", rollout=name) for name, api in apis.items()}

    of_the_first: set[str] = set()

    def caught() -> bool:
        """Return True if a run that uses the second server waits for Azure; note the runs that use the first."""
        rows = first.post("/flow_runs/filter", {"flow_runs": {"id": {"any_": list(runs.values())}}})
        of_the_first.update(r["id"] for r in rows if uses_api(r["infrastructure_pid"] or "", stack.api_url(1)))
        waiting = [row for row in rows if str(row["labels"].get("rollway.task", "")).startswith("wait until")]
        is_caught = any(uses_api(row["infrastructure_pid"] or "", stack.api_url(2)) for row in waiting)
        return is_caught and bool(of_the_first)

    wait_for(caught, "run of the second server that waits, beside one of the first")
    stack.kill_server(2)
    stack.start_server(2)
    stack.wait_for_server(2)

    states = {name: first.wait(run)["name"] for name, run in runs.items()}
    assert set(states.values()) == {"Completed"}, {name: first.logs(run) for name, run in runs.items()}
    # Prefect's client gives up events for a server that is away for ten seconds, so the other runs may lack some.
    wait_for(lambda: all("Next: promote" in second.logs(run) for run in of_the_first), "end of every log")
    wait_for(lambda: all(task_states(second, run) == {"Completed"} for run in of_the_first), "end of every task")
    for name, rollout in rollouts.items():
        serving = world.rest.traffic(rollout.name) or {}
        assert [weight for weight in serving.values() if weight] == [100], name

    started = {process.pid for process in stack.processes}
    left = {one.pid for pid in started for one in family(pid)}
    temporary = stack.temporary_folders.copy()
    assert len(left) > len(started), "PostgreSQL has processes of its own"
    stack.stop()
    wait_for(lambda: not any(map(is_running, left)), f"end of {left}")
    assert temporary
    assert [folder for folder in temporary if folder.exists()] == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has ended")
def test_a_killed_process_takes_its_database_and_redis_with_it(installed: None, tmp_path: Path) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    line = starter.stdout.readline()
    started = {one.pid for one in family(starter.pid)} - {starter.pid}
    starter.kill()
    starter.wait()

    pids, temporary = json.loads(line)
    assert len(pids) == 2
    assert set(pids) < started
    wait_for(lambda: not any(map(is_running, started)), f"end of {started}")
    for folder in temporary:
        shutil.rmtree(folder)
