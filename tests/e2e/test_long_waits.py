"""Long waits of rollouts by workers, in front of Microsoft's inference servers.

A long bake and a long provisioning hold no process: the run sets its own wake-up, and any worker goes on.
"""

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rollway.local.stack import Stack
from rollway.rollout.facts import LOOK_SECONDS
from rollway.rollout.record import EndpointRecord, with_record
from tests.support.prefect_api import PrefectApi
from tests.support.rest import Client
from tests.support.world import FIXTURES, Rollout, World

DAY = 86_400
GOOD = "\n# another version\n"
BAD = '''

_answer, _count = run, 0


def run(raw_data):
    """Fail one request in four."""
    global _count
    _count += 1
    if _count % 4 == 0:
        raise RuntimeError("a bad version")
    return _answer(raw_data)
'''
PROGRESSIVE = {
    "strategy": "progressive",
    "steps": [{"weight": 50, "bake_seconds": DAY}, {"weight": 100, "bake_seconds": 2}],
    "judge": {"source": "probes", "minimum_requests": 20, "probes": {"requests_per_second": 20}},
}


@pytest.fixture(scope="module")
def api(stack: Stack) -> Iterator[PrefectApi]:
    """Prefect's API, with two workers of one pool."""
    workers = [stack.start_worker(), stack.add_worker()]
    yield PrefectApi(stack)
    for worker in workers:
        worker.stop()


@pytest.fixture
def waiting(world: World, api: PrefectApi) -> tuple[Rollout, str, str]:
    """A rollout whose run waits for the end of a bake of a day: its folder, the run and stable."""
    rollout = world.make_rollout(request_settings={"max_concurrent_requests_per_instance": 10})
    rollout.rollout |= PROGRESSIVE
    assert world.deploy(rollout).returncode == 0
    (stable,) = world.rest.online_deployments(rollout.name)
    rollout.online_deployment["environment_variables"] = {"A": "1"}
    run = api.run("deploy-endpoint/diabetes", rollout=rollout.write())
    world.wait_for(lambda: api.flow_run(run)["state"]["name"] in ("AwaitingRetry", "Failed"), "run that waits")
    return rollout, run, stable


