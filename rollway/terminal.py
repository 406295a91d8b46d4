"""The terminal: stdout is the answer, stderr is talk, and commands are written as a person calls them."""

import contextlib
import getpass
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
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
