"""The terminal: stdout is the answer, stderr is talk, and commands are written as a person calls them."""

import contextlib
import getpass
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path

from rollway.errors import RollwayError

MOST_LOG_LINES = 20  # that are repeated at the end
answers_json: ContextVar[bool] = ContextVar("answers_json", default=False)
_COMMAND = re.compile(r"(?<=[`(])rollway (?=[a-z-])")  # as the first word of a command in a text


def answer(text: str) -> None:
    """Print the answer of a command."""
    print(text)


def explain(error: RollwayError) -> int:
    """Print an error on stderr, and on stdout as the one JSON document if that was asked for; return its exit code."""
    is_long = (error.log or "").count("\n") > MOST_LOG_LINES
    text = f"{error}\n\nIts log is above, where the task failed." if is_long else error.with_log
    print(f"error: {as_called(text)}", file=sys.stderr)
    if answers_json.get():
        answer(json.dumps({"error": error.document()}, indent=2))
    return error.exit_code


def pause_seconds(so_far: float) -> float:
    """Return the seconds until the next line about something that still runs: 5 in the first minute, at most 60."""
    return min(60.0, max(5.0, (so_far - 45.0) / 3))


def say(text: str) -> None:
    """Print what happens, on stderr."""
    print(f"· {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def saying(
    what: str,
    note: str = "",
    *,
    at_once: bool = True,
    say: Callable[[str], None] = say,
    pause: Callable[[float], float] = pause_seconds,
) -> Iterator[None]:
    """Say what begins, again and again that it still runs, and how long it took unless that was quick.

    Args:
        note: Follows `what` in the first line.
        at_once: False leaves the first line out, so that nothing is said about what is quick.
        pause: Returns the seconds until the next line, from the seconds so far.
    """
    started, is_over = time.monotonic(), threading.Event()

    def tell() -> None:
        while not is_over.wait(pause(time.monotonic() - started)):
            say(f"  still {what}, after {time.monotonic() - started:.0f} s")

    if at_once:
        say(f"{what}{note}")
    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        is_over.set()
        teller.join()
    if (took := time.monotonic() - started) >= pause(0.0):
        say(f"  that took {took:.0f} s")


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Drop what libraries print on stdout."""
    # The SDK prints a dot per poll, azure/ai/ml/_utils/_azureml_polling.py; tasks log what they wait for.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def program() -> str:
    """Return how a person calls `rollway` here: by its name if the shell finds it, else by the path of the command."""
    own = Path(sys.executable).with_name("rollway")
    found = shutil.which("rollway")
    if found is not None and Path(found).resolve() == own.resolve():
        return "rollway"
    return os.path.relpath(own) if own.is_relative_to(Path.cwd()) else str(own)


def as_called(text: str) -> str:
    """Return a text in which the commands of `rollway` are written as a person calls them here."""
    return _COMMAND.sub(lambda _: f"{program()} ", text)


def login_name() -> str:
    """Return the user's login name as one word."""
    try:
        return "-".join(getpass.getuser().split()) or "unknown"
    except (KeyError, OSError):  # a container whose user has no name
        return "unknown"
