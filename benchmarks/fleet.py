"""A new version for each of hundreds of endpoints at once: time, requests, memory and processor time.

    python -m benchmarks.fleet                      # 200 endpoints
    python -m benchmarks.fleet --endpoints 20       # to try the benchmark
    python -m benchmarks.fleet --disturb            # one worker and one API server are killed in the middle

It starts the stack of a team on loopback: PostgreSQL, Redis, two API servers of Prefect, its services, and two workers.
The local Azure ML needs `--scale` times as long as Azure for each operation. One endpoint gets a real rollout; the
others are copies of it. Then `rollway deploy 'fleet-*'` rolls a new model version out to all of them. While an online
deployment is created, its rollout waits without a process. The exit code is 1 if a target is missed.
"""

import argparse
import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from benchmarks.copies import replace_by_copies
from benchmarks.meter import Meter
from rollway.local.process import Process
from rollway.local.team import TeamStack
from rollway.terminal import say
from tests.support.clone import make_clone
from tests.support.emulator_process import REPOSITORY
from tests.support.lab import QUICK
from tests.support.pages import register_everything
from tests.support.prefect_api import PrefectApi
from tests.support.processes import family
from tests.support.rest import Rest
from tests.support.watched import WATCH
from tests.support.world import Rollout, World

MOST_MEGABYTES = 1500
WORKERS, RUNS_OF_A_WORKER = 2, 2  # a run needs 170 MB and a core
POLL_SECONDS, SAY_SECONDS = 2.0, 60.0
MOST_SECONDS = 1800.0  # of what is left to do when the watcher has looked
PAUSE_SECONDS = 0.1  # of the benchmark's own requests, which Azure limits, too
SEED: dict[str, Any] = {
    "throttling": {},  # with Azure's limits
    "principals": [
        {"client_id": name, "client_secret": f"{name}-secret", "role": "contributor"}
        for name in ("rollway", "observer")
    ],
}
MOST_LOOKS = 5
FLOW = {"flows": {"name": {"any_": ["deploy-endpoint"]}}}
DONE, WORKS = ({"type": {"any_": states}} for states in (["COMPLETED"], ["PENDING", "RUNNING"]))
AWAITS = {"name": {"any_": ["AwaitingRetry"]}}
UNDER_WAY = {"type": {"any_": ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]}}
ROLLWAY = "Rollway: workers, runs, the command"
# How the names of the stack's processes begin.
GROUPS = {
    ROLLWAY: ("worker",),
    "Prefect: API servers and services": ("prefect",),
    "PostgreSQL and Redis": ("postgres", "redis"),
    "local Azure ML with its containers": ("emulator",),
}


