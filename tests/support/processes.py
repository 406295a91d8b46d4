"""Processes of this machine: which are running, and what they have started."""

import asyncio
import os
import signal
import subprocess

import psutil
import pytest

from tests.support.waiting import TIMEOUT_SECONDS


def is_running(pid: int) -> bool:
    """Return False for a process that has ended, also if nobody has asked for its exit code."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that it has started, directly or not; none if it has ended."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def group_is_alive(process_id: int) -> bool:
    """Return True if a process of the group is running; zombies do not count."""
    command = ["ps", "-eo", "pgid=,stat="]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return any(group == str(process_id) and not state.startswith("Z") for group, state in map(str.split, lines))


async def wait_until_gone(process_id: int) -> None:
    """Wait until no process of the group is running; else kill them and fail."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while group_is_alive(process_id):  # noqa: ASYNC110 - they are other processes
                await asyncio.sleep(0.01)
    except TimeoutError:
        os.killpg(process_id, signal.SIGKILL)
        pytest.fail(f"process group {process_id} was still there after {TIMEOUT_SECONDS} s")
