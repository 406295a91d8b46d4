"""Python scripts in forks of one process that has imported Prefect, Azure's SDK and Rollway.

Importing them takes three seconds of CPU, more than the rest of a rollout. A fork is a process of its own all the same:
with its own environment, session, tokens, Prefect client, output and exit code.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

PRELOADED = (
    "rollway.cli",
    "rollway.azure.status",
    "flows.deploy",
    "flows.rollback",
    "azure.ai.ml",
    # Imported by them only when they are used.
    "anyio._backends._asyncio",
    "fastapi",
    "graphviz",
    "prefect.concurrency.asyncio",
)
REPOSITORY = Path(__file__).parents[2]
TIMEOUT_SECONDS = 300
# Read when a script runs. All other variables are read by an import, so a script that changes them needs a new process.
READ_LATE = ("AZURE_", "AZUREML_WORKSPACE", "ROLLWAY_")


class Forks:
    """Client of one server, which is started with `variables` on first use."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = dict(variables)
        self._server: subprocess.Popen[str] | None = None

    def can_run(self, variables: Mapping[str, str]) -> bool:
        """Return True if a fork with these variables behaves like a new process with them."""
        changed = {name for name, _ in {*variables.items()} ^ {*self._variables.items()}}
        return all(name.startswith(READ_LATE) for name in changed)

    def run(
        self, source: str, arguments: Sequence[str], variables: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a script with arguments and an environment, and return its output and exit code."""
        server = self._started()
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "stdout"), Path(folder, "stderr")
            job = {
                "source": source,
                "arguments": [*arguments],
                "environment": {**variables},
                "streams": [str(out), str(err)],
            }
            assert server.stdin is not None
            server.stdin.write(json.dumps(job) + "\n")
            server.stdin.flush()
            pid = self._read(server)["pid"]
            try:
                exit_code = self._read(server)["exit_code"]
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
            return subprocess.CompletedProcess([*arguments], exit_code, out.read_text(), err.read_text())

    def close(self) -> None:
        """Stop the server."""
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGKILL)
            self._server.communicate()

    def _started(self) -> "subprocess.Popen[str]":
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forks"],
                env=self._variables,
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        return self._server

    def _read(self, server: "subprocess.Popen[str]") -> Any:
        assert server.stdout is not None
        if not select.select([server.stdout], [], [], TIMEOUT_SECONDS)[0]:
            raise TimeoutError(f"the script has not ended after {TIMEOUT_SECONDS} s")
        return json.loads(server.stdout.readline())


def serve() -> None:
    """Run a job per line of stdin, one at a time. Print its process id, then its exit code."""
    for name in PRELOADED:
        importlib.import_module(name)
    gc.freeze()  # otherwise the garbage collector of each fork copies all that they share
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            carry_out(**json.loads(line))
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"exit_code": os.waitstatus_to_exitcode(status)}), flush=True)


def carry_out(source: str, arguments: list[str], environment: dict[str, str], streams: list[str]) -> NoReturn:
    """Become the process of a script: `python -c source *arguments`."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    exec(compile(source, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102
    sys.exit()


if __name__ == "__main__":
    serve()
