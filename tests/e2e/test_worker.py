"""The same rollout, started from the Prefect UI: its API creates the run, and a worker carries it out."""

import time
from typing import Any

import httpx

from tests.world import World

RUN_TIMEOUT_SECONDS = 180


def test_a_run_created_through_the_ui_is_carried_out_by_a_worker(world: World) -> None:
    worker = world.stack.start_worker()
    try:
        rollout = world.make_rollout()
        api = httpx.Client(base_url=f"{world.stack.ui_url}/api", timeout=30)
        deployment = api.get("/deployments/name/deploy-endpoint/diabetes").raise_for_status().json()

        run = api.post(
            f"/deployments/{deployment['id']}/create_flow_run", json={"parameters": {"rollout": rollout.write()}}
        ).raise_for_status()
        state = wait_until_ended(api, run.json()["id"])

        assert state["name"] == "Completed", state["message"]
        assert world.rest.score(rollout.name, {"data": [[1.0]]}).json()["answer"] == 42
    finally:
        worker.stop()


def test_parameters_that_are_wrong_are_refused_before_anything_starts(world: World) -> None:
    worker = world.stack.start_worker()
    worker.stop()
    api = httpx.Client(base_url=f"{world.stack.ui_url}/api", timeout=30)
    deployment = api.get("/deployments/name/deploy-endpoint/diabetes").raise_for_status().json()

    answer = api.post(f"/deployments/{deployment['id']}/create_flow_run", json={"parameters": {"dry_run": "perhaps"}})

    assert answer.status_code == 409
    assert "dry_run" in answer.json()["detail"]


def wait_until_ended(api: httpx.Client, run_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
    while True:
        state: dict[str, Any] = api.get(f"/flow_runs/{run_id}").raise_for_status().json()["state"]
        if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") or time.monotonic() > deadline:
            return state
        time.sleep(0.5)
