"""Alerts arrive where a notification block sends them: each once, with what a person needs, whatever dies meanwhile.

A Prefect server of its own, because on SQLite a busy one may lose an event ("database is locked").
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.local.process import Process
from tests.support.alerting import documented_block, lines, prefect_file
from tests.support.forks import Forks
from tests.support.postgres import Postgres
from tests.support.prefect_api import ENDED, Patient, PrefectApi
from tests.support.receiver import Receiver, receiver
from tests.support.rest import Rest
from tests.support.stalls import Stalls, watching_for_stalls
from tests.support.world import FIXTURES, PatientStack, Rollout, World, start_prefect

ROOT = Path(__file__).parents[2]
RUN_TIMEOUT_SECONDS = 300
# docs/alerts.md promises it: 90 s of silence, the server looks every 5 s, and the check takes some seconds to start.
SILENCE_SECONDS = 120
WATCHER_LATE_SECONDS = 15
TOKEN = "token-of-the-receiver"
WATCH = """
import asyncio

from prefect import flow

@flow(name="watch-endpoints")
async def watch():
    pass

asyncio.run(watch())
"""

CRASHED_AGAIN = {"state": {"type": "CRASHED"}, "force": True}
NOTHING = {
    "trigger": {"type": "event", "posture": "Reactive", "expect": ["never"], "threshold": 1, "within": 0},
    "actions": [{"type": "do-nothing"}],
}


@dataclass
class Alerting:
    """Rollouts with alerts: a server, a worker and somebody who listens."""

    world: World
    api: httpx.Client
    inbox: Receiver
    rollouts: dict[str, Rollout]
    worker: Process
    lost_run: str  # of `lost`: its worker and its process were killed
    lost_at: float
    stalls: Stalls
    watched: int = 0
    retried: str = ""

    def watch(self) -> None:
        """One completed run of a flow that is called as the watcher is."""
        subprocess.run([self.world.python, "-c", WATCH], env=self.world.variables, check=True, capture_output=True)
        self.watched += 1

    def start(self, rollout: str) -> str:
        """The id of a new flow run."""
        deployment = self.ask("GET", f"/deployments/name/deploy-endpoint/{rollout}")
        return str(self.ask("POST", f"/deployments/{deployment['id']}/create_flow_run", {})["id"])

    def run(self, rollout: str) -> str:
        """The id of a flow run that has ended."""
        run = self.start(rollout)
        self.wait_until(run, lambda found: found["state"]["type"] in ENDED)
        return run

    def wait_until(self, run: str, is_so: Any) -> dict[str, Any]:
        """The flow run, once it looks as asked for."""
        deadline = time.monotonic() + RUN_TIMEOUT_SECONDS
        while not is_so(found := self.ask("GET", f"/flow_runs/{run}")):
            assert time.monotonic() < deadline, found["state"]
            time.sleep(0.5)
        return found

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """One request to the Prefect server."""
        answer = self.api.request(method, path, json=body).raise_for_status()
        found: dict[str, Any] = answer.json() if answer.status_code != 204 else {}
        return found

    def wait_until_creating(self, run: str) -> dict[str, Any]:
        """The flow run, once it waits for its online deployment."""
        return self.wait_until(run, lambda found: found["labels"].get("rollway.task", "").startswith("wait until"))

    def pid_of(self, run: dict[str, Any]) -> int:
        """The process of a flow run."""
        return int(run["infrastructure_pid"].rpartition(":")[2])


@pytest.fixture(scope="module")
def alerting(forks: Forks, postgres: Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerting]:
    folder = tmp_path_factory.mktemp("alerting")
    with (
        PatientStack(folder / "state", lambda _: None, forks.python) as stack,
        receiver() as inbox,
        watching_for_stalls() as stalls,
    ):
        stack.start_emulator()
        start_prefect(stack, postgres)
        variables = {**stack.environment(), "NO_COLOR": "1", "ROLLWAY_DEPLOYMENTS": str(folder / "deployments")}
        world = World(stack, variables, Rest(variables), folder)
        rollouts = {
            "smoke": world.make_rollout(),
            "broken": world.make_rollout("broken_init"),
            **{
                name: world.make_rollout("slow", environment_variables={"SLOW_INIT_SECONDS": "600"})
                for name in ("killed", "cancelled", "lost")
            },
        }
        for name, rollout in rollouts.items():
            rollout.folder = folder / "deployments" / name
            rollout.write()
        (folder / "flows").symlink_to(ROOT / "flows")
        (folder / "prefect.yaml").write_text(json.dumps(prefect_file(folder, rollouts)))
        subprocess.run([sys.executable, "-c", documented_block(inbox.url, TOKEN)], env=variables, check=True)

        worker = stack.start_worker(folder)
        api = httpx.Client(base_url=f"{stack.ui_url}/api", timeout=RUN_TIMEOUT_SECONDS, transport=Patient())
        made = Alerting(world, api, inbox, rollouts, worker, "", 0.0, stalls)
        assert len(apply(made)["create"]) == 5 + 4

        made.lost_run = made.start("lost")
        lost = made.wait_until_creating(made.lost_run)
        for pid in (made.worker.pid, made.pid_of(lost)):
            os.kill(pid, signal.SIGKILL)
        made.lost_at = time.monotonic()
        made.worker = stack.add_worker(folder)
        yield made

        assert_nothing_is_said_twice_or_tells_a_secret(made)


def complete_again(alerting: Alerting, rollout: str) -> None:
    """Emit the event of another completed rollout; no recovery alert may follow by the end of the tests."""
    deployment = alerting.ask("GET", f"/deployments/name/deploy-endpoint/{rollout}")
    event = {
        "event": "rollway.rollout.completed",
        "occurred": datetime.now(UTC).isoformat(),
        "id": str(uuid.uuid4()),
        "resource": {"prefect.resource.id": f"rollway.rollout.{rollout}", "rollway.after-failure": "no"},
        "related": [
            {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in deployment["tags"]
        ],
    }
    alerting.api.post("/events", json=[event]).raise_for_status()


def assert_nothing_is_said_twice_or_tells_a_secret(alerting: Alerting) -> None:
    about_rollouts = [one for one in alerting.inbox.deliveries if "watch-endpoints" not in one.subject]
    said = Counter((one.subject, one.body.rpartition("/")[2]) for one in about_rollouts)
    assert [one for one, count in said.items() if count > (2 if one[1] == alerting.retried else 1)] == []
    assert len(alerting.inbox.about("rollout smoke: works again")) <= 1
    late = alerting.inbox.about("watch-endpoints is late")
    assert len(late) <= alerting.watched, "a silence after each completed run, and each silence once"
    secrets = [alerting.world.variables["AZURE_CLIENT_SECRET"], TOKEN]
    for endpoint in alerting.world.rest.endpoints():
        secrets += alerting.world.rest.workspace(f"onlineEndpoints/{endpoint}/listKeys", method="POST").json().values()
    told = [one.subject for one in alerting.inbox.deliveries for secret in secrets if secret in one.subject + one.body]
    assert told == []


def test_a_failed_smoke_test_is_alerted_with_its_cause_and_what_serves_and_once_it_works_again(
    alerting: Alerting,
) -> None:
    rollout, inbox = alerting.rollouts["smoke"], alerting.inbox
    alerting.run("smoke")
    serving = next(iter(alerting.world.rest.traffic(rollout.name) or {}))
    good = dict(rollout.online_deployment)
    rollout.online_deployment["code_configuration"] = {
        "code": str(FIXTURES / "wrong_output"),
        "scoring_script": "score.py",
    }
    rollout.rollout["smoke_test"]["expect"]["body"] = {"required": ["answer"]}
    rollout.write()

    run = alerting.run("smoke")
    alert = inbox.wait_for(run)

    assert alert.subject == "[notify] rollout smoke: failed"
    assert alert.headers["X-Token"] == TOKEN
    told = lines(alert)
    assert told["Cause"].startswith("the smoke test of 'main-")
    assert "failed: body: 'answer' is a required property (permanent)" in told["Cause"]
    assert told["Next"] == "fix the scoring script or the expectation, then run the rollout again"
    assert told["Endpoint"] == rollout.name
    assert told["Model"] == f"{rollout.name}:1"
    assert told["Task"].startswith("smoke test main-")
    assert told["Task"].endswith(" (pinned)")
    assert told["Traffic, as last seen by this run"] == f"{serving} 100 %"
    assert told["Run"] == f"{alerting.world.stack.ui_url}/runs/flow-run/{run}"

    rollout.online_deployment = good
    rollout.write()
    alerting.run("smoke")  # nothing to do, which proves nothing
    rollout.online_deployment = {**good, "environment_variables": {"REPAIRED": "yes"}}
    rollout.write()
    assert inbox.about("works again") == []
    repaired = alerting.run("smoke")
    all_clear = inbox.wait_for("rollout smoke: works again")

    assert repaired in all_clear.body
    live = next(iter(alerting.world.rest.traffic(rollout.name) or {}))
    assert lines(all_clear)["Traffic"] == f"{live} 100 %"
    complete_again(alerting, "smoke")


def test_a_model_that_cannot_be_started_is_alerted_with_what_its_container_says(alerting: Alerting) -> None:
    run = alerting.run("broken")
    alert = alerting.inbox.wait_for(run)

    assert alert.subject == "[notify] rollout broken: failed"
    assert lines(alert)["Cause"].startswith("RuntimeError: broken_init: the weights are from another planet (the")
    assert "' did not become ready) (permanent" in lines(alert)["Cause"]
    assert lines(alert)["Task"].startswith("wait until main-")
    assert lines(alert)["Traffic, as last seen by this run"] == "none"

    alerting.retried = run
    PrefectApi(alerting.world.stack).retry(run)
    alerting.inbox.wait_for(run, count=2, timeout_seconds=RUN_TIMEOUT_SECONDS)


def test_a_process_that_is_killed_is_alerted_with_how_far_it_was(alerting: Alerting) -> None:
    run = alerting.start("killed")
    found = alerting.wait_until_creating(run)

    os.kill(alerting.pid_of(found), signal.SIGKILL)
    alert = alerting.inbox.wait_for(run)

    rollout = alerting.rollouts["killed"]
    assert alert.subject == "[notify] rollout killed: crashed"
    assert "-9" in lines(alert)["Cause"]
    assert lines(alert)["Next"] == (
        f"check the endpoint with `rollway status {rollout.name}`, then run it again to repair it"
    )
    assert lines(alert)["Model"] == f"{rollout.name}:1"
    assert lines(alert)["Task"].startswith("wait until main-")

    alerting.ask("POST", f"/flow_runs/{run}/set_state", CRASHED_AGAIN)  # as a run does that was taken for dead


def test_a_cancelled_rollout_is_alerted(alerting: Alerting) -> None:
    run = alerting.start("cancelled")
    alerting.wait_until_creating(run)

    alerting.ask("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    alert = alerting.inbox.wait_for(run)

    assert alert.subject == "[notify] rollout cancelled: cancelled"
    assert lines(alert)["Next"] == "nothing if the cancellation was intended; otherwise run it again"
    assert lines(alert)["Task"].startswith("wait until main-")


def test_a_watcher_that_is_late_is_alerted_and_once_it_works_again(alerting: Alerting) -> None:
    inbox = alerting.inbox
    assert inbox.about("watch-endpoints") == []
    alerting.watch()

    late = inbox.wait_for("watch-endpoints is late")
    alerting.watch()
    back = inbox.wait_for("watch-endpoints works again")

    assert lines(late)["Cause"].startswith(f"watch-endpoints has not completed for {WATCHER_LATE_SECONDS} s")
    assert late.at < back.at


def test_the_death_of_a_worker_and_its_run_is_alerted_within_the_documented_time(alerting: Alerting) -> None:
    # Its subject, because without a worker in time it is also said that nobody checks the run.
    alert = alerting.inbox.wait_for("rollout lost: crashed", timeout_seconds=600)

    assert alert.subject == "[notify] rollout lost: crashed"
    assert lines(alert)["Cause"] == "no heartbeat: its worker or machine is gone"
    assert lines(alert)["Task"].startswith("wait until main-")
    stood_still = alerting.stalls.seconds_between(alerting.lost_at, alert.at)
    assert alert.at - alerting.lost_at - stood_still < SILENCE_SECONDS


def test_applying_changes_what_differs_removes_what_is_stale_and_leaves_other_peoples_automations(
    alerting: Alerting,
) -> None:
    kept = alerting.ask("POST", "/automations/", {**NOTHING, "name": "rollway alerts: of somebody else"})
    alerting.ask(
        "POST", "/automations/", {**NOTHING, "name": "rollway alerts: gone failed", "tags": ["rollway-alerts"]}
    )
    alerting.ask(
        "PATCH", f"/automations/{named(alerting, 'rollway alerts: held (rollway-alerts)')['id']}", {"enabled": False}
    )

    changed = apply(alerting, "--waiting-seconds", "700")
    again = apply(alerting, "--waiting-seconds", "700")

    assert changed["create"] == []
    assert changed["update"] == ["rollway alerts: waiting (rollway-alerts)"]
    assert changed["delete"] == ["rollway alerts: gone failed"]
    assert (again["create"], again["update"], again["delete"]) == ([], [], [])
    assert len(again["unchanged"]) == 5 + 4
    assert again["switched_off"] == ["rollway alerts: held (rollway-alerts)"]
    assert named(alerting, "rollway alerts: of somebody else")["id"] == kept["id"]
    assert named(alerting, "rollway alerts: held (rollway-alerts)")["enabled"] is False


def test_a_channel_that_does_not_exist_is_refused(alerting: Alerting) -> None:
    refused = alerting.world.rollway("alerts", "--apply", "--channel", "slack-webhook/rollway-alerts")

    assert refused.returncode == 2
    assert (
        "error: there is no notification block 'slack-webhook/rollway-alerts' in Prefect\n"
        "  where: rollout.yml: alerts.channel, or --channel\n"
    ) in refused.stderr


def test_alerts_need_a_permanent_server(alerting: Alerting) -> None:
    refused = alerting.world.rollway("alerts", variables={"PREFECT_API_URL": None})

    assert refused.returncode == 2
    assert "no Prefect server is configured, and only a permanent server can send alerts" in refused.stderr


def test_a_run_that_no_worker_begins_is_alerted(alerting: Alerting) -> None:
    apply(alerting, "--waiting-seconds", "10")
    deployment = alerting.ask("GET", "/deployments/name/deploy-endpoint/broken")
    pending = {"state": {"type": "PENDING"}}

    run = alerting.ask("POST", f"/deployments/{deployment['id']}/create_flow_run", pending)["id"]
    alert = alerting.inbox.wait_for(run)

    assert alert.subject == "[notify] rollout broken: waiting for a worker"
    assert lines(alert)["Cause"] == "no worker has started the run within 10 s"
    assert lines(alert)["Task"] == "none, it had not started"


def apply(alerting: Alerting, *options: str) -> dict[str, Any]:
    """Return the output of `rollway alerts --apply`."""
    late = ("--watcher-late-seconds", str(WATCHER_LATE_SECONDS))
    done = alerting.world.rollway("alerts", "--apply", "--json", *late, *options)
    assert done.returncode == 0, done.stderr
    changes: dict[str, Any] = json.loads(done.stdout)
    return changes


def named(alerting: Alerting, name: str) -> dict[str, Any]:
    """The one automation of a name."""
    answer = alerting.api.post("/automations/filter", json={"automations": {"name": {"any_": [name]}}})
    [found] = answer.raise_for_status().json()
    return dict(found)
