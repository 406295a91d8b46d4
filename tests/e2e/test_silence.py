"""The check of a silent run against a real Prefect server: what it knows of a run's heartbeats."""

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.settings import PREFECT_API_URL, temporary_settings

from rollway.local.stack import Stack
from rollway.prefect.silence import CRASHED_MESSAGE, HEARTBEAT_EVENT, crash_if_silent
from tests.support.prefect_api import TIMEOUT_SECONDS, PrefectApi


def test_a_heartbeat_that_the_server_got_keeps_a_run_alive(stack: Stack) -> None:
    api = PrefectApi(stack)
    flow = api.post("/flows/", {"name": f"silent-{uuid.uuid4()}"})["id"]
    run = api.post("/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})
    started, heard = datetime.fromisoformat(run["state"]["timestamp"]), beat(api, run["id"])
    # Silent for too long since it started, but not since its heartbeat.
    now = heard + timedelta(seconds=90) - (heard - started) / 2

    with temporary_settings({PREFECT_API_URL: f"{stack.ui_url}/api"}):
        found = [asyncio.run(crash_if_silent(UUID(run["id"]), now, limit)) for limit in (90, 60, 60)]

    assert [text.partition(" for ")[0].partition(":")[0] for text in found] == [
        "it is alive",
        "it was silent",
        "it is Crashed, not running",
    ]
    assert api.flow_run(run["id"])["state"]["message"] == CRASHED_MESSAGE


def beat(api: PrefectApi, run: str) -> datetime:
    """Send a heartbeat of a run; return when the server got it."""
    event = {
        "event": HEARTBEAT_EVENT,
        "occurred": datetime.now(UTC).isoformat(),
        "id": str(uuid.uuid4()),
        "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
    }
    api.http.post("/events", json=[event]).raise_for_status()
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not (found := api.post("/events/filter", {"filter": {"id": {"id": [event["id"]]}}})["events"]):
        assert time.monotonic() < deadline, "the server has not stored the heartbeat"
        time.sleep(0.3)
    return datetime.fromisoformat(found[0]["received"])
