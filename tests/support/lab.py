"""A place for hundreds of rollouts: an emulator of its own, containers that start at once, forks of a warm process."""

import json
import os
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.local.stack import Stack
from rollway.prefect.concurrency import limit_name
from rollway.settings import PREFECT_PATIENCE, Workspace
from tests.support.emulator_process import REPOSITORY, EmulatorProcess, running_emulator
from tests.support.prefect_api import Patient
from tests.support.rest import Rest
from tests.support.world import FIXTURES, MAX_LATENCY_SECONDS, PATIENT, WARM_UP_SECONDS, Rollout

QUICK = FIXTURES / "azureml_inference_server_http"
SCRIPT = (QUICK / "score.py").read_text()
RUN_SECONDS = 600
# A rollout whose Prefect server is away waits no longer for it than a user's.
AWAY = {**PREFECT_PATIENCE, "ROLLWAY_PREFECT_SECONDS": "10"}
LEASE_SECONDS = 3000  # of the rollouts' fast time: none is renewed, so that every rollout makes the same writes
SHORT_BAKE_SECONDS, METRICS_LAG_SECONDS = 120, 90
LEASE, PROVEN, WRITTEN = "rollway:lease", "rollway:proven-traffic", "rollway:traffic"


@dataclass(frozen=True)
class RunResult:
    """Result of a rollout: exit code (-9 if it was killed), error, and output."""

    exit_code: int
    error: str
    log: str

    @property
    def flow_run(self) -> str:
        """Prefect's id of the run."""
        return str(re.findall(r"/runs/flow-run/([0-9a-f-]{36})", self.log)[0])


@dataclass(frozen=True)
class Seen:
    """An endpoint in Azure: non-zero weights, states of its online deployments by name, and tags."""

    traffic: dict[str, int]
    online_deployments: dict[str, str]
    tags: dict[str, str]

    @property
    def holder(self) -> str:
        """Which run attempt holds the endpoint; `free` when none does."""
        return self.tags.get(LEASE, "free").partition(" ")[0]

    @property
    def is_proven(self) -> bool:
        """True if its traffic counts as proven."""
        return self.tags.get(PROVEN) == self.tags.get(WRITTEN)

    @property
    def is_free(self) -> bool:
        """True if nobody holds the endpoint and its traffic counts as proven."""
        return self.holder == "free" and self.is_proven


