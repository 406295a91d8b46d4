"""Python commands in forks of warm processes, which have imported Prefect, Azure's SDK and Rollway.

Importing them takes longer than most commands. A fork is a process of its own all the same: with its own environment,
working directory, streams, session, tokens, Prefect client and exit code, and it can be killed like any.

Tests start `Forks.python` instead of Python. It is a launcher, see `tests.support.launcher`. There is one warm process
for each set of variables that an import may read, started by the first command that needs it.
"""

import contextlib
import importlib
import inspect
import json
import os
import runpy
import shutil
import signal
import socket
import sys
import tempfile
import threading
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.context import refresh_global_settings_context
from pydantic import BaseModel

from rollway.imports import quick_imports
from tests.support.launcher import READ_AGAIN
from tests.support.processes import is_running

PRELOADED = (
    "rollway.cli",
    "rollway.azure.status",
    "flows.deploy",
    "flows.rollback",
    "flows.watch",
    "azure.ai.ml",
    # Imported by them only when they are used.
    "anyio._backends._asyncio",
    "azure.mgmt.monitor",
    "fastapi",
    "graphviz",
    "msal_extensions",
    "prefect.concurrency.asyncio",
    "prefect.concurrency.v1",
    "prefect.flow_engine",
    "prefect.task_engine",
)
REPOSITORY = Path(__file__).parents[2]
STREAMS = (0, 1, 2)
HEADER_BYTES = 8
OWNER_SECONDS = 10  # between two looks whether the test process still lives


class Forks:
    """The warm processes of one test process."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="rollway-forks-"))  # not pytest's: a socket's path must be short
        (self._folder / "owner").write_text(str(os.getpid()))
        launcher = self._folder / "python"
        launcher.write_text(
            f"#!{sys.executable} -SE\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
            f"from tests.support.launcher import launch\nlaunch({str(self._folder)!r}, {sys.executable!r})\n"
        )
        launcher.chmod(0o700)
        (self._folder / "rollway").symlink_to(Path(sys.executable).with_name("rollway"))  # as beside any Python
        self.python = str(launcher)

    def close(self) -> None:
        """Kill the warm processes, with the forks that are still running."""
        for file in self._folder.glob("*.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(file.read_text()), signal.SIGKILL)
        shutil.rmtree(self._folder)


def serve(address: Path) -> None:
    """Run each command that a launcher sends to the socket `address` in a fork, while the owner lives."""
    with quick_imports():  # otherwise the garbage collector of each fork would copy all that they share
        for name in PRELOADED:
            importlib.import_module(name)
        build_models(BaseModel)
        inspect.stack()  # finds the file of each module, which Azure's SDK asks for
    assert threading.active_count() == 1, f"a fork would lack some of {threading.enumerate()}"
    owner = int((address.parent / "owner").read_text())
    address.with_suffix(".pid").write_text(str(os.getpid()))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    listener.listen(64)
    listener.settimeout(OWNER_SECONDS)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the launcher that started this process reads to the end
    while is_running(owner):
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            command = receive(connection)
            run(str(address.with_name("python")), **command)
            return
        connection.close()


def build_models(base: type[BaseModel]) -> None:
    """Build the validators that pydantic leaves to the first use of a model: each fork would build them again."""
    for model in base.__subclasses__():
        model.model_rebuild(raise_errors=False)
        build_models(model)


def receive(connection: socket.socket) -> dict[str, Any]:
    """Return a command in a fork with the launcher's streams. This process stays, and supervises the fork."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    header, streams, _, _ = socket.recv_fds(connection, HEADER_BYTES, len(STREAMS))
    with connection.makefile("rb") as file:
        command: dict[str, Any] = json.loads(file.read(int.from_bytes(header, "big")))
    pid = os.fork()
    if pid == 0:
        connection.close()
        for number, stream in zip(STREAMS, streams, strict=True):
            os.dup2(stream, number)
            os.close(stream)
        return command
    for stream in (*STREAMS, *streams):
        os.close(stream)
    threading.Thread(target=kill_without_launcher, args=(connection, pid), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the launcher was killed before it knew this fork
        connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def kill_without_launcher(connection: socket.socket, pid: int) -> None:
    """Kill the fork when its launcher was killed, which sends nothing and so reads as the end of the connection."""
    with contextlib.suppress(ConnectionResetError):  # killed before it read all that was sent
        connection.recv(1)
    os.kill(pid, signal.SIGKILL)


def run(python: str, arguments: list[str], environment: dict[str, str], directory: str) -> None:
    """Do in this process what a new Python does with these arguments."""
    has_other_settings = settings_in(environment) != settings_in(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(directory)
    if has_other_settings:
        refresh_global_settings_context()
    sys.executable = python  # what a worker starts runs in forks too
    kind, *rest = arguments
    if kind == "-m":
        sys.path[0], sys.argv = directory, rest
        if not hasattr(sys.modules.get(rest[0]), "__path__"):
            sys.modules.pop(rest[0], None)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path[0], sys.argv = "", ["-c", *rest[1:]]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(main))  # noqa: S102
    else:
        sys.path[0], sys.argv = str(Path(kind).parent), arguments
        runpy.run_path(kind, run_name="__main__")


def settings_in(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of Prefect's settings that a warm process need not share with its forks."""
    return {name: value for name, value in environment.items() if name.startswith(READ_AGAIN)}


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
