"""One look of the watcher over hundreds of endpoints: requests to Azure, task runs, seconds and started runs.

    python -m benchmarks.watcher                    # 200 endpoints, each follows a model of its own
    python -m benchmarks.watcher --endpoints 20     # to try the benchmark
    python -m benchmarks.watcher --models 1         # all of them follow one model

It starts its own local Azure ML and its own Prefect server on loopback, on PostgreSQL if it is installed. One endpoint
gets a real rollout. The others are copies of it in the state of the local Azure ML, so that no hundreds of containers
are started. The watcher looks twice: with nothing new, and with a new version of some models. The exit code is 1 if a
target is missed.
"""

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.copies import ENDPOINT, ONLINE_DEPLOYMENT, replace_by_copies
from benchmarks.rollout import kind_of
from rollway.azure.folder import load_folder
from rollway.local.stack import temporary_stack
from rollway.rollout.fingerprint import fingerprint
from rollway.rollout.record import FINGERPRINT, EndpointRecord, with_record
from rollway.terminal import say
from tests.support.emulator_process import REPOSITORY
from tests.support.lab import Lab, running_lab
from tests.support.postgres import running_postgres
from tests.support.watched import WATCH
from tests.support.world import Rollout

MOST_REQUESTS, REQUESTS_PER_RUN = 10, 2  # for each run, the versions of a model and the online deployments are listed
MOST_TASK_RUNS = 5
MOST_SECONDS = 10.0
NEW_VERSIONS = 3
FLOWS = ("deploy-endpoint", "steer-rollout")


@dataclass(frozen=True)
class Look:
    """One look of the watcher.

    Args:
        seconds: From the start of the process to its end.
        flow_seconds: Of the flow run alone, as Prefect counts it.
        cpu_seconds: Processor time of the process.
        requests: The requests to Resource Manager.
        started: Number of flow runs that it started.
    """

    seconds: float
    flow_seconds: float
    cpu_seconds: float
    requests: tuple[Mapping[str, Any], ...]
    task_runs: int
    started: int


