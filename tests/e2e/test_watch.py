"""New model versions are rolled out by themselves, with a real Prefect server, its schedule and a worker."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.local.stack import Stack
from tests.support.prefect_api import Patient
from tests.support.rest import Rest
from tests.support.world import Rollout, World

TIMEOUT_SECONDS = 300
WATCH = "import asyncio; from flows.watch import watch_endpoints; asyncio.run(watch_endpoints())"
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass
class Watched:
    """A rollout that follows a model, in the one folder of rollouts that the worker and the watchers know."""

    world: World
    api: httpx.Client
    rollout: Rollout
    deployment_id: str  # of its Prefect deployment

    @property
    def name(self) -> str:
        return self.rollout.name

    def register(self, version: str) -> None:
        """A new version with the content of the first, over plain REST."""
        first = self.world.rest.workspace(f"models/{self.name}/versions/1").json()["properties"]
        body = {"properties": {name: first[name] for name in ("modelUri", "modelType")}}
        self.world.rest.workspace(f"models/{self.name}/versions/{version}", method="PUT", body=body).raise_for_status()

    def start_watcher(self) -> subprocess.Popen[str]:
        """A watcher beside those of the Prefect deployment, whose limit it does not know."""
        return subprocess.Popen(
            [self.world.python, "-c", WATCH], env=self.world.variables, stderr=subprocess.PIPE, text=True
        )

    def runs(self) -> list[dict[str, Any]]:
        """All flow runs of the rollout."""
        return self.ask("flow_runs", deployments={"name": {"any_": [self.name]}})

    def ask(self, what: str, **filters: Any) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = self.api.post(f"/{what}/filter", json=filters).raise_for_status().json()
        return answer

    def wait_until_served(self, version: str) -> None:
        """Until every run of the rollout has ended, and that version answers."""
        wait(
            lambda: bool(self.runs()) and all(one["state_type"] in ENDED for one in self.runs()), f"{self.name} to end"
        )
        assert [one["state"]["message"] for one in self.runs() if one["state_type"] != "COMPLETED"] == []
        assert self.world.rest.score(self.name, {"data": [[1.0]]}).json()["model_version"] == version


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all rollouts; empty."""
    return tmp_path_factory.mktemp("deployments")


