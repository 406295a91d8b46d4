"""From an event of Event Grid to a run of the watcher: `rollway webhook` as a process, and a real Prefect server."""

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.support.waiting import wait_for
from tests.support.world import World
from tests.unit.event_grid.test_messages import cloud_event, event_grid

SECRET = "0123456789-0123456789"
FLOW, DEPLOYMENT = "watch-endpoints", "watch-endpoints"
WAIT_SECONDS = 300


@contextmanager
def running_webhook(variables: Mapping[str, str]) -> Iterator[Callable[[Any], httpx.Response]]:
    """Run the webhook like a user, and yield a function that delivers to it once; its log must not hold the secret."""
    command = [sys.executable, "-m", "rollway", "webhook", "--port", "0"]
    with subprocess.Popen(
        command,
        env={**variables, "ROLLWAY_WEBHOOK_SECRET": SECRET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            url = process.stdout.readline().strip()
            assert url, process.stderr.read()
            with httpx.Client(params={"code": SECRET}, trust_env=False, timeout=WAIT_SECONDS) as client:
                yield lambda document: client.post(url, json=document)
        finally:
            process.terminate()
            assert SECRET not in process.stderr.read()


def deliver_until_taken(deliver: Callable[[Any], httpx.Response], document: Any) -> httpx.Response:
    """Deliver again while it could not be handled in time, as Event Grid does; return the other answer."""

    def taken() -> httpx.Response | None:
        answer = deliver(document)
        return None if answer.status_code in (408, 503) else answer

    return wait_for(taken, "delivery that was taken", WAIT_SECONDS)


@pytest.fixture
def prefect(world: World) -> Iterator[httpx.Client]:
    """A client of Prefect's API, which knows the watcher; runs that the test creates are deleted."""
    with httpx.Client(base_url=f"{world.stack.ui_url}/api", timeout=WAIT_SECONDS) as api:
        if api.get(f"/deployments/name/{FLOW}/{DEPLOYMENT}").status_code == 404:
            flow = api.post("/flows/", json={"name": FLOW}).raise_for_status().json()["id"]
            api.post("/deployments/", json={"name": DEPLOYMENT, "flow_id": flow}).raise_for_status()
        before = {one["id"] for one in runs(api)}
        yield api
        for run in runs(api):
            if run["id"] not in before:
                api.delete(f"/flow_runs/{run['id']}").raise_for_status()


def runs(api: httpx.Client) -> list[dict[str, Any]]:
    """Return the watcher's runs that an event started."""
    found = api.post("/flow_runs/filter", json={"flows": {"name": {"any_": [FLOW]}}}).raise_for_status().json()
    return [one for one in found if str(one["idempotency_key"]).startswith("event-grid-")]


def test_an_event_starts_one_run_of_the_watcher_even_if_it_is_delivered_often_and_in_both_schemas(
    world: World, prefect: httpx.Client
) -> None:
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    before = len(runs(prefect))

    with running_webhook(world.variables) as deliver:
        answers = [deliver_until_taken(deliver, [event_grid(id=first)]) for _ in range(2)]
        answers.append(deliver_until_taken(deliver, cloud_event(id=first)))
        after_one = len(runs(prefect))
        answers.append(deliver_until_taken(deliver, [event_grid(id=first), event_grid(id=second)]))
        answers.append(deliver_until_taken(deliver, [event_grid(id=second), event_grid(id=first)]))

    assert [(one.status_code, one.json()["models"]) for one in answers] == [(200, 1)] * 3 + [(200, 2)] * 2
    assert after_one - before == 1
    assert len(runs(prefect)) - before == 2


def test_while_prefect_is_unreachable_event_grid_is_asked_to_deliver_again(world: World) -> None:
    away = {**world.variables, "PREFECT_API_URL": "http://127.0.0.1:9/api"}

    with running_webhook(away) as deliver:
        answer = deliver([event_grid()])

    assert (answer.status_code, answer.json()) == (
        503,
        {"error": "the Prefect server cannot be notified of new models"},
    )


def test_without_a_prefect_server_the_webhook_does_not_start(world: World) -> None:
    done = world.rollway(
        "webhook", "--port", "0", variables={"PREFECT_API_URL": None, "ROLLWAY_WEBHOOK_SECRET": SECRET}
    )

    assert done.returncode == 2
    assert "error: no Prefect server is configured to notify of new models" in done.stderr
    assert "PREFECT_API_URL" in done.stderr
