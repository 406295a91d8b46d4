"""Prefect's server dies, or answers with errors, in the middle of a run: the run does its work all the same.

The flow is a trivial one of our tasks, so that the server is all that can fail. It waits in the middle until the server
is gone, and then does everything that a rollout does with Prefect.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from rollway.local.stack import temporary_stack
from rollway.settings import PREFECT_PATIENCE
from tests.support.stalls import Stalls, watching_for_stalls

ROOT = Path(__file__).parents[2]
END_SECONDS = 120  # from the death of the server to the end of the process, as docs/operations.md promises
FLOW = """
import asyncio, sys
from prefect import flow
from rollway.azure.threads import in_thread, shielded
from rollway.errors import RollwayError, SmokeTestFailed
from rollway.prefect.artifacts import Progress, publish_markdown
from rollway.prefect.blocks import AzureMLWorkspace, find_workspace, load_identity
from rollway.prefect.concurrency import has_ended, one_at_a_time
from rollway.prefect.ending import leave, run_here
from rollway.prefect.run import current_run, rename_run
from rollway.prefect.task import task
from rollway.settings import ManagedIdentity, Workspace

WORKSPACE = Workspace(subscription_id="sub", resource_group="rg", name="ml", block="production")
WHO = ManagedIdentity(client_id="client")

@task("wait", run_name="wait", timeout_seconds=300)
async def wait():
    address = {"subscription_id": "sub", "resource_group": "rg", "workspace": "ml"}
    block = AzureMLWorkspace(**address, identity="managed identity", client_id="client")
    await block.save("production", overwrite=True)
    assert await find_workspace("production") == (WORKSPACE, WHO)
    progress = Progress()
    await progress.show(0, "begun")
    print("in the middle", flush=True)
    await in_thread(sys.stdin.readline)
    await progress.show(100, "ended")

@task("act", run_name="act", timeout_seconds=300)
async def act(rollout):
    current_run().label(model=rollout)
    await rename_run(None)
    assert await load_identity(WORKSPACE) == WHO
    await publish_markdown("plan", rollout, "# Plan", "Plan")
    assert not await has_ended("0195e9a0-0000-7000-8000-000000000000/1")
    if rollout == "broken":
        raise SmokeTestFailed("the smoke test failed")

@task("abort", run_name="abort", timeout_seconds=300)
async def abort():
    print("the abort has an artifact", flush=True)

async def restore():
    assert await load_identity(WORKSPACE, is_known_enough=True) == WHO
    print("traffic is restored", flush=True)

@flow
async def roll_out(rollout: str):
    try:
        async with one_at_a_time(WORKSPACE, rollout):
            await wait()
            await act(rollout)
            return f"{rollout} is promoted"
    except BaseException:
        await shielded(restore(), deadline_seconds=30)
        await abort()
        raise

try:
    print(asyncio.run(run_here(roll_out, sys.argv[1])), flush=True)
except RollwayError as error:
    print(f"error: {error}", flush=True)
    leave(error.exit_code)
leave(0)
"""


@dataclass(frozen=True)
class Ended:
    """A run that has ended: its exit code, its answer and its log."""

    exit_code: int
    answer: list[str]
    log: str


class Run:
    """A run of the flow, which has come to its middle."""

    def __init__(self, rollout: str, variables: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", FLOW, rollout],
            env=dict(variables),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        first = self._process.stdout.readline()
        assert first == "in the middle\n", self._process.communicate()

    def go_on(self) -> None:
        """Let it go on to its end."""
        self._went_on = time.monotonic()
        assert self._process.stdin is not None
        self._process.stdin.write("go on\n")
        self._process.stdin.flush()

    def end(self, stalls: Stalls) -> Ended:
        """Wait for its end, which must come in time."""
        answer, log = self._process.communicate(timeout=600)
        end = time.monotonic()
        assert end - self._went_on - stalls.seconds_between(self._went_on, end) < END_SECONDS, log
        return Ended(self._process.returncode, answer.splitlines(), log)


class Broken(BaseHTTPRequestHandler):
    """A proxy of Prefect's API that answers 500 to everything but the creation and the states of runs."""

    api = ""

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_broken = self.command in ("PATCH", "DELETE") or any(
            part in self.path for part in ("/artifacts", "concurrency_limits", "/labels")
        )
        status, content = 500, b"{}"
        if not is_broken:
            headers = {"Content-Type": "application/json"}
            found = httpx.request(self.command, self.api + self.path, content=body, headers=headers, timeout=60)
            status, content = found.status_code, found.content
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self._forward()

    def do_POST(self) -> None:
        self._forward()

    def do_PATCH(self) -> None:
        self._forward()

    def do_DELETE(self) -> None:
        self._forward()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ended]]:
    """Runs that have ended, by name; their server was killed while two of them were in their middle."""
    with (
        temporary_stack(tmp_path_factory.mktemp("away") / "state", lambda _: None) as stack,
        watching_for_stalls() as stalls,
    ):
        server = stack.start_prefect()
        stack.wait_for_prefect()
        variables = {**os.environ, **stack.prefect_variables(), **PREFECT_PATIENCE, "PYTHONPATH": str(ROOT)}
        with broken(stack.ui_url) as url:
            run = Run("fine", {**variables, "PREFECT_API_URL": f"{url}/api"})
            run.go_on()
            ended = {"errors": run.end(stalls)}
        runs = {rollout: Run(rollout, variables) for rollout in ("fine", "broken")}
        os.killpg(server.pid, signal.SIGKILL)
        for run in runs.values():
            run.go_on()
        ended |= {rollout: run.end(stalls) for rollout, run in runs.items()}
        yield ended


@contextlib.contextmanager
def broken(url: str) -> Iterator[str]:
    """Yield the address of a proxy in front of a Prefect server that answers 500 to whatever a run can do without."""
    handler = type("BrokenApi", (Broken,), {"api": url})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()


def test_a_run_whose_server_dies_ends_with_its_own_result(away: dict[str, Ended]) -> None:
    run = away["fine"]

    assert (run.exit_code, run.answer) == (0, ["fine is promoted"]), run.log
    assert "Prefect did not answer, so the progress artifact is out of date" in run.log
    assert "Prefect did not answer, so this run keeps its name and tags" in run.log
    assert "Prefect did not answer, so the block production is used as it was loaded last" in run.log
    assert "Prefect did not answer, so the artifact plan-fine is missing" in run.log
    assert "Prefect did not answer, so the next rollout waits a minute longer" in run.log
    assert "The flow has ended, but Prefect could not record it" in run.log


def test_a_rollout_that_fails_after_the_server_died_is_aborted_and_ends_with_its_own_code(
    away: dict[str, Ended],
) -> None:
    run = away["broken"]

    assert run.exit_code == 3, run.log
    assert run.answer == [
        "traffic is restored",
        "the abort has an artifact",
        "error: the smoke test failed",
    ]
    assert "The flow has ended, but Prefect could not record it" in run.log


def test_errors_of_the_server_end_nothing(away: dict[str, Ended]) -> None:
    run = away["errors"]

    assert (run.exit_code, run.answer) == (0, ["fine is promoted"]), run.log
    assert "Prefect did not answer, so this rollout does not queue behind others" in run.log
    assert "Prefect did not answer, so the progress artifact is out of date" in run.log
    assert "Alerts about this run will be out of date" in run.log
    assert "could not record it" not in run.log