@pytest.fixture(scope="module")
def api(stack: Stack, folders: Path) -> Iterator[httpx.Client]:
    """Prefect's API, with a worker, and with the watcher's own schedule asleep."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROLLWAY_DEPLOYMENTS", str(folders))
        worker = stack.start_worker()
        try:
            with httpx.Client(base_url=f"{stack.ui_url}/api", timeout=120, transport=Patient()) as client:
                pause_schedules(client)
                yield client
        finally:
            worker.stop()


@pytest.fixture(scope="module")
def watched(
    stack: Stack, variables: dict[str, str], api: httpx.Client, folders: Path, tmp_path_factory: pytest.TempPathFactory
) -> Watched:
    """A rollout whose model has no version yet, with its Prefect deployment."""
    variables = {**variables, "ROLLWAY_DEPLOYMENTS": str(folders)}
    world = World(stack, variables, Rest(variables), tmp_path_factory.mktemp("watched"))
    rollout = world.make_rollout()
    rollout.online_deployment["model"] = f"azureml:{rollout.name}@latest"
    rollout.folder = folders / rollout.name
    rollout.write()
    shipped = api.get("/deployments/name/deploy-endpoint/diabetes").raise_for_status().json()
    kept = (
        "flow_id",
        "entrypoint",
        "path",
        "pull_steps",
        "work_pool_name",
        "job_variables",
        "parameter_openapi_schema",
    )
    body = {"name": rollout.name, **{key: shipped[key] for key in kept}}
    deployment_id = api.post("/deployments/", json=body).raise_for_status().json()["id"]
    return Watched(world, api, rollout, deployment_id)


def watcher_of(api: httpx.Client) -> dict[str, Any]:
    deployment: dict[str, Any] = api.get("/deployments/name/watch-endpoints/watch-endpoints").raise_for_status().json()
    return deployment


def pause_schedules(api: httpx.Client) -> None:
    deployment = watcher_of(api)
    for schedule in deployment["schedules"]:
        url = f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
        api.patch(url, json={"active": False}).raise_for_status()


def soon() -> dict[str, str]:
    """A schedule whose runs are so far apart that one has ended when the next begins.

    Few of them, because Prefect creates the runs of an hour at once; more than one, because it may take a minute.
    """
    first = datetime.now(UTC) + timedelta(seconds=5)
    return {"rrule": f"DTSTART:{first:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=SECONDLY;INTERVAL=45;COUNT=6"}


def wait(is_done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not is_done():
        assert time.monotonic() < deadline, f"waited {TIMEOUT_SECONDS} s for {what}"
        time.sleep(0.5)


def test_a_schedule_notices_a_new_version_and_rolls_it_out_once(watched: Watched) -> None:
    model = watched.world.tmp_path / "model.txt"
    model.write_text("weights")
    assert watched.world.register_model(watched.name, model) == "1"
    watcher = watcher_of(watched.api)
    watched.api.post(
        f"/deployments/{watcher['id']}/schedules", json=[{"schedule": soon(), "active": True}]
    ).raise_for_status()

    try:
        wait(lambda: bool(watched.runs()), "the schedule to start a rollout")
        watched.wait_until_served("1")
        wait(lambda: len(completed_watches(watched)) > 1, "another watch")
    finally:
        pause_schedules(watched.api)

    assert len(watched.runs()) == 1, "every watch found the same version"
    assert watched.runs()[0]["parameters"] == {"rollout": watched.name, "model_version": "1"}


def test_versions_that_came_while_nobody_watched_make_one_rollout_of_the_newest(watched: Watched) -> None:
    wait(lambda: not running_watches(watched), "the schedule's last watch to end")
    before = len(watched.runs())
    for version in ("9", "11", "10"):  # the newest is the one created last
        watched.register(version)

    watchers = [watched.start_watcher() for _ in range(3)]
    errors = [watcher.communicate(timeout=TIMEOUT_SECONDS)[1] for watcher in watchers]

    assert [watcher.returncode for watcher in watchers] == [0, 0, 0], errors
    assert len(watched.runs()) == before + 1
    watched.wait_until_served("10")


def test_a_schedule_leaves_a_paused_endpoint_alone_and_a_person_does_not(watched: Watched) -> None:
    watched.world.rest.set_tags(watched.name, {"rollway:paused": "rolled back by a test"})
    watched.register("12")
    before, last = {run["id"] for run in watched.runs()}, watched.world.rest.last_request()
    path = f"/deployments/{watched.deployment_id}"
    parameters = {"rollout": watched.name}
    schedule = {"schedule": soon(), "active": True, "parameters": parameters}
    made = watched.api.post(f"{path}/schedules", json=[schedule]).raise_for_status().json()

    def ended() -> list[dict[str, Any]]:
        return [run for run in watched.runs() if run["id"] not in before and run["state_type"] in ENDED]

    wait(lambda: bool(ended()), "the schedule to start a rollout")
    watched.api.delete(f"{path}/schedules/{made[0]['id']}").raise_for_status()
    (run,) = ended()
    assert (run["auto_scheduled"], run["state_type"]) == (True, "COMPLETED"), run["state"]["message"]
    assert watched.world.rest.writes(to=f"/{watched.name}", after=last) == []
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}, "artifacts": {"key": {"like_": "rollout-%"}}}
    (report,) = watched.ask("artifacts", **of_run)
    assert "nothing to do" in report["data"]
    assert "it is paused, and a schedule leaves it alone: rolled back by a test" in report["data"]

    watched.api.post(f"{path}/create_flow_run", json={"parameters": parameters}).raise_for_status()
    wait(lambda: len(ended()) > 1, "the rollout that a person started")
    watched.wait_until_served("12")


def test_what_is_wrong_with_some_rollouts_does_not_keep_the_others_from_being_watched(
    watched: Watched, folders: Path
) -> None:
    broken = folders / "broken"
    broken.mkdir()
    (broken / "rollout.yml").write_text("{}")
    orphan = watched.world.make_rollout(model=f"azureml:{watched.name}@latest")
    orphan.folder = folders / "orphan"
    orphan.write()
    before = len(watched.runs())

    try:
        watcher = watched.start_watcher()
        error = watcher.communicate(timeout=TIMEOUT_SECONDS)[1]
    finally:
        shutil.rmtree(broken)
        shutil.rmtree(orphan.folder)

    assert watcher.returncode != 0
    assert "2 of 3 rollouts could not be watched: broken, orphan" in error
    assert "smoke_test: Field required" in error
    assert "there is no Prefect deployment for the rollout 'orphan'" in error
    table = watched.ask("artifacts", artifacts={"key": {"any_": ["watch-endpoints"]}}, sort="CREATED_DESC")[0]["data"]
    assert '"verdict": "up_to_date"' in table
    assert '"verdict": "error"' in table
    assert len(watched.runs()) == before


def test_each_finding_is_an_event_for_automations(watched: Watched) -> None:
    query = {"filter": {"event": {"prefix": ["rollway.model-version."]}}, "limit": 50}

    events = watched.api.post("/events/filter", json=query).raise_for_status().json()["events"]

    started = [one for one in events if one["event"] == "rollway.model-version.start"]
    assert {one["resource"]["prefect.resource.id"] for one in started} == {f"rollway.rollout.{watched.name}"}
    assert {"1", "10"} <= {one["payload"]["version"] for one in started}
    assert "rollway.model-version.up_to_date" in {one["event"] for one in events}


def completed_watches(watched: Watched) -> list[dict[str, Any]]:
    states = {"state": {"type": {"any_": ["COMPLETED"]}}}
    return watched.ask("flow_runs", flows={"name": {"any_": ["watch-endpoints"]}}, flow_runs=states)


def running_watches(watched: Watched) -> list[dict[str, Any]]:
    states = {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    return watched.ask("flow_runs", flows={"name": {"any_": ["watch-endpoints"]}}, flow_runs=states)
