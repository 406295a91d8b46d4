"""The program that tests start instead of Python: it asks a warm process for a fork, and stands for that.

It uses nothing but the standard library, because what it saves is the time to start. Signals reach the fork, the fork
writes to this process's streams, and this process ends as the fork does. Where a fork would differ from a new process
it becomes a real Python.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import NoReturn

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS = ("rollway", "flows", "tasks")
# Read when a command runs.
READ_LATE = (
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_RESOURCE_GROUP",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_TENANT_ID",
    "AZURE_TOKEN_CREDENTIALS",
    "AZUREML_WORKSPACE",
    "BASE",
    "GITHUB_STEP_SUMMARY",
    "PATH",
    "PREFECT__",
    "PWD",
    "PYTEST_",
    "ROLLWAY_",
    "SHLVL",
    "SYSTEM_PULLREQUEST_",
    "_",
)
# Prefect's settings, which a fork reads again where they are not those of its warm process.
READ_AGAIN = (
    "PREFECT_API_",
    "PREFECT_CLIENT_",
    "PREFECT_FLOWS_",
    "PREFECT_HOME",
    "PREFECT_PROFILES_PATH",
    "PREFECT_SERVER_",
    "PREFECT_UI_",
    "PREFECT_WORKER_",
)
# All other variables may be read by an import: each set of them has a warm process of its own.
FORWARDED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def launch(folder: str, python: str) -> NoReturn:
    """Run the Python command of `sys.argv` in a fork of a warm process of `folder`, or with `python`."""
    arguments = sys.argv[1:]
    connection = connect(folder, python) if can_fork(arguments, os.getcwd(), os.environ) else None
    if connection is None:
        os.execv(python, [python, *arguments])  # noqa: S606
    job = {"arguments": arguments, "environment": dict(os.environ), "directory": os.getcwd()}
    message = json.dumps(job).encode()
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until there is somebody to forward them to
    socket.send_fds(connection, [len(message).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(message)
    answers = connection.makefile("r")
    pid = int(answers.readline())
    for number in FORWARDED:
        signal.signal(number, lambda received, _: os.kill(pid, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    end_like(int(answers.readline()))


def can_fork(arguments: list[str], directory: str, environment: Mapping[str, str]) -> bool:
    """Return True for a module, code or a file, unless the folder holds another checkout of ours."""
    is_command = bool(arguments) and (arguments[0] in ("-m", "-c") or not arguments[0].startswith("-"))
    roots = [directory, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    packages = [(os.path.join(root, name), os.path.join(REPOSITORY, name)) for root in roots if root for name in OURS]
    return is_command and all(os.path.realpath(one) == own for one, own in packages if os.path.exists(one))


def connect(folder: str, python: str) -> socket.socket | None:
    """Return a connection to the warm process of this environment. Start it if there is none.

    Returns None if the imports fail in this environment: a new process shows how.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(READ_LATE)}
    read_early = sorted((name, value) for name, value in environment.items() if not name.startswith(READ_AGAIN))
    key = hashlib.sha256(json.dumps(read_early).encode()).hexdigest()[:16]
    address = os.path.join(folder, key)
    connection = socket.socket(socket.AF_UNIX)
    with open(f"{address}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            connection.connect(address)
            return connection
        with open(f"{address}.log", "w") as log:
            server = subprocess.Popen(
                [python, "-m", "tests.support.forks", address],
                env=environment,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert server.stdout is not None
        server.stdout.read()  # the server closes it when it is ready
        with contextlib.suppress(FileNotFoundError):
            connection.connect(address)
            return connection
    return None


def end_like(exit_code: int) -> NoReturn:
    """End with an exit code, or by the signal that a negative one stands for."""
    if exit_code < 0:
        if -exit_code != signal.SIGKILL:
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    os._exit(exit_code)
