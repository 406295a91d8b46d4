"""A rollout that the watcher looks after."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx

from rollway.local.stack import WORK_POOL
from rollway.rollout.record import EndpointRecord
from tests.support.prefect_api import ENDED, store_event
from tests.support.waiting import wait_for
from tests.support.world import Rollout, World

TIMEOUT_SECONDS = 300
WATCH = "import asyncio; from flows.watch import watch_endpoints; asyncio.run(watch_endpoints())"
T = TypeVar("T")


@dataclass
class Watched:
    """A rollout that follows a model, in the one folder of rollouts that the worker and the watchers know."""

    world: World
    api: httpx.Client
    rollout: Rollout
    deployment_id: str  # of its Prefect deployment

    @property
    def name(self) -> str:
        """Name of the endpoint, its folder and its model."""
        return self.rollout.name

    def register(self, version: str) -> None:
        """A new version with the content of the first, over plain REST."""
        self.world.rest.register_version(self.name, version)

    def start_watcher(self, **variables: str) -> subprocess.Popen[str]:
        """A watcher beside those of the Prefect deployment, whose limit it does not know."""
        environment = {**self.world.variables, **variables}
        return subprocess.Popen([self.world.python, "-c", WATCH], env=environment, stderr=subprocess.PIPE, text=True)

    def watch(self) -> dict[str, str]:
        """Let the watcher look once; return the row of the rollout in its table."""
        watcher = self.start_watcher()
        errors = watcher.communicate(timeout=TIMEOUT_SECONDS)[1]
        assert watcher.returncode == 0, errors
        return self.table()[self.name]

    def table(self) -> dict[str, dict[str, str]]:
        """The last table, by rollout."""
        newest = self.ask("artifacts", artifacts={"key": {"any_": ["watch-endpoints"]}}, sort="CREATED_DESC")[0]
        return {row["rollout"]: row for row in json.loads(newest["data"])}

    def runs(self) -> list[dict[str, Any]]:
        """All flow runs of the rollout."""
        return self.ask("flow_runs", deployments={"name": {"any_": [self.name]}})

    def state_of(self, run: str) -> str:
        """The type of the state of a flow run."""
        return str(self.ask("flow_runs", flow_runs={"id": {"any_": [run]}})[0]["state_type"])

    def ask(self, what: str, **filters: Any) -> list[dict[str, Any]]:
        """Return what Prefect's API finds."""
        answer: list[dict[str, Any]] = self.api.post(f"/{what}/filter", json=filters).raise_for_status().json()
        return answer

    def events(self, prefix: str, since: datetime | None = None) -> list[dict[str, Any]]:
        """Return the stored events whose names begin so."""
        store_event(self.api, "rollway.test.marker", "rollway.test")  # then the server has stored the others, too
        occurred = {"occurred": {"since": since.isoformat()}} if since else {}
        query = {"filter": {"event": {"prefix": [prefix]}, **occurred}, "limit": 50}
        found = self.api.post("/events/filter", json=query).raise_for_status().json()
        return list(found["events"])

    def wait_for(self, read: Callable[[], T | None], what: str) -> T:
        """Wait until `read` returns a true value; return it."""
        return wait_for(read, what, TIMEOUT_SECONDS)

    def wait_until_ended(self) -> None:
        """Wait until every run of the rollout has ended, and none has failed."""
        self.wait_for(lambda: all(one["state_type"] in ENDED for one in self.runs()), f"end of the runs of {self.name}")
        assert [one["state"]["message"] for one in self.runs() if one["state_type"] != "COMPLETED"] == []

    def served(self) -> str:
        """The model version that answers."""
        return str(self.world.rest.score(self.name, {"data": [[1.0]]}).json()["model_version"])

    def serving(self) -> dict[str, int]:
        """The traffic map, without entries of weight 0."""
        return {name: weight for name, weight in (self.world.rest.traffic(self.name) or {}).items() if weight}

    def record(self) -> EndpointRecord:
        """The record of the endpoint."""
        return EndpointRecord.of(self.world.rest.tags(self.name))

    def pause_workers(self, *, is_paused: bool) -> None:
        """Let the workers start no run, or start them again."""
        self.api.patch(f"/work_pools/{WORK_POOL}", json={"is_paused": is_paused}).raise_for_status()
