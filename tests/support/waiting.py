"""Waiting for what another process does."""

import time
from collections.abc import Callable
from typing import TypeVar

TIMEOUT_SECONDS = 300
T = TypeVar("T")


def wait_for(read: Callable[[], T | None], what: str, seconds: float = TIMEOUT_SECONDS) -> T:
    """Wait until `read` returns a true value; return it."""
    deadline = time.monotonic() + seconds
    while not (found := read()):
        assert time.monotonic() < deadline, f"there is still no {what} after {seconds} s"
        time.sleep(0.1)
    return found
