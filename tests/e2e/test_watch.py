"""The watcher rolls new model versions out and repairs, with a real Prefect server, its schedule and a worker."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from rollway.local.stack import Stack
from rollway.prefect import watching
from rollway.prefect.silence import NEVER_STARTED_MESSAGE
from rollway.rollout.entries import Command, Lease, Order
from rollway.rollout.record import with_record
from tests.support.matrix import IS_FULL
from tests.support.prefect_api import ENDED, Patient
from tests.support.rest import Rest
from tests.support.watched import TIMEOUT_SECONDS, Watched
from tests.support.world import World


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
    body = {"name": rollout.name, **shipped_deployment(api)}
    deployment_id = api.post("/deployments/", json=body).raise_for_status().json()["id"]
    steer = api.get("/deployments/name/steer-rollout/steer").raise_for_status().json()
    api.patch(f"/deployments/{steer['id']}", json={"enforce_parameter_schema": False}).raise_for_status()
    return Watched(world, api, rollout, deployment_id)


def watcher_of(api: httpx.Client) -> dict[str, Any]:
    url = "/deployments/name/watch-endpoints/watch-endpoints"
    deployment: dict[str, Any] = api.get(url).raise_for_status().json()
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


def test_a_schedule_notices_a_new_version_and_rolls_it_out_once(watched: Watched) -> None:
    model = watched.world.tmp_path / "model.txt"
    model.write_text("weights")
    assert watched.world.register_model(watched.name, model) == "1"
    watcher = watcher_of(watched.api)
    watched.api.post(
        f"/deployments/{watcher['id']}/schedules", json=[{"schedule": soon(), "active": True}]
    ).raise_for_status()

    try:
        watched.wait_for(watched.runs, "rollout of the schedule")
        watched.wait_until_ended()
        watched.wait_for(lambda: len(watches(watched, "COMPLETED")) > 1, "second watch")
    finally:
        pause_schedules(watched.api)

    assert watched.served() == "1"
    assert len(watched.runs()) == 1, "every watch found the same version"
    assert watched.runs()[0]["parameters"] == {"rollout": watched.name, "requested_by": "watcher"}
    watched.wait_for(lambda: not watches(watched, "PENDING", "RUNNING"), "end of the last watch")


@pytest.mark.parametrize("turn", range(10 if IS_FULL else 1))
def test_versions_that_come_during_a_rollout_end_with_the_newest_whatever_the_order_of_events(
    watched: Watched, turn: int
) -> None:
    first = f"{100 + turn}"
    watched.register(first)
    started = watched.watch()
    assert started["verdict"] == "start"
    watched.wait_for(lambda: watched.state_of(started["flow run"]) not in ("SCHEDULED", "PENDING"), "rollout that runs")
    versions = [f"{first}.{number}" for number in (9, 11, 10, 3, 7)]  # the newest is the one created last
    order = random.Random(turn)  # noqa: S311 (the same order in each run of the test)
    watchers = []
    for version in versions:
        watched.register(version)
        watchers += [watched.start_watcher() for _ in range(order.randint(0, 2))]
    watchers.append(watched.start_watcher())
    for watcher in watchers:
        errors = watcher.communicate(timeout=TIMEOUT_SECONDS)[1]
        assert watcher.returncode == 0, errors

    watched.wait_until_ended()
    while watched.watch()["verdict"] == "start":
        watched.wait_until_ended()

    assert watched.served() == versions[-1]
    row = watched.table()[watched.name]
    assert (row["verdict"], row["reason"]) == ("up_to_date", f"{versions[-1]} is live, the newest version")
    assert all(set(run["parameters"]) == {"rollout", "requested_by"} for run in watched.runs())


def test_of_two_runs_for_the_same_version_the_second_has_nothing_to_do(watched: Watched) -> None:
    watched.register("200")
    before = {run["id"] for run in watched.runs()}
    path, parameters = f"/deployments/{watched.deployment_id}/create_flow_run", {"requested_by": "watcher"}

    for _ in range(2):
        body = {"parameters": {"rollout": watched.name, **parameters}}
        watched.api.post(path, json=body).raise_for_status()
    watched.wait_until_ended()

    assert watched.served() == "200"
    new = [run["id"] for run in watched.runs() if run["id"] not in before]
    reports = watched.ask("artifacts", flow_runs={"id": {"any_": new}}, artifacts={"key": {"like_": "rollout-%"}})
    assert sorted("nothing to do" in report["data"] for report in reports) == [False, True]


def test_a_run_that_was_queued_before_a_rollback_does_not_undo_it(watched: Watched) -> None:
    watched.register("201")
    watched.pause_workers(is_paused=True)
    try:
        started = watched.watch()
        assert started["verdict"] == "start"
        back = watched.world.rollway("rollback", str(watched.rollout.folder))
        assert back.returncode == 0, back.stderr
        served, queued = watched.served(), watched.watch()
    finally:
        watched.pause_workers(is_paused=False)

    assert (queued["verdict"], queued["flow run"]) != ("start", "")
    last = watched.world.rest.last_request()
    watched.wait_until_ended()
    assert watched.world.rest.writes(to=f"/{watched.name}", after=last) == []
    assert watched.served() == served != "201"
    assert watched.record().pause_reason.startswith("rolled back to ")
    row = watched.watch()
    assert row["verdict"] == "held_back"
    assert row["reason"].startswith("201 waits: it is paused: rolled back to ")


def test_traffic_that_a_dead_run_left_is_repaired_even_where_automation_is_paused(watched: Watched) -> None:
    rest, record = watched.world.rest, watched.record()
    assert record.live is not None
    assert record.previous is not None
    live, target = record.live.online_deployment, record.previous.online_deployment
    long_ago = (datetime.now(UTC) - timedelta(hours=1)).isoformat(timespec="milliseconds")
    # A run that Prefect does not know: the next one watches the claim for its whole time.
    lease = Lease(holder="6f1c3a52-0000-4000-8000-000000000000/1", ttl_seconds=5, renewed_at=long_ago)
    left = record.moved(lease.holder, {target: 100}, {live: 100}).claimed(lease)
    rest.set_traffic(watched.name, {target: 100})
    rest.set_tags(watched.name, with_record(rest.tags(watched.name), left))

    row = watched.watch()
    watched.wait_until_ended()

    assert row["verdict"] == "start"
    assert row["reason"] == f"{lease.holder} claimed it at {long_ago} and no longer works on it"
    repaired = watched.record()
    assert repaired.lease is None
    assert repaired.live is not None
    assert repaired.live.online_deployment == target
    assert repaired.pause_reason == record.pause_reason
    assert watched.watch()["verdict"] == "held_back", "201 still waits"


def leave_canary(watched: Watched, order: Order) -> tuple[str, str]:
    """Leave a canary, and an order that nobody carried out; return the names of stable and of the canary."""
    rest, record = watched.world.rest, watched.record()
    assert record.live is not None
    assert record.previous is not None
    stable, canary = record.live.online_deployment, record.previous.online_deployment
    split = {stable: 90, canary: 10}
    given = (datetime.now(UTC) - timedelta(minutes=10)).isoformat(timespec="milliseconds")
    command = Command(order=order, by="ann", at=given, reason="because")
    left = record.paused("canary").moved("dead/1", split, {stable: 100}).tested(split).told(command)
    rest.set_traffic(watched.name, split)
    rest.set_tags(watched.name, with_record(rest.tags(watched.name), left))
    return stable, canary


def test_an_order_to_abort_that_nobody_carried_out_is_carried_out(watched: Watched) -> None:
    stable, _ = leave_canary(watched, Order.ABORT)

    row = watched.watch()
    watched.wait_until_ended()

    assert (row["verdict"], row["reason"]) == ("start", "nobody carries out: abort by ann: because")
    assert watched.serving() == {stable: 100}
    assert watched.record().command is None
    assert watched.record().pause_reason == "abort by ann: because"
    assert watched.watch()["verdict"] == "held_back"


def test_a_schedule_leaves_a_paused_endpoint_alone_and_a_person_does_not(watched: Watched) -> None:
    before, last = {run["id"] for run in watched.runs()}, watched.world.rest.last_request()
    path = f"/deployments/{watched.deployment_id}"
    parameters = {"rollout": watched.name}
    schedule = {"schedule": soon(), "active": True, "parameters": parameters}
    made = watched.api.post(f"{path}/schedules", json=[schedule]).raise_for_status().json()

    def ended() -> list[dict[str, Any]]:
        return [run for run in watched.runs() if run["id"] not in before and run["state_type"] in ENDED]

    watched.wait_for(ended, "rollout of the schedule that ended")
    watched.api.delete(f"{path}/schedules/{made[0]['id']}").raise_for_status()
    watched.wait_until_ended()
    scheduled = ended()
    for run in scheduled:
        assert (run["auto_scheduled"], run["state_type"]) == (True, "COMPLETED"), run["state"]["message"]
        of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}, "artifacts": {"key": {"like_": "rollout-%"}}}
        (report,) = watched.ask("artifacts", **of_run)
        assert "nothing to do" in report["data"]
    assert watched.world.rest.writes(to=f"/{watched.name}", after=last) == []

    watched.api.post(f"{path}/create_flow_run", json={"parameters": parameters}).raise_for_status()
    watched.wait_for(lambda: len(ended()) > len(scheduled), "rollout of a person that ended")
    watched.wait_until_ended()
    assert watched.served() == "201"
    assert watched.record().pause_reason == ""


def test_broken_folders_are_told_once_and_disturb_nobody(watched: Watched, folders: Path) -> None:
    broken = folders / "broken"
    broken.mkdir()
    (broken / "rollout.yml").write_text("{}")
    deployment = {"name": "broken", **shipped_deployment(watched.api)}
    watched.api.post("/deployments/", json=deployment).raise_for_status()
    orphan = watched.world.make_rollout(model=f"azureml:{watched.name}@latest")
    orphan.folder = folders / "orphan"
    orphan.write()
    before, began = len(watched.runs()), datetime.now(UTC)

    try:
        rows = [watched.watch() for _ in range(2)]
    finally:
        shutil.rmtree(broken)
        shutil.rmtree(orphan.folder)

    assert [row["verdict"] for row in rows] == ["up_to_date", "up_to_date"]
    table = watched.table()
    assert [table[name]["verdict"] for name in ("broken", "orphan")] == ["error", "error"]
    assert "smoke_test: is missing" in table["broken"]["reason"]
    assert table["orphan"]["reason"].startswith("there is no Prefect deployment deploy-endpoint/orphan")
    told = [one["resource"]["prefect.resource.id"] for one in watched.events("rollway.folder.broken", began)]
    assert sorted(told) == ["rollway.rollout.broken", "rollway.rollout.orphan"]
    assert len(watched.runs()) == before


def test_an_order_to_promote_that_nobody_carried_out_is_carried_out(watched: Watched) -> None:
    _, canary = leave_canary(watched, Order.PROMOTE)

    row = watched.watch()
    steered = {"flows": {"name": {"any_": ["steer-rollout"]}}, "flow_runs": {"id": {"any_": [row["flow run"]]}}}
    watched.wait_for(lambda: watched.ask("flow_runs", **steered)[0]["state_type"] in ENDED, "end of the order")

    assert (row["verdict"], row["reason"]) == ("start", "nobody carries out: promote by ann: because")
    (run,) = watched.ask("flow_runs", **steered)
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    assert watched.serving() == {canary: 100}
    assert (watched.record().command, watched.record().pause_reason) == (None, "")


def test_a_workspace_that_cannot_be_read_fails_the_watcher(watched: Watched) -> None:
    watcher = watched.start_watcher(AZUREML_WORKSPACE="absent")
    errors = watcher.communicate(timeout=TIMEOUT_SECONDS)[1]

    assert watcher.returncode != 0
    assert f"1 rollouts could not be watched: {watched.name}" in errors
    assert "cannot reach the Azure ML workspace 'absent'" in errors


def test_each_finding_is_an_event_for_automations(watched: Watched) -> None:
    found = watched.events("rollway.folder.")

    started = [one for one in found if one["event"] == "rollway.folder.start"]
    assert {one["resource"]["prefect.resource.id"] for one in started} == {f"rollway.rollout.{watched.name}"}
    assert {"1", "100"} <= {one["payload"]["version"] for one in started}
    assert {"rollway.folder.up_to_date", "rollway.folder.held_back"} <= {one["event"] for one in found}


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        ({"type": "SCHEDULED", "seconds": 86_400}, False),
        ({"type": "SCHEDULED", "seconds": -1}, True),
        ({"type": "SCHEDULED", "name": "Late", "seconds": -60}, True),
        ({"type": "SCHEDULED", "name": "AwaitingRetry", "seconds": 3600}, True),
        ({"type": "PENDING"}, True),
        ({"type": "RUNNING"}, True),
        ({"type": "PAUSED"}, True),
        ({"type": "CANCELLING"}, True),
        *(({"type": name}, False) for name in ENDED),
    ],
    ids=lambda one: str(one.get("name", one["type"])) + str(one.get("seconds", "")) if isinstance(one, dict) else "",
)
def test_a_run_counts_until_it_has_ended_but_not_before_it_is_due(
    watched: Watched, state: dict[str, Any], counts: bool
) -> None:
    details, seconds = {}, state.pop("seconds", None)
    if seconds is not None:
        details = {"scheduled_time": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()}
    watched.pause_workers(is_paused=True)
    try:
        body = {"parameters": {"rollout": watched.name}, "state": {**state, "state_details": details}}
        made = watched.api.post(f"/deployments/{watched.deployment_id}/create_flow_run", json=body)
        run = made.raise_for_status().json()["id"]
        url = f"{watched.world.stack.ui_url}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            found = asyncio.run(watching.runs_under_way(datetime.now(UTC)))
        watched.api.delete(f"/flow_runs/{run}").raise_for_status()
    finally:
        watched.pause_workers(is_paused=False)

    assert (watched.name in found and str(found[watched.name].id) == run) is counts


def test_a_run_that_its_worker_has_never_started_blocks_its_folder_for_half_an_hour(watched: Watched) -> None:
    watched.pause_workers(is_paused=True)
    try:
        body = {"parameters": {"rollout": watched.name}, "state": {"type": "PENDING", "name": "Submitting"}}
        made = watched.api.post(f"/deployments/{watched.deployment_id}/create_flow_run", json=body)
        run = made.raise_for_status().json()["id"]
        now, url = datetime.now(UTC), f"{watched.world.stack.ui_url}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            found = [asyncio.run(watching.runs_under_way(now + timedelta(minutes=after))) for after in (29, 31)]
    finally:
        watched.pause_workers(is_paused=False)

    assert [watched.name in runs for runs in found] == [True, False]
    assert watched.api.get(f"/flow_runs/{run}").json()["state"]["message"] == NEVER_STARTED_MESSAGE


def shipped_deployment(api: httpx.Client) -> dict[str, Any]:
    found = api.get("/deployments/name/deploy-endpoint/diabetes").raise_for_status().json()
    kept = (
        "flow_id",
        "entrypoint",
        "path",
        "pull_steps",
        "work_pool_name",
        "job_variables",
        "parameter_openapi_schema",
    )
    return {key: found[key] for key in kept}


def watches(watched: Watched, *states: str) -> list[dict[str, Any]]:
    """Runs of the watcher's Prefect deployment in these states."""
    of_states = {"state": {"type": {"any_": list(states)}}}
    deployment = {"name": {"any_": ["watch-endpoints"]}}
    return watched.ask("flow_runs", deployments=deployment, flow_runs=of_states)
