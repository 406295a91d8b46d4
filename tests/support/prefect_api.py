"""A witness over Prefect's plain REST API: what the UI's buttons do, and what its pages show."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from rollway.local.stack import Stack
from tests.support.processes import is_running
from tests.support.waiting import wait_for

TIMEOUT_SECONDS = 300
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class TaskRun:
    """One task run: the attempt of the flow run, its name, its state and the message of the state."""

    attempt: int
    name: str
    run_name: str
    state: str
    message: str


class Patient(httpx.HTTPTransport):
    """Asks again while Prefect's small database is locked (503), as Prefect's own client does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while (response := super().handle_request(request)).status_code == 503 and time.monotonic() < deadline:
            response.close()  # back into the pool
            time.sleep(0.5)
        return response


def store_event(api: httpx.Client, name: str, resource: str) -> dict[str, Any]:
    """Send an event; return it as the server has stored it. Then it has stored all that came before, too."""
    event = {
        "event": name,
        "occurred": datetime.now(UTC).isoformat(),
        "id": str(uuid.uuid4()),
        "resource": {"prefect.resource.id": resource},
    }
    api.post("/events", json=[event]).raise_for_status()

    def stored() -> list[dict[str, Any]]:
        wanted = {"filter": {"id": {"id": [event["id"]]}}}
        found: list[dict[str, Any]] = api.post("/events/filter", json=wanted).raise_for_status().json()["events"]
        return found

    return wait_for(stored, f"event {name}", TIMEOUT_SECONDS)[0]


class PrefectApi:
    """Starts, retries and cancels flow runs as the UI does."""

    def __init__(self, stack: Stack, url: str | None = None) -> None:
        self.http = httpx.Client(base_url=url or f"{stack.ui_url}/api", timeout=120, transport=Patient())

    def post(self, path: str, body: Any) -> Any:
        """The answer to a POST, which must not be an error."""
        return self.http.post(path, json=body).raise_for_status().json()

    def run(self, deployment: str, **parameters: Any) -> str:
        """Creates a flow run of a Prefect deployment, `<flow>/<name>`, and gives its id.

        As with the form's switch "Enforce Parameter Schema" off, so that a rollout may be any folder's path.
        """
        found = self.http.get(f"/deployments/name/{deployment}").raise_for_status().json()
        body = {"parameters": parameters, "enforce_parameter_schema": False}
        run = self.post(f"/deployments/{found['id']}/create_flow_run", body)
        return str(run["id"])

    def retry(self, run_id: str) -> None:
        """The Retry button, with the message that both UIs send."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Retry from the UI"}
        answer = self.post(f"/flow_runs/{run_id}/set_state", {"state": state, "force": True})
        assert answer["status"] == "ACCEPT", answer

    def cancel(self, run_id: str) -> None:
        """The Cancel button."""
        self.post(f"/flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}, "force": True})

    def artifact_ids(self, run_id: str) -> dict[str, str]:
        """The ids of the artifacts of a flow run by key."""
        rows = self.post("/artifacts/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        return {row["key"]: row["id"] for row in rows if row["key"]}

    def flow_run(self, run_id: str) -> dict[str, Any]:
        """The flow run as Prefect has it now."""
        run: dict[str, Any] = self.http.get(f"/flow_runs/{run_id}").raise_for_status().json()
        return run

    def wait(self, run_id: str, *, attempt: int = 1) -> dict[str, Any]:
        """The state in which that attempt ended, once it has."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            run = self.flow_run(run_id)
            state: dict[str, Any] = run["state"]
            if state["type"] in ENDED and (run["run_count"] >= attempt or not run["run_count"]):
                return state
            assert time.monotonic() < deadline, f"still {state['name']} after {TIMEOUT_SECONDS} s\n{self.logs(run_id)}"
            time.sleep(0.3)

    def wait_until_begun(self, run_id: str, task: str, *, attempt: int = 1) -> None:
        """Wait until that attempt has started a task with that text in its name."""
        self._wait(run_id, task, lambda: self._has_begun(run_id, task, attempt))

    def wait_until_stopped(self, run_id: str, *, attempt: int = 1) -> None:
        """Until a cancelled attempt undoes what it did, or its process is gone: then its worker does."""
        self._wait(run_id, "abort", lambda: self._has_begun(run_id, "abort", attempt) or not self._lives(run_id))

    def wait_until_recorded(self, run_id: str, task: str, *, attempt: int = 1, state: str = "Completed") -> None:
        """Wait until that attempt has a task in that state, whose name begins so.

        The server records task runs in batches, in their order: then it has all that came before.
        """
        self._wait(run_id, task, lambda: any(one.startswith(task) for one in self.names_in(state, run_id, attempt)))

    def _wait(self, run_id: str, task: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not is_so():
            assert time.monotonic() < deadline, f"{task}: still not\n{self.logs(run_id)}"
            time.sleep(0.1)

    def _has_begun(self, run_id: str, task: str, attempt: int) -> bool:
        found = [one for one in self.task_runs(run_id) if one.attempt == attempt and task in one.run_name]
        return any(one.state != "Pending" for one in found)

    def _lives(self, run_id: str) -> bool:
        return is_running(int(self.flow_run(run_id)["infrastructure_pid"].rpartition(":")[2]))

    def task_runs(self, run_id: str) -> list[TaskRun]:
        """All task runs so far, oldest first."""
        rows = self.post(
            "/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "EXPECTED_START_TIME_ASC"}
        )
        return [
            TaskRun(
                attempt=row["flow_run_run_count"],
                name=row["task_key"].rpartition(".")[2].split("-")[0].replace("_", " "),
                run_name=row["name"],
                state=row["state_name"],
                message=(row["state"] or {}).get("message") or "",
            )
            for row in rows
        ]

    def names_in(self, state: str, run_id: str, attempt: int) -> set[str]:
        """The names of the task runs of that attempt that are in a state so far."""
        return {one.run_name for one in self.task_runs(run_id) if (one.attempt, one.state) == (attempt, state)}

    def span(self, run_id: str, first: str, last: str) -> tuple[str, str]:
        """Return when the task of the first prefix ended, and when that of the last prefix ended."""
        self.wait_until_recorded(run_id, last)
        rows = self.post("/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}})
        first_end, last_end = (
            next(row["end_time"] for row in rows if row["name"].startswith(prefix)) for prefix in (first, last)
        )
        return first_end, last_end

    def artifacts(self, run_id: str) -> dict[str, str]:
        """The artifacts of a flow run by key; of several versions the last."""
        rows = self.post("/artifacts/filter", {"flow_runs": {"id": {"any_": [run_id]}}, "sort": "CREATED_DESC"})
        return {row["key"]: row["data"] for row in reversed(rows) if row["key"]}

    def logs(self, run_id: str) -> str:
        """Everything that the flow run has logged."""
        rows = self.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(row["message"] for row in rows)
