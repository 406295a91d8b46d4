"""The local Prefect server on SQLite, while several clients write to the same flow run."""

import asyncio
import uuid
from collections import Counter
from pathlib import Path

import httpx

from rollway.local.stack import temporary_stack

ROUNDS = 40


async def write_side_by_side(url: str) -> Counter[int]:
    """Change labels, write logs and emit events for one flow run, all at the same time; return the statuses."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        flow = (await client.post("/flows/", json={"name": "busy"})).raise_for_status().json()["id"]
        state = {"type": "RUNNING", "name": "Running"}
        created = await client.post("/flow_runs/", json={"flow_id": flow, "state": state})
        run, statuses = created.raise_for_status().json()["id"], Counter[int]()

        async def repeat(method: str, path: str, body: object) -> None:
            for _ in range(ROUNDS):
                statuses[(await client.request(method, path, json=body)).status_code] += 1

        at = "2026-01-01T00:00:00Z"
        log = {"name": "busy", "level": 20, "message": "a line", "timestamp": at, "flow_run_id": run}
        artifact = {"key": "busy", "type": "markdown", "data": "text", "flow_run_id": run}
        await asyncio.gather(
            *(repeat("PATCH", f"/flow_runs/{run}/labels", {f"label-{number}": "x"}) for number in range(3)),
            *(repeat("POST", "/logs/", [log] * 5) for _ in range(2)),
            *(repeat("POST", "/artifacts/", {**artifact, "key": uuid.uuid4().hex}) for _ in range(2)),
        )
    return statuses


def test_no_write_is_refused_because_another_one_was_faster(tmp_path: Path) -> None:
    with temporary_stack(tmp_path / "stack", lambda _: None) as stack:
        stack.start_prefect()
        stack.wait_for_prefect()

        statuses = asyncio.run(write_side_by_side(f"{stack.ui_url}/api"))

    assert set(statuses) <= {200, 201, 204}, "503 is `database is locked`"
    assert statuses.total() == 7 * ROUNDS