class Fleet:
    """Endpoints that serve, their folders and Prefect deployments, and the watcher.

    Args:
        models: How many models the endpoints follow, in turns.
    """

    def __init__(self, lab: Lab, endpoints: int, models: int) -> None:
        self._lab, self._models = lab, models
        self._folder = lab.folder / "deployments"
        self._first = self._roll_out_once()
        self._names = [f"watched-{number}" for number in range(endpoints)]
        say(f"copying the endpoint {endpoints} times")
        self._copy_endpoints()
        self._write_folders()

    def look(self) -> Look:
        """Let the watcher look once in a process of its own."""
        seen, runs = self._lab.rest.last_request(), self._count("flow_runs", flows=self._flows(*FLOWS))
        cpu, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", WATCH],
            env={**self._lab.variables, "ROLLWAY_DEPLOYMENTS": str(self._folder)},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise RuntimeError(f"the watcher ended with {done.returncode}:\n{done.stderr[-4000:]}")
        [run] = self._ask("flow_runs/filter", flows=self._flows("watch-endpoints"), sort="START_TIME_DESC", limit=1)
        return Look(
            seconds=seconds,
            flow_seconds=float(run["total_run_time"]),
            cpu_seconds=after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime,
            requests=self._requests_after(seen),
            task_runs=self._task_runs(run["id"]),
            started=self._count("flow_runs", flows=self._flows(*FLOWS)) - runs,
        )

    def register_new_versions(self, count: int) -> None:
        """Register version 2 of the first models."""
        for number in range(min(count, self._models)):
            self._lab.rest.register_version(self._model(number), "2")

    def verdicts(self) -> Counter[str]:
        """Return how often each verdict is in the watcher's last table."""
        key = {"key": {"any_": ["watch-endpoints"]}}
        [newest] = self._ask("artifacts/filter", artifacts=key, sort="CREATED_DESC", limit=1)
        return Counter(str(row["verdict"]) for row in json.loads(newest["data"]))

    def _roll_out_once(self) -> Rollout:
        """Roll out a model by its path, then the same version by reference, as folders that follow it have it."""
        say("rolling out the first endpoint")
        lab = self._lab
        lab.use_new_endpoint()
        rollout = lab.rollout
        rollout.online_deployment["environment"]["name"] = "watched"
        rollout.online_deployment["model"]["name"] = f"{rollout.name}-model"
        for model in (rollout.online_deployment["model"], f"azureml:{rollout.name}-model@latest"):
            rollout.online_deployment["model"] = model
            done = lab.roll_out()
            if done.exit_code:
                raise RuntimeError(f"the first rollout failed:\n{done.log[-4000:]}")
        return rollout

    def _model(self, number: int) -> str:
        return f"watched-{number % self._models}-model"

    def _copy_endpoints(self) -> None:
        """Replace the first endpoint by copies, which look as if they had been rolled out days ago."""
        what = load_folder(str(self._first.folder)).online_deployment

        def change(kind: str, document: dict[str, Any]) -> None:
            if kind == ENDPOINT:
                document["tags"] = _as_of_old(document["tags"])
            elif kind == ONLINE_DEPLOYMENT:
                ids = (document["properties"]["model"], document["properties"]["environmentId"])
                document["tags"] |= {FINGERPRINT: fingerprint(what, *ids)}

        models = {name: self._model(number) for number, name in enumerate(self._names)}
        replace_by_copies(self._lab.emulator.folder, self._first.name, models, change)

    def _write_folders(self) -> None:
        """Write a rollout folder for each endpoint, and create its Prefect deployment."""
        flow = self._lab.prefect.post("/flows/", json={"name": FLOWS[0]}).raise_for_status().json()["id"]
        for number, name in enumerate(self._names):
            model = f"azureml:{self._model(number)}@latest"
            Rollout(
                folder=self._folder / name,
                endpoint={**self._first.endpoint, "name": name},
                online_deployment={**self._first.online_deployment, "endpoint_name": name, "model": model},
                rollout={**self._first.rollout, "keep_replaced_seconds": 3600},
            ).write()
            body = {"name": name, "flow_id": flow, "enforce_parameter_schema": False}
            self._lab.prefect.post("/deployments/", json=body).raise_for_status()

    def _requests_after(self, number: int) -> tuple[Mapping[str, Any], ...]:
        return tuple(one for one in self._lab.rest.requests(after=number) if "/subscriptions/" in one["path"])

    def _task_runs(self, run: str) -> int:
        """Return the number of task runs of a flow run, once all of them have reached Prefect's database."""
        counts = [-1, -2]
        while counts[-1] != counts[-2] or counts[-1] == 0:
            time.sleep(2)  # they arrive as events
            counts.append(self._count("task_runs", flow_runs={"id": {"any_": [run]}}))
        return counts[-1]

    def _count(self, what: str, **filters: Any) -> int:
        return int(self._lab.prefect.post(f"/{what}/count", json=filters).raise_for_status().json())

    def _ask(self, path: str, **filters: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._lab.prefect.post(f"/{path}", json=filters).raise_for_status().json()
        return found

    def _flows(self, *names: str) -> dict[str, Any]:
        return {"name": {"any_": list(names)}}


def _as_of_old(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags of an endpoint whose last rollout ended three days ago, so that nothing is left to tidy."""
    past = (datetime.now(UTC) - timedelta(days=3)).isoformat(timespec="seconds")
    return with_record(tags, EndpointRecord.of(tags).model_copy(update={"promoted_at": past}))


def report(idle: Look, busy: Look, new: int) -> bool:
    """Print the figures. Return True if all targets are met."""
    is_met = True
    print(f"{'':16}{'nothing new':>13}{f'{new} new':>8}  target")
    for name, figures, most, digits in (
        (
            "ARM requests",
            (len(idle.requests), len(busy.requests)),
            (MOST_REQUESTS, MOST_REQUESTS + REQUESTS_PER_RUN * new),
            0,
        ),
        ("task runs", (idle.task_runs, busy.task_runs), (MOST_TASK_RUNS, MOST_TASK_RUNS), 0),
        ("seconds", (idle.flow_seconds, busy.flow_seconds), (MOST_SECONDS, MOST_SECONDS), 1),
        ("  with the start", (idle.seconds, busy.seconds), None, 1),
        ("CPU seconds", (idle.cpu_seconds, busy.cpu_seconds), None, 1),
        ("runs started", (idle.started, busy.started), (0, new), 0),
    ):
        target = ""
        if name == "runs started":
            target, is_met = f"  exactly 0 and {new}", is_met and figures == (0, new)
        elif most is not None:
            limits = " and ".join(dict.fromkeys(f"{one:g}" for one in most))
            target = f"  at most {limits}"
            is_met = is_met and all(one <= limit for one, limit in zip(figures, most, strict=True))
        print(f"{name:16}{figures[0]:13.{digits}f}{figures[1]:8.{digits}f}{target}")
    return is_met


def print_calls(title: str, look: Look) -> None:
    """Print how often each kind of request was sent, the most frequent first."""
    print(f"\n{title}: requests to ARM")
    for kind, count in Counter(map(kind_of, look.requests)).most_common():
        print(f"{count:5}  {kind}")


@contextlib.contextmanager
def a_lab(folder: Path) -> Iterator[Lab]:
    """Yield a place for rollouts, with a Prefect server on PostgreSQL if it is installed."""
    with running_postgres() as postgres, temporary_stack(folder / "stack", lambda _: None) as stack:
        say(f"starting a Prefect server on {'PostgreSQL' if postgres else 'SQLite'}")
        if postgres:
            stack.database_url = postgres.new_database()
        stack.start_prefect()
        stack.wait_for_prefect()
        with running_lab(folder, stack, "--profile", "instant") as lab:
            yield lab


def main() -> int:
    """Look twice, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--models", type=int, help="models that the endpoints follow in turns; default: one each")
    parser.add_argument("--calls", action="store_true", help="also print how often each kind of request was sent")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that all processes are stopped
    os.chdir(REPOSITORY)
    models = given.models or given.endpoints
    new = min(NEW_VERSIONS, models)
    with tempfile.TemporaryDirectory() as folder, a_lab(Path(folder)) as lab:
        fleet = Fleet(lab, given.endpoints, models)
        say("looking, with nothing new")
        idle = fleet.look()
        say(f"{dict(fleet.verdicts())}; looking, with {new} new versions")
        fleet.register_new_versions(new)
        busy = fleet.look()
        say(f"{dict(fleet.verdicts())}")
    due = sum(number % models < new for number in range(given.endpoints))
    is_met = report(idle, busy, due)
    if given.calls:
        print_calls("nothing new", idle)
        print_calls(f"{due} new", busy)
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
