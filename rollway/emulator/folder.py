"""The state directory of an emulator: its lock, its database, and how clients find the emulator that runs on it.

It imports nothing of the emulator, so that `emulator env` starts fast.
"""

import fcntl
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

DATABASE, LOCK = "emulator.sqlite", "emulator.lock"
CONNECTION = "connection"  # the setting with the variables for clients


class StateInUse(Exception):
    """Another emulator runs on this state directory."""


class NotRunning(Exception):
    """No emulator runs on this state directory."""


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Lock the state directory; raises StateInUse. The lock ends with the process, even if it is killed."""
    with (folder / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StateInUse(f"another emulator runs on {folder}") from exc
        yield


def read_client_environment(folder: Path) -> dict[str, str]:
    """Return the variables for clients of the emulator that runs on a state directory. Raises NotRunning."""
    try:
        with hold_lock(folder):
            raise NotRunning(f"no emulator runs on {folder}")
    except FileNotFoundError as exc:
        raise NotRunning(f"no emulator runs on {folder}") from exc
    except StateInUse:
        pass
    with closing(sqlite3.connect(f"file:{folder / DATABASE}?mode=ro", uri=True, timeout=5)) as connection:
        row = connection.execute("SELECT value FROM settings WHERE name = ?", (CONNECTION,)).fetchone()
    if row is None or not row[0]:
        raise NotRunning(f"the emulator on {folder} is still starting")
    values: dict[str, str] = json.loads(row[0])
    return values