class Fleet:
    """Endpoints that serve the first version of their models, and a checkout with a folder for each of them.

    Args:
        scale: Factor on the durations of Azure's operations.
    """

    def __init__(self, stack: TeamStack, endpoints: int, scale: float) -> None:
        self._stack, self._profile = stack, ("--profile", f"azure:{scale}")
        self.names = [f"fleet-{number:03}" for number in range(endpoints)]
        self.checkout = make_clone(stack.folder / "checkout")
        shutil.rmtree(self.checkout / "deployments", ignore_errors=True)
        say("starting the local Azure ML, PostgreSQL, Redis and Prefect")
        seed = stack.folder / "seed.yaml"
        seed.write_text(json.dumps(SEED))
        self._emulator = stack.start_emulator(*self._profile, "--seed", str(seed))
        stack.start_prefect()
        stack.wait_for_emulator()
        stack.wait_for_prefect()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.variables = {**stack.environment(), "NO_COLOR": "1", "COLUMNS": "200", "PATH": path}
        self.world = World(stack, self.variables, self._observer(), stack.folder)
        first = self._roll_out_once()
        self._copy(first)
        self._write_folders(first)
        say("creating the Prefect deployments")
        register_everything(self.checkout, self.variables)

    @property
    def rest(self) -> Rest:
        """Azure, read without Rollway."""
        return self.world.rest

    def _observer(self) -> Rest:
        """Return a client with an identity of its own: Azure limits the requests of each."""
        _, observer = SEED["principals"]
        names = {"AZURE_CLIENT_ID": observer["client_id"], "AZURE_CLIENT_SECRET": observer["client_secret"]}
        return Rest({**self.variables, **names})

    def register_new_versions(self) -> None:
        """Register version 2 of each model."""
        for name in self.names:
            self.rest.register_version(f"{name}-model", "2")
            time.sleep(PAUSE_SECONDS)

    def serving(self) -> Counter[str]:
        """Return how many endpoints give all of their traffic to which model version; `split` for other traffic."""
        self.rest.sign_in()
        return Counter(map(self._version, self.names))

    def _version(self, name: str) -> str:
        time.sleep(PAUSE_SECONDS)
        weights = {one: weight for one, weight in (self.rest.traffic(name) or {}).items() if weight}
        if list(weights.values()) != [100]:
            return "split"
        answer = self.rest.workspace(f"onlineEndpoints/{name}/deployments/{next(iter(weights))}").raise_for_status()
        return str(answer.json()["properties"]["model"]).rpartition("/")[2]

    def _roll_out_once(self) -> Rollout:
        say("rolling out the first endpoint")
        rollout = self.world.make_rollout()
        code = self._stack.folder / "code" / QUICK.name
        shutil.copytree(QUICK, code, ignore=shutil.ignore_patterns("__pycache__"))
        conda = self._stack.folder / "conda.yaml"
        conda.write_text("name: fleet\ndependencies: [python=3.11]\n")
        model = Path(rollout.online_deployment["model"]["path"])
        self.world.register_model(f"{rollout.name}-model", model)
        rollout.online_deployment |= {
            "model": f"azureml:{rollout.name}-model@latest",
            "code_configuration": {"code": str(code), "scoring_script": "score.py"},
        }
        rollout.online_deployment["environment"] |= {"name": "fleet", "conda_file": str(conda)}
        done = subprocess.run(
            [sys.executable, "-m", "rollway", "deploy", rollout.write()],
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the first rollout failed:\n{done.stderr[-4000:]}")
        return rollout

    def _copy(self, first: Rollout) -> None:
        """Replace the first endpoint by copies; the emulator then starts the containers of all."""
        say(f"copying it {len(self.names)} times")
        self._emulator.stop()
        self._stack.processes.remove(self._emulator)
        models = {name: f"{name}-model" for name in self.names}
        replace_by_copies(self._stack.folder / "emulator", first.name, models)
        self._emulator = self._stack.start_emulator(*self._profile)
        self._stack.wait_for_emulator()
        self.world.rest = self._observer()
        last = self.names[-1]
        self.world.wait_for(lambda: self.rest.score(last, [1]).status_code == 200, f"answer of {last}")

    def _write_folders(self, first: Rollout) -> None:
        for name in self.names:
            Rollout(
                folder=self.checkout / "deployments" / name,
                endpoint={**first.endpoint, "name": name},
                online_deployment={
                    **first.online_deployment,
                    "endpoint_name": name,
                    "model": f"azureml:{name}-model@latest",
                },
                rollout={**first.rollout, "keep_replaced_seconds": 86_400},
            ).write()


class Race:
    """The rollout of the whole fleet, with all that is counted meanwhile.

    Attributes:
        responses: How often Resource Manager answered with which status.
        seconds: How long it took.
        looks: How often the watcher had to look until all was done.
    """

    def __init__(self, fleet: Fleet, stack: TeamStack, workers: list[Process]) -> None:
        self._fleet, self._stack, self._workers = fleet, stack, workers
        self._api = PrefectApi(stack)
        self._command: subprocess.Popen[bytes] | None = None
        self._seen = fleet.rest.last_request()
        self.responses: Counter[int] = Counter()
        self.looks, self.seconds = 0, 0.0
        self._done_before, self._asking_seconds = self._count(DONE), 0.0

    def run(self, *, is_disturbed: bool) -> Meter:
        """Roll out until nothing is left to do, or until the watcher has looked `MOST_LOOKS` times."""
        count = len(self._fleet.names)
        start = time.monotonic()
        with Meter(self._groups) as meter:
            code = self._carry_out(
                ["-m", "rollway", "deploy", "fleet-*", "--at-most", str(count), "--stop-after", str(count)],
                disturb_at=math.ceil(count / 8) if is_disturbed else None,
            )
            while code and self.looks < MOST_LOOKS and not self._is_done():
                self.looks += 1
                say("the watcher looks for what is left to do")
                self._carry_out(["-c", WATCH])
                self._wait_for_runs()
            self._count_responses()
            self.seconds = time.monotonic() - start - self._asking_seconds
        return meter

    def _is_done(self) -> bool:
        self._count_responses()
        start = time.monotonic()
        is_done = self._fleet.serving().keys() == {"2"}
        self._seen = self._fleet.rest.last_request()  # this question does not count
        self._asking_seconds += time.monotonic() - start
        return is_done

    def _wait_for_runs(self) -> None:
        deadline = time.monotonic() + MOST_SECONDS
        while self._count(UNDER_WAY):
            if time.monotonic() > deadline:
                raise TimeoutError(f"runs have not ended within {MOST_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)

    def _carry_out(self, arguments: list[str], *, disturb_at: int | None = None) -> int:
        """Run a command; say each minute how far the runs are; disturb them when so many wait."""
        said = time.monotonic()
        with (self._stack.folder / "commands.log").open("ab") as log:
            self._command = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self._fleet.checkout,
                env=self._fleet.variables,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        while (code := self._command.poll()) is None:
            time.sleep(POLL_SECONDS)
            self._count_responses()
            if disturb_at is not None and self._count(AWAITS) >= disturb_at:
                disturb_at = None
                self._disturb()
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                done = self._count(DONE) - self._done_before
                say(f"{done} done, {self._count(AWAITS)} wait, {self._count(WORKS)} work")
        return code

    def _disturb(self) -> None:
        say("killing a worker with its runs, and an API server")
        for process in reversed(family(self._workers.pop().pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._stack.kill_server(1)
        self._stack.start_server(1)
        self._stack.wait_for_server(1)
        self._workers.append(self._stack.add_worker(self._fleet.checkout, limit=RUNS_OF_A_WORKER))

    def _count(self, states: Mapping[str, Any]) -> int:
        return int(self._api.post("/flow_runs/count", {**FLOW, "flow_runs": {"state": states}}))

    def _count_responses(self) -> None:
        for one in self._fleet.rest.requests(after=self._seen):
            self._seen = int(one["number"])
            if "/subscriptions/" in one["path"]:
                self.responses[one["status"]] += 1

    def _groups(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {name: [] for name in GROUPS}
        for process in self._stack.processes:
            found[next(name for name, begins in GROUPS.items() if process.name.startswith(begins))].append(process.pid)
        if self._command:
            found[ROLLWAY].append(self._command.pid)
        return found


def report(race: Race, meter: Meter, serving: Counter[str], endpoints: int) -> bool:
    """Print the figures; return whether all targets are met."""
    peak, refused = meter.peak_megabytes[ROLLWAY], race.responses[429]
    print(f"{endpoints} endpoints, {race.seconds:.0f} s, {race.seconds / endpoints:.1f} s each")
    print(f"serving the new version  {serving['2']:>5}  target: all")
    print(f"looks of the watcher     {race.looks:>5}")
    print(f"requests to ARM          {race.responses.total():>5}  {race.responses.total() / endpoints:.0f} each")
    print(f"  refused with 429       {refused:>5}")
    print(f"{'':<40} peak, MB    CPU, s  processes")
    for name in GROUPS:
        target = f"  at most {MOST_MEGABYTES} MB" if name == ROLLWAY else ""
        figures = (meter.peak_megabytes[name], meter.cpu_seconds(name), meter.most_processes[name])
        print("{:<40} {:>8} {:>9.0f} {:>10}".format(name, *figures) + target)
    return serving["2"] == endpoints and peak <= MOST_MEGABYTES


def main() -> int:
    """Prepare the fleet, roll it out, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--scale", type=float, default=0.3, help="factor on the durations of Azure's operations")
    parser.add_argument("--disturb", action="store_true", help="kill a worker and an API server in the middle")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes are stopped
    os.chdir(REPOSITORY)
    with tempfile.TemporaryDirectory() as folder, TeamStack(Path(folder) / "stack", say) as stack:
        fleet = Fleet(stack, given.endpoints, given.scale)
        workers = [stack.add_worker(fleet.checkout, limit=RUNS_OF_A_WORKER) for _ in range(WORKERS)]
        fleet.register_new_versions()
        race = Race(fleet, stack, workers)
        meter = race.run(is_disturbed=given.disturb)
        is_met = report(race, meter, fleet.serving(), given.endpoints)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