def processes_of(run: str) -> list[str]:
    """Return the ids of the processes whose environment names a flow run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if run.encode() in path.read_bytes():
                found.append(path.parent.name)
        except OSError:  # it has ended
            continue
    return found


def serving(world: World, rollout: Rollout) -> dict[str, int]:
    return {name: weight for name, weight in (world.rest.traffic(rollout.name) or {}).items() if weight}


def change_record(world: World, rollout: Rollout, **changes: Any) -> None:
    """Let the endpoint remember other times of the rollout that is under way."""
    tags = world.rest.tags(rollout.name)
    record = EndpointRecord.of(tags)
    assert record.underway is not None
    assert record.progression is not None
    changed = record.going_on(record.underway.model_copy(update=changes), record.progression)
    world.rest.set_tags(rollout.name, with_record(tags, changed))


def wake(api: PrefectApi, run: str) -> None:
    """Start a waiting run now, as its own time would."""
    state = {
        "type": "SCHEDULED",
        "name": "AwaitingRetry",
        "message": api.flow_run(run)["state"]["message"],
        "state_details": {"scheduled_time": datetime.now(UTC).isoformat()},
    }
    assert api.post(f"/flow_runs/{run}/set_state", {"state": state})["status"] == "ACCEPT"


def test_a_bake_of_a_day_holds_no_process_and_one_worker_goes_on(
    world: World, api: PrefectApi, waiting: tuple[Rollout, str, str]
) -> None:
    rollout, run, stable = waiting
    seen = api.flow_run(run)["state"]
    world.wait_for(lambda: not processes_of(run), "end of the run's process")
    slots = api.post("/v2/concurrency_limits/filter", {})

    assert seen["name"] == "AwaitingRetry", api.logs(run)
    assert seen["message"].startswith("bake: step 1 of 2 (50 %): evidence is gathered until ")
    assert sorted(serving(world, rollout).values()) == [50, 50]
    assert [one["active_slots"] for one in slots if rollout.name in one["name"]] == [0]
    assert "  step 1 of 2 (50 %)  " in world.rollway("status", rollout.name).stdout

    change_record(
        world, rollout, since=((datetime.now(UTC) - timedelta(seconds=DAY)).isoformat(timespec="milliseconds"),)
    )
    wake(api, run)
    ended = api.wait(run, attempt=2)

    assert ended["name"] == "Completed", api.logs(run)
    api.wait_until_recorded(run, "report", attempt=2)
    assert {one.state for one in api.task_runs(run)} == {"Completed"}, "no task seems to run for ever"
    assert api.flow_run(run)["run_count"] == 2, "one attempt before the bake and one after it"
    assert stable not in serving(world, rollout)
    assert list(serving(world, rollout).values()) == [100]
    assert "progress-" in " ".join(api.artifacts(run))


def test_a_long_provisioning_holds_no_process_and_one_worker_goes_on(world: World, api: PrefectApi) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    (stable,) = world.rest.online_deployments(rollout.name)
    tags = world.rest.tags(rollout.name)
    ten_minutes = EndpointRecord.of(tags).model_copy(update={"provisioning_seconds": 600})
    world.rest.set_tags(rollout.name, with_record(tags, ten_minutes))
    world.rest.fault(method="PUT", path=f"/onlineEndpoints/{rollout.name}/deployments/", operation="stuck")
    rollout.online_deployment["environment_variables"] = {"A": "1"}

    run = api.run("deploy-endpoint/diabetes", rollout=rollout.write())
    world.wait_for(lambda: api.flow_run(run)["state"]["name"] in ("AwaitingRetry", "Failed"), "run that waits")
    seen = api.flow_run(run)["state"]
    world.wait_for(lambda: not processes_of(run), "end of the run's process")

    assert (seen["name"], seen["message"]) == ("AwaitingRetry", "wait until ready: it is Creating"), api.logs(run)
    wakes = datetime.fromisoformat(seen["state_details"]["scheduled_time"])
    assert timedelta(seconds=450) < wakes - datetime.fromisoformat(seen["timestamp"]) <= timedelta(seconds=570)
    assert serving(world, rollout) == {stable: 100}

    world.rest.clear_faults()
    wake(api, run)
    ended = api.wait(run, attempt=2)

    assert ended["name"] == "Completed", api.logs(run)
    api.wait_until_recorded(run, "report", attempt=2)
    assert {one.state for one in api.task_runs(run)} == {"Completed"}
    assert list(serving(world, rollout).values()) == [100]
    assert stable not in serving(world, rollout)
    assert EndpointRecord.of(world.rest.tags(rollout.name)).provisioning_seconds == 480, (
        "it was ready when the run woke"
    )


def test_a_run_that_is_cancelled_while_it_waits_is_aborted_by_the_check_and_a_retry_begins_afresh(
    world: World, api: PrefectApi, waiting: tuple[Rollout, str, str]
) -> None:
    rollout, run, stable = waiting
    api.cancel(run)
    assert api.wait(run)["name"] == "Cancelled"
    assert sorted(serving(world, rollout).values()) == [50, 50], "no hook of a run without a process"

    check = api.run("check-silent-run/check-silent-run", flow_run_id=run)

    assert api.wait(check)["name"] == "Completed", api.logs(check)
    assert serving(world, rollout) == {stable: 100}

    api.retry(run)
    world.wait_for(lambda: api.flow_run(run)["run_count"] == 2, "start of the retry")
    world.wait_for(lambda: api.flow_run(run)["state"]["name"] != "Running", "end of its process")

    assert (api.flow_run(run)["state"]["message"] or "").startswith("bake: step 1 of 2"), api.logs(run)
    assert sorted(serving(world, rollout).values()) == [50, 50]


def test_an_abort_reaches_a_run_that_waits(world: World, api: PrefectApi, waiting: tuple[Rollout, str, str]) -> None:
    rollout, run, stable = waiting
    folders = {"ROLLWAY_DEPLOYMENTS": str(rollout.folder.parent)}

    told = world.rollway("abort", rollout.name, "--reason", "wrong answers", variables=folders)

    assert told.returncode == 0, told.stderr
    assert serving(world, rollout) == {stable: 100}
    assert api.wait(run, attempt=2)["name"] == "Completed", "it wakes, and leaves alone what somebody ended"
    assert serving(world, rollout) == {stable: 100}
    assert EndpointRecord.of(world.rest.tags(rollout.name)).pause_reason.endswith(": wrong answers")


def test_promote_reaches_a_run_that_waits(world: World, api: PrefectApi, waiting: tuple[Rollout, str, str]) -> None:
    rollout, run, stable = waiting
    folders = {"ROLLWAY_DEPLOYMENTS": str(rollout.folder.parent)}

    told = world.rollway("promote", rollout.name, "--reason", "it looks good", variables=folders)

    assert told.returncode == 0, told.stderr
    assert api.wait(run, attempt=2)["name"] == "Completed", api.logs(run)
    assert list(serving(world, rollout).values()) == [100]
    assert stable not in serving(world, rollout)


def test_workers_promote_a_good_canary_and_catch_a_bad_one_while_a_client_scores(
    world: World, api: PrefectApi, record_property: Callable[[str, object], None]
) -> None:
    rollout = world.make_rollout(request_settings={"max_concurrent_requests_per_instance": 10})
    assert world.deploy(rollout).returncode == 0
    rollout.rollout |= {
        "strategy": "progressive",
        "steps": [{"weight": 50, "bake_seconds": 8}, {"weight": 100, "bake_seconds": 8}],
        "judge": {"source": "probes", "minimum_requests": 80, "probes": {"requests_per_second": 20}},
    }
    code = world.tmp_path / "code"
    shutil.copytree(FIXTURES / "good", code)
    rollout.online_deployment["code_configuration"]["code"] = str(code)
    client = Client(world.rest, rollout.name, pause_seconds=0.05)
    client.start()
    try:
        (code / "score.py").write_text((code / "score.py").read_text() + GOOD)
        good = api.run("deploy-endpoint/diabetes", rollout=rollout.write())
        promoted = api.wait(good)["name"]
        good_statuses, serves = set(client.statuses), serving(world, rollout)
        (code / "score.py").write_text((code / "score.py").read_text() + BAD)
        bad = api.run("deploy-endpoint/diabetes", rollout=rollout.write())
        caught = api.wait(bad)
    finally:
        client.stop()
    failed = [status for status in client.statuses if status != 200]
    judged, restored = map(datetime.fromisoformat, api.span(bad, "look at", "abort"))
    after = (restored - judged).total_seconds()
    counted = f"{len(failed)} of {len(client.statuses)} requests failed"
    record_property("cells", f"a worker's bad canary: {counted}; {after:.1f} s from the verdict to 100 % for stable")

    assert promoted == "Completed", api.logs(good)
    assert (good_statuses, list(serves.values())) == ({200}, [100])
    assert (caught["name"], serving(world, rollout)) == ("Failed", serves), api.logs(bad)
    assert "is worse than stable" in caught["message"]
    assert set(failed) <= {424}, "the canary answered, badly"
    assert after < LOOK_SECONDS
    # A quarter of half of the requests, while the bad one has traffic.
    assert len(failed) < len(client.statuses) / 8
