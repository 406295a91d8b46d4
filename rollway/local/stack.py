"""Processes of a local Rollway, on loopback and free ports; each is stopped by its process id."""

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from rollway.errors import ConfigurationError, RollwayError
from rollway.local.ports import free_port
from rollway.local.process import Process

WORK_POOL = "rollway"
START_TIMEOUT_SECONDS = 180
# docs/operations.md says why.
SCALE = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "50",
}
Say = Callable[[str], None]


class Stack:
    """The processes of one folder, which holds their logs, state and process ids.

    Args:
        python: Python interpreter of the clients and workers.

    Attributes:
        database_url: Database of the Prefect server; None for SQLite in its own home.
        outlives: True if the processes go on when this one ends. Otherwise they end with it, even if it is killed (on
            Linux).
        temporary_folders: Folders elsewhere that `stop` removes.
    """

    def __init__(self, folder: Path, say: Say, python: str = sys.executable, *, outlives: bool = False) -> None:
        self.folder = folder.resolve()
        self.python = python
        self.database_url: str | None = None
        self.outlives = outlives
        self.processes: list[Process] = []
        self.temporary_folders: list[Path] = []
        self._say = say
        self._prefect_port: int | None = None
        self._azure: dict[str, str] = {}  # the variables of the emulator that runs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def environment(self) -> dict[str, str]:
        """Return the environment variables of a client process of this stack."""
        return {**os.environ, **self._azure_variables(), **self.prefect_variables()}

    def prefect_variables(self) -> dict[str, str]:
        """Return the environment variables of a process that only needs Prefect."""
        home = self.folder / "prefect"
        variables = {
            "PREFECT_HOME": str(home),
            "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",  # the same for clients, without a notice
            "PREFECT_SERVER_UI_API_URL": "/api",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            # With leases in memory a restart of the server leaks held slots for good.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            **SCALE,
        }
        # Always set, and by the name that wins: the shell may name a team's database.
        database = self.database_url or f"sqlite+aiosqlite:///{home / 'prefect.db'}"
        variables["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        if self._prefect_port is not None:
            variables |= {"PREFECT_API_URL": f"{self.ui_url}/api", "PREFECT_UI_URL": self.ui_url}
        return variables

    @property
    def ui_url(self) -> str:
        """Address of the Prefect UI."""
        return f"http://localhost:{self._prefect_port}"

    def azure_requests(self) -> list[dict[str, Any]]:
        """Return the requests to the local Azure ML so far, oldest first."""
        variables = self.environment()
        url = emulator_url(variables) + "/_emulator/requests"
        trust = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])
        with urllib.request.urlopen(url, context=trust, timeout=30) as response:  # noqa: S310
            requests: list[dict[str, Any]] = json.load(response)
        return requests

    def start_emulator(self, *options: str) -> Process:
        """Start the local Azure ML with options of `emulator up`; `wait_for_emulator` waits until it is ready."""
        self._azure = {}
        command = [sys.executable, "-m", "rollway", "emulator", "up", "--state", self._emulator_state, *options]
        return self._start("emulator", command)

    def wait_for_emulator(self) -> None:
        """Wait until `rollway emulator env` answers."""

        def is_ready() -> bool:
            try:
                self.environment()
            except subprocess.CalledProcessError:
                return False
            return True

        self._wait("emulator", is_ready)

    def start_prefect(self, port: int | None = None) -> Process:
        """Start a Prefect server with its own home; `wait_for_prefect` waits until it is ready."""
        self._prefect_port = port or free_port()
        command = [
            sys.executable,
            "-m",
            "rollway.local.prefect_server",
            "server",
            "start",
            "--host",
            "127.0.0.1",
            "--port",
            str(self._prefect_port),
        ]
        return self._start("prefect-server", command, {**os.environ, **self.prefect_variables()})

    def wait_for_prefect(self) -> None:
        """Wait until the API answers."""
        self._wait("prefect-server", lambda: answers(f"{self.ui_url}/api/health"))

    def start_worker(self, checkout: Path | None = None, *, limit: int | None = None) -> Process:
        """Create a work pool and the Prefect deployments of the checkout's prefect.yaml, and start a worker.

        Args:
            limit: Most runs of the worker at once.
        """
        variables = self.environment()
        for arguments in (["work-pool", "create", WORK_POOL, "--type", "process", "--overwrite"], ["deploy", "--all"]):
            self._prefect(self.python, arguments, variables, checkout)
        return self.add_worker(checkout, limit=limit)

    def add_worker(
        self, checkout: Path | None = None, *, limit: int | None = None, api_url: str | None = None
    ) -> Process:
        """Start another worker for the existing work pool and Prefect deployments.

        Args:
            limit: Most runs of the worker at once.
            api_url: The API that the worker and its runs use; default: that of the UI.
        """
        command = [self.python, "-m", "prefect", "--no-prompt", "worker", "start", "--pool", WORK_POOL]
        if limit is not None:
            command += ["--limit", str(limit)]
        variables = self.environment() | ({"PREFECT_API_URL": api_url} if api_url else {})
        return self._start("worker", command, variables, checkout)

    def save(self) -> None:
        """Save the process ids for `down`."""
        record = {
            "ui": self.ui_url,
            "processes": {process.name: process.pid for process in self.processes},
            "temporary_folders": [str(folder) for folder in self.temporary_folders],
        }
        (self.folder / "stack.json").write_text(json.dumps(record, indent=2), encoding="utf-8")

    def stop(self) -> None:
        """Stop all processes, last first."""
        for process in reversed(self.processes):
            self._say(f"stopping {process.name}")
            process.stop()
        self.processes.clear()
        for folder in self.temporary_folders:
            shutil.rmtree(folder, ignore_errors=True)
        (self.folder / "stack.json").unlink(missing_ok=True)

    @property
    def _emulator_state(self) -> str:
        return str(self.folder / "emulator")

    def _azure_variables(self) -> dict[str, str]:
        """Return what `rollway emulator env` says; raises CalledProcessError until the emulator is ready."""
        if not self._azure:
            command = [sys.executable, "-m", "rollway", "emulator", "env", "--format", "json"]
            command += ["--state", self._emulator_state]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            self._azure = json.loads(done.stdout)
        return self._azure

    @staticmethod
    def _prefect(
        python: str, arguments: Sequence[str], variables: Mapping[str, str], working_directory: Path | None = None
    ) -> None:
        """Run `prefect` to its end; raises RollwayError if it fails."""
        command = [python, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(
            command, cwd=working_directory, env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RollwayError(
                f"`prefect {' '.join(arguments)}` failed",
                where=str(working_directory or Path.cwd()),
                hint="correct what Prefect names below, then start it again",
                details=done.stdout + done.stderr,
            )

    def _start(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
    ) -> Process:
        self.folder.mkdir(parents=True, exist_ok=True)
        names = {process.name for process in self.processes}
        name = next(one for one in (name, *(f"{name}-{n}" for n in range(2, 100))) if one not in names)
        process = Process.start(
            name,
            command,
            owner=self.folder,
            environment=environment,
            working_directory=working_directory,
            outlives=self.outlives,
        )
        self.processes.append(process)
        return process

    def _process(self, name: str) -> Process:
        return next(one for one in self.processes if one.name == name)

    def _wait(self, name: str, is_ready: Callable[[], bool]) -> None:
        process = self._process(name)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not is_ready():
            if not process.is_running or time.monotonic() > deadline:
                file = self.folder / f"{name}.log"
                log = file.read_text(encoding="utf-8", errors="replace")
                raise RollwayError(
                    f"{name} did not start",
                    where=str(file),
                    why="it took too long" if process.is_running else "its process ended",
                    hint="its log ends as below: correct what it names, then start it again",
                    details="\n".join(log.splitlines()[-30:]),
                )
            time.sleep(0.2)


@contextlib.contextmanager
def temporary_stack(folder: Path, say: Say, python: str = sys.executable) -> Iterator[Stack]:
    """Yield a stack in an emptied folder; stop it at the end of the block."""
    shutil.rmtree(folder, ignore_errors=True)
    with Stack(folder, say, python) as stack:
        yield stack


def stop_saved(folder: Path, say: Say) -> bool:
    """Stop what still runs of the saved stack; return False if no stack is saved."""
    record = folder / "stack.json"
    if not record.is_file():
        return False
    stack = Stack(folder, say)
    saved = json.loads(record.read_text(encoding="utf-8"))
    processes = [Process(name, pid) for name, pid in saved["processes"].items()]
    stack.processes += [process for process in processes if process.belongs_to(stack.folder)]
    stack.temporary_folders += map(Path, saved.get("temporary_folders", []))  # an earlier version saved none
    stack.stop()
    return True


def run_or_raise(
    command: Sequence[str], environment: Mapping[str, str] | None = None, *, hint: str | None = None
) -> None:
    """Run a command that writes to the terminal; raises RollwayError if it fails."""
    done = subprocess.run(command, env=environment, check=False)
    if done.returncode:
        raise RollwayError(
            f"`{' '.join(command)}` ended with exit code {done.returncode}",
            where=str(Path.cwd()),
            hint=hint or "read what it says above, correct that, and run it again",
        )


def gone_wrong(what: str, errors: Sequence[str] = ()) -> RollwayError:
    """Return the error of a demo that did not go as it must.

    Args:
        what: What happened.
        errors: What its client met.
    """
    hint = "read the rollouts' output above; if it happens again, report it with that"
    return RollwayError(what, where="the output above", hint=hint, details="\n".join(errors[:5]) or None)


def answers(url: str) -> bool:
    """Return True if a GET of a loopback address succeeds."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 (a loopback address made above)
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def emulator_url(variables: Mapping[str, str]) -> str:
    """Return the address of the local Azure ML, whose page shows its endpoints, from the variables of a client."""
    return variables["ARM_CLOUD_METADATA_URL"].partition("/metadata")[0]


def require_free(port: int, target: str = "up") -> None:
    """Raise ConfigurationError if something listens on a port of loopback.

    Args:
        target: The target of `make` that the hint names.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended does not count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be used for the Prefect server",
                where=f"127.0.0.1:{port}",
                why=error.strerror,
                hint=f"stop what listens there, or choose another one: make {target} PORT={port + 1}",
            ) from error
