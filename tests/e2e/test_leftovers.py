"""A process that started a local stack and is killed leaves no process behind, whenever that happens."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.postgres import Postgres
from tests.support.processes import is_running

WAIT_SECONDS = 300
STARTER = """
import json, sys, time
from pathlib import Path
from rollway.local.stack import temporary_stack

folder, moment = Path(sys.argv[1]), sys.argv[2]
with temporary_stack(folder / "stack", lambda _: None) as stack:
    stack.database_url = sys.argv[3] or None
    stack.start_emulator()
    stack.start_prefect()
    if moment == "ready":
        stack.wait_for_emulator()
    if moment == "worker":
        stack.wait_for_emulator()
        stack.wait_for_prefect()
        stack.start_worker()
    print(json.dumps([one.pid for one in stack.processes]), flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has ended")
@pytest.mark.parametrize("moment", ["starting", "ready", "worker"])
def test_a_killed_process_takes_its_stack_with_it(moment: str, postgres: Postgres | None, tmp_path: Path) -> None:
    database = postgres.new_database() if postgres else ""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path), moment, database], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    pids = json.loads(starter.stdout.readline())
    assert [pid for pid in pids if not is_running(pid)] == []

    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()

    deadline = time.monotonic() + WAIT_SECONDS
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline, f"{left} of {pids} are still running"
        time.sleep(0.1)
