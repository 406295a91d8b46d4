"""Processes of this machine: which are running, and what they have started."""

import psutil


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
