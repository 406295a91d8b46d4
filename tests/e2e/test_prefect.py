"""Task runs, tags and artifacts of a rollout in Prefect."""

import subprocess
from typing import Any

from tests.support.prefect_api import PrefectApi
from tests.support.world import World

TASKS = {
    "read rollout",
    "connect",
    "resolve model",
    "register environment",
    "plan",
    "create endpoint",
    "create online deployment",
    "wait until ready",
    "smoke test",
    "move traffic",
    "smoke test live",
    "promote",
    "report",
}

ENDS_HELD = """
import asyncio
from datetime import UTC, datetime
from prefect import flow
from prefect.runtime import flow_run
from rollway.prefect import fleet
from rollway.prefect.ending import ended, run_here
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.rollout.fleet import Member
from tests.support.builders import a_plan

ids = []

@flow
async def end_held() -> RolloutReport:
    ids.append(str(flow_run.id))
    report = dict(rollout="a", plan=a_plan(), scoring_uri=None, traffic_after={}, end="told to hold by ann")
    return ended(RolloutReport(outcome=RolloutOutcome.HELD, **report))

async def main():
    report = await run_here(end_held)
    (member,) = await fleet.read([Member(rollout="a", wave=1, run=ids[0])], datetime.now(UTC))
    print(ids[0], type(report).__name__, report.outcome.value, member.progress.value, member.why, sep=" | ")

asyncio.run(main())
"""


def ask(world: World, what: str, **filters: Any) -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = PrefectApi(world.stack).post(f"/{what}/filter", filters)
    return result


def flow_run_of(world: World, folder: str) -> dict[str, Any]:
    runs = ask(world, "flow_runs", flow_runs={"name": {"like_": folder}})
    return runs[0]


def test_each_task_has_a_task_run_with_its_own_name_and_state(world: World) -> None:
    rollout = world.make_rollout()
    rollout.folder = rollout.folder.with_name(rollout.name)
    assert world.deploy(rollout).returncode == 0

    run = flow_run_of(world, rollout.name)
    PrefectApi(world.stack).wait_until_recorded(run["id"], "report")
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    task_runs = ask(world, "task_runs", **of_run)
    names = {one["name"] for one in task_runs}

    assert run["state_name"] == "Completed"
    assert len(task_runs) == len(TASKS), f"one task run per task: {sorted(names)}"
    assert {one["state_name"] for one in task_runs} == {"Completed"}


def test_a_failed_rollout_shows_the_abort_and_leaves_its_reason_as_an_artifact(world: World) -> None:
    rollout = world.make_rollout("broken_init")
    rollout.folder = rollout.folder.with_name(rollout.name)
    assert world.deploy(rollout).returncode == 3

    run = flow_run_of(world, rollout.name)
    PrefectApi(world.stack).wait_until_recorded(run["id"], "abort: restore traffic")
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    states = {one["name"]: one["state_name"] for one in ask(world, "task_runs", **of_run)}
    artifacts = {one["key"]: one["data"] for one in ask(world, "artifacts", **of_run)}
    logs = "\n".join(one["message"] for one in ask(world, "logs", logs={"flow_run_id": {"any_": [run["id"]]}}))

    assert run["state_name"] == "Failed"
    assert states["abort: restore traffic"] == "Completed"
    assert "Failed" in states.values()
    assert "RuntimeError: broken_init" in artifacts[f"failure-{rollout.name}"]
    assert "online deployment main-" in artifacts[f"failure-{rollout.name}"]
    assert "prefect/task_engine.py" not in logs, "our own errors come without Prefect's traceback"


def test_a_run_that_ends_held_is_completed_for_prefect_and_held_for_a_fleet(world: World) -> None:
    command = [world.python, "-c", ENDS_HELD]
    done = subprocess.run(command, env=world.variables, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    run_id, *told = done.stdout.strip().split(" | ")
    assert told == ["RolloutReport", "held", "held", "told to hold by ann"]
    (run,) = ask(world, "flow_runs", flow_runs={"id": {"any_": [run_id]}})
    assert (run["state_type"], run["state_name"]) == ("COMPLETED", "Completed")
    assert run["state"]["message"] == "held: told to hold by ann"
