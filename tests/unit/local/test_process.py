"""Whose process it is, and that only those of a stack are stopped."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rollway.local.process import Process
from rollway.local.stack import stop_saved
from tests.support.processes import is_running
from tests.support.waiting import wait_for

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
# A child of the process goes on after it.
LEAVES_A_CHILD = [sys.executable, "-c", f"import subprocess; print(subprocess.Popen({SLEEP}).pid)"]


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of somebody else, with a process group of its own."""
    with subprocess.Popen(SLEEP, start_new_session=True) as process:
        yield process
        process.kill()


def save(folder: Path, pid: int) -> None:
    (folder / "stack.json").write_text(json.dumps({"processes": {"worker": pid}}))


def test_a_saved_process_of_the_stack_is_stopped(tmp_path: Path) -> None:
    process = Process.start("worker", SLEEP, owner=tmp_path)
    save(tmp_path, process.pid)

    assert stop_saved(tmp_path, lambda _: None)

    assert not process.is_running
    assert not stop_saved(tmp_path, lambda _: None)


def test_a_stranger_who_has_the_id_of_a_saved_process_lives(
    tmp_path: Path, stranger: "subprocess.Popen[bytes]"
) -> None:
    save(tmp_path, stranger.pid)

    assert stop_saved(tmp_path, pytest.fail)

    assert stranger.poll() is None


def test_a_process_belongs_to_one_stack(tmp_path: Path) -> None:
    process = Process.start("worker", SLEEP, owner=tmp_path)

    assert process.belongs_to(tmp_path)
    assert not process.belongs_to(tmp_path / "other")

    process.stop()
    assert not process.belongs_to(tmp_path)


def test_a_child_that_outlives_its_process_is_stopped_with_its_group(tmp_path: Path) -> None:
    process = Process.start("worker", LEAVES_A_CHILD, owner=tmp_path)
    os.waitpid(process.pid, 0)
    child = int((tmp_path / "worker.log").read_text())
    save(tmp_path, process.pid)

    assert process.belongs_to(tmp_path)
    stop_saved(tmp_path, lambda _: None)

    wait_for(lambda: not is_running(child), "end of the child")
