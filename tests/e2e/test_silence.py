"""The check of a silent run against a real Prefect server: what it knows of a run's heartbeats."""

import asyncio
import uuid
from datetime import datetime, timedelta
from uuid import UUID

from prefect.settings import PREFECT_API_URL, temporary_settings

from rollway.local.stack import Stack
from rollway.prefect.silence import CRASHED_MESSAGE, HEARTBEAT_EVENT, crash_if_silent
from tests.support.prefect_api import PrefectApi, store_event


def test_a_heartbeat_that_the_server_got_keeps_a_run_alive(stack: Stack) -> None:
    api = PrefectApi(stack)
    flow = api.post("/flows/", {"name": f"silent-{uuid.uuid4()}"})["id"]
    run = api.post("/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})
    beat = store_event(api.http, HEARTBEAT_EVENT, f"prefect.flow-run.{run['id']}")
    started, heard = (datetime.fromisoformat(one) for one in (run["state"]["timestamp"], beat["received"]))
    # Silent for too long since it started, but not since its heartbeat.
    now = heard + timedelta(seconds=900) - (heard - started) / 2

    with temporary_settings({PREFECT_API_URL: f"{stack.ui_url}/api"}):
        found = [asyncio.run(crash_if_silent(UUID(run["id"]), now, limit)) for limit in (900, 600, 600)]

    assert [text.partition(" for ")[0].partition(":")[0] for text in found] == [
        "it is alive",
        "it was silent",
        "it is Crashed, not running",
    ]
    assert api.flow_run(run["id"])["state"]["message"] == CRASHED_MESSAGE