@dataclass
class Lab:
    """Rollouts of one endpoint after the other; every one of them changes model, environment, code and settings."""

    emulator: EmulatorProcess
    variables: dict[str, str]
    folder: Path
    python: str
    rest: Rest
    prefect: httpx.Client
    rollout: Rollout = field(init=False)
    changes: int = 0
    moves_clock: bool = False  # whether Azure's clock goes on by what a rollout waits

    def use_new_endpoint(self) -> None:
        """From now on rollouts are of another endpoint, the next one is its first."""
        self.moves_clock = False
        self.rest.sign_in()  # earlier rollouts may have moved the clock
        name = f"lab-{uuid.uuid4().hex[:12]}"
        code = self.folder / name / "code" / QUICK.name
        shutil.copytree(QUICK, code, ignore=shutil.ignore_patterns("__pycache__"))
        (self.folder / name / "model").mkdir()
        self.rollout = Rollout(
            folder=self.folder / name / f"rollout-{name}",
            endpoint={"name": name, "auth_mode": "key"},
            online_deployment={
                "name": "main",
                "endpoint_name": name,
                "model": {"name": name, "path": str(self.folder / name / "model")},
                "code_configuration": {"code": str(code), "scoring_script": "score.py"},
                "environment": {"name": name, "image": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04"},
                "instance_type": "Standard_DS3_v2",
                "instance_count": 1,
                "request_settings": dict(PATIENT),
            },
            rollout={
                "smoke_test": {
                    "request_file": "request.json",
                    "warm_up_seconds": WARM_UP_SECONDS,
                    "expect": {"max_latency_seconds": MAX_LATENCY_SECONDS},
                },
                "keep_replaced_seconds": 0,
                "ready_timeout_seconds": 7200,
            },
        )
        self.change()

    def start_afresh(self) -> None:
        """A new endpoint that serves."""
        self.use_new_endpoint()
        first = self.roll_out()
        assert first.exit_code == 0, first.log

    def start_progressive(self, source: str = "both", bake_seconds: int = SHORT_BAKE_SECONDS) -> None:
        """A new endpoint that serves, with room for clients and probes at once; the next rollouts have two steps.

        `source` is that of the evidence. Metrics arrive later than rollout.yml says.
        """
        self.use_new_endpoint()
        self.rollout.online_deployment["request_settings"]["max_concurrent_requests_per_instance"] = 20
        first = self.roll_out()
        assert first.exit_code == 0, first.log
        self.moves_clock = True
        self.rollout.rollout |= {
            "strategy": "progressive",
            "steps": [{"weight": weight, "bake_seconds": bake_seconds} for weight in (25, 100)],
            "judge": {
                "source": source,
                "minimum_requests": 20,
                "lag_seconds": METRICS_LAG_SECONDS - 30,
                "probes": {"requests_per_second": 2},
            },
            "deadline_seconds": 1200 + 2 * bake_seconds,
        }

    def change(self) -> None:
        """Makes everything different that an online deployment is made of."""
        self.changes += 1
        own, number = self.folder / self.rollout.name, self.changes
        (own / "model" / "model.txt").write_text(f"model {number}")
        (own / "code" / QUICK.name / "score.py").write_text(f"{SCRIPT}# number {number}\n")
        (own / "conda.yaml").write_text(f"name: number-{number}\ndependencies: [python=3.11]\n")
        self.rollout.online_deployment["environment"]["conda_file"] = str(own / "conda.yaml")
        self.rollout.online_deployment["environment_variables"] = {"NUMBER": str(number)}

    def roll_out(
        self,
        *,
        kill: Mapping[str, Any] | None = None,
        away: Mapping[str, Any] | None = None,
        remember_answers: Path | None = None,
        warm_up_seconds: float = WARM_UP_SECONDS,
        **parameters: Any,
    ) -> RunResult:
        """One rollout of the folder in a process of its own.

        It is killed where `kill` says, and Prefect's server is away from where `away` says.

        `remember_answers` is a file that gets what Azure answers, a JSON document per line. Where the gateway fails for
        ever, the rollout takes as long as `warm_up_seconds`.
        """
        self.rollout.rollout["smoke_test"]["warm_up_seconds"] = warm_up_seconds
        job = {
            "rollout": self.rollout.write(),
            "kill": kill,
            "away": away,
            "clock": f"{self.emulator.url}/_emulator/clock" if self.moves_clock else None,
            "answers": str(remember_answers) if remember_answers else None,
            "parameters": parameters,
        }
        log = self.folder / f"{uuid.uuid4().hex}.log"
        with log.open("w") as output:
            done = subprocess.run(
                [self.python, "-m", "tests.support.quick_rollout", json.dumps(job)],
                env={**self.variables, **(AWAY if away else {})},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=RUN_SECONDS,
                check=False,
            )
        text = log.read_text()
        if away:
            self.free_slot()  # the run could not give it back
        if self.moves_clock:
            self.rest.sign_in()
        return RunResult(done.returncode, text.partition("ENDED WITH ")[2], text)

    def look(self) -> Seen:
        """Return the endpoint as Azure has it now, empty if there is none; reads that still lag are caught up."""
        self.emulator.delete_faults()
        answer = self.rest.workspace(f"onlineEndpoints/{self.rollout.name}")
        if answer.status_code == 404:
            return Seen({}, {}, {})
        endpoint = answer.raise_for_status().json()
        behind = self.rest.workspace(f"onlineEndpoints/{self.rollout.name}/deployments").raise_for_status().json()
        return Seen(
            {name: weight for name, weight in endpoint["properties"]["traffic"].items() if weight},
            {one["name"]: one["properties"]["provisioningState"] for one in behind["value"]},
            endpoint["tags"],
        )

    def requests_of(self, act: Callable[[], object]) -> list[dict[str, Any]]:
        """Record the requests to the emulator during a call."""
        before = self.rest.last_request()
        act()
        requests: list[dict[str, Any]] = self.emulator.get(f"requests?after={before}")
        return requests

    def note(self, text: str) -> None:
        """Says how far a long test is: among its output, and at once in `cells.log` of its folder."""
        line = f"{time.strftime('%X')} {text}"
        print(line)
        with (self.folder / "cells.log").open("a") as file:
            file.write(f"{line}\n")

    def dossier(self, outcome: RunResult) -> str | None:
        """Return the dossier in the run's artifacts."""
        return self.artifact(outcome, "failure-")

    def artifact(self, outcome: RunResult, prefix: str) -> str | None:
        """Return the newest artifact of a run whose key begins so."""
        wanted = {"sort": "CREATED_DESC", "flow_runs": {"id": {"any_": [outcome.flow_run]}}}
        found = self.prefect.post("/artifacts/filter", json=wanted).raise_for_status().json()
        return next((one["data"] for one in found if (one["key"] or "").startswith(prefix)), None)

    def bury(self, killed: RunResult) -> None:
        """Report the death of a run to Prefect like a worker, and free its slot like an impatient operator."""
        crashed = {"state": {"type": "CRASHED", "name": "Crashed"}, "force": True}
        self.prefect.post(f"/flow_runs/{killed.flow_run}/set_state", json=crashed).raise_for_status()
        self.free_slot()

    def free_slot(self) -> None:
        """Let the next rollout of the endpoint begin at once."""
        variables = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE")
        subscription, group, workspace = map(self.variables.__getitem__, variables)
        where = Workspace(subscription_id=subscription, resource_group=group, name=workspace)
        name = limit_name(where, self.rollout.name)
        self.prefect.patch(f"/v2/concurrency_limits/{name}", json={"active_slots": 0}).raise_for_status()


@contextmanager
def running_lab(folder: Path, stack: Stack, *options: str) -> Iterator[Lab]:
    """Yield a lab with a Prefect server that is running; `options` are those of its own `emulator up`."""
    with running_emulator(folder / "emulator", *options) as emulator:
        variables = {**os.environ, **stack.prefect_variables(), **emulator.environment}
        # Only the emulator's own root: reading a hundred and fifty for each connection is half of a rollout's work.
        authority = str(folder / "emulator" / "tls" / "ca.pem")
        variables |= {
            "REQUESTS_CA_BUNDLE": authority,
            "SSL_CERT_FILE": authority,
            "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
            "ROLLWAY_LEASE_SECONDS": str(LEASE_SECONDS),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        with httpx.Client(base_url=f"{stack.ui_url}/api", timeout=240, transport=Patient()) as prefect:
            yield Lab(emulator, variables, folder, stack.python, Rest(variables), prefect)


@pytest.fixture(scope="package")
def lab(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab of this test process; the Prefect server is the one that all share."""
    folder = tmp_path_factory.mktemp("lab")
    seed = {"scoring": {"metrics_lag_seconds": METRICS_LAG_SECONDS}, "limits": {"endpoints_per_region": 1000}}
    (folder / "seed.yaml").write_text(json.dumps(seed))
    with running_lab(folder, stack, "--seed", str(folder / "seed.yaml")) as made:
        yield made
