"""Retry and Cancel, as the Prefect UI does them, with process workers."""

from collections.abc import Iterator
from typing import Any

import pytest

from rollway.local.stack import Stack
from tests.support.prefect_api import PrefectApi
from tests.support.world import HELD_SECONDS, World

FORBIDDEN = {"status": 403, "body": {"error": {"code": "AuthorizationFailed", "message": "not today"}}, "count": None}


@pytest.fixture(scope="module")
def workers(stack: Stack, variables: dict[str, str]) -> Iterator[None]:
    """Two workers of one pool: whichever asks first carries an attempt out."""
    workers = [stack.start_worker(), stack.add_worker()]
    yield
    for worker in workers:
        worker.stop()


@pytest.fixture
def api(world: World, workers: None) -> Iterator[PrefectApi]:
    """Prefect's API; no fault is left behind."""
    yield PrefectApi(world.stack)
    world.rest.clear_faults()


def test_each_retry_goes_on_where_the_run_failed_and_does_nothing_twice(world: World, api: PrefectApi) -> None:
    rollout = world.make_rollout()
    endpoint = f"/onlineEndpoints/{rollout.name}"
    failures: list[tuple[tuple[str, ...], list[dict[str, Any]]]] = [  # what is to fail, and the requests that make it
        (("register ", "resolve "), [{"path": "/environments/"}, {"path": "/models/"}]),
        (("resolve ",), [{"path": "/models/"}]),
        (("plan",), [{"method": "GET", "path": f"{endpoint}$", "count": 1}]),
        (("create endpoint ",), [{"method": "PUT", "path": f"{endpoint}$"}]),
        (("create main-",), [{"method": "PUT", "path": f"{endpoint}/deployments/"}]),
        (("wait ",), [{"method": "GET", "path": f"{endpoint}/deployments/[^/]+$", "after": 1}]),
        (("smoke test ",), [{"method": "POST", "path": f"{endpoint}/listKeys"}]),
        (("move ",), [{"method": "PUT", "path": f"{endpoint}$"}]),
        (("smoke test ",), [{"method": "POST", "path": f"{endpoint}/listKeys", "after": 1}]),
        (("promote ",), [{"method": "PATCH", "path": f"{endpoint}$"}]),
    ]
    run_id = ""
    for attempt, (prefixes, faults) in enumerate(failures, start=1):
        for fault in faults:
            world.rest.fault(**{**FORBIDDEN, **fault})
        if run_id:
            api.retry(run_id)
        else:
            run_id = api.run("deploy-endpoint/diabetes", rollout=rollout.write())

        state = api.wait(run_id, attempt=attempt)
        world.rest.clear_faults()

        for prefix in prefixes:
            api.wait_until_recorded(run_id, prefix, attempt=attempt, state="Failed")
        failed = api.names_in("Failed", run_id, attempt)
        assert state["name"] == "Failed", (attempt, state["name"], api.logs(run_id))
        assert {name for name in failed if name.startswith(prefixes)} == failed, (attempt, api.logs(run_id))
        assert len(failed) == len(prefixes)
        assert api.names_in("Cached", run_id, attempt) == set(), "every attempt finds its own work"

    last = len(failures) + 1
    api.retry(run_id)
    state = api.wait(run_id, attempt=last)
    api.wait_until_recorded(run_id, "report", attempt=last)

    assert state["name"] == "Completed", api.logs(run_id)
    puts = [one for one in world.rest.writes(to=f"{endpoint}/deployments/") if one.startswith("PUT")]
    assert len(puts) == 2, "one was refused, one carried out"
    assert not any(name.startswith("move ") for name in api.names_in("Completed", run_id, last))
    assert world.rest.score(rollout.name, {"data": [[1.0]]}).json()["answer"] == 42
    assert len(world.rest.online_deployments(rollout.name)) == 1


def test_cancel_in_any_task_restores_traffic_and_a_retry_continues(world: World, api: PrefectApi) -> None:
    rollout = world.make_rollout()
    endpoint = f"/onlineEndpoints/{rollout.name}"
    stuck = {"method": "PUT", "operation": "stuck"}
    # Until the faults are cleared; a smoke test waits longer for each of its two answers.
    unanswered = {"path": f"/{rollout.name}/score$", "delay_seconds": HELD_SECONDS, "count": None}
    holds: list[tuple[str, dict[str, Any]]] = [  # the task to cancel in, and the fault that holds it
        ("create endpoint ", {**stuck, "path": f"{endpoint}$"}),
        ("wait ", {**stuck, "path": f"{endpoint}/deployments/"}),
        ("(pinned)", unanswered),
        ("move ", {**stuck, "path": f"{endpoint}$"}),
        ("(by traffic)", {**unanswered, "after": 2}),  # the pinned test has two requests
    ]
    run_id = ""
    for attempt, (task, fault) in enumerate(holds, start=1):
        world.rest.fault(**fault)
        if run_id:
            api.retry(run_id)
        else:
            run_id = api.run("deploy-endpoint/diabetes", rollout=rollout.write())
        api.wait_until_begun(run_id, task, attempt=attempt)

        api.cancel(run_id)
        api.wait_until_stopped(run_id, attempt=attempt)
        world.rest.clear_faults()  # the abort waits for what is running in Azure
        state = api.wait(run_id, attempt=attempt)

        assert state["name"] == "Cancelled", (attempt, api.logs(run_id))
        serving = world.rest.settled_traffic(rollout.name) or {}
        assert not any(serving.values()), (attempt, "nothing serves, as before", api.logs(run_id))

    api.retry(run_id)
    state = api.wait(run_id, attempt=len(holds) + 1)

    assert state["name"] == "Completed", api.logs(run_id)
    puts = [one for one in world.rest.writes(to=f"{endpoint}/deployments/") if one.startswith("PUT")]
    assert len(puts) == 1, "what the cancelled attempts created was adopted"
    assert world.rest.score(rollout.name, {"data": [[1.0]]}).json()["answer"] == 42
