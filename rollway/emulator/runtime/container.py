"""One instance of an online deployment: a process of Microsoft's inference server, laid out as its container is."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rollway.emulator.runtime.upstream import BrokenResponse, send_request

_PROBE_TIMEOUT_SECONDS = 2.0
_STOP_GRACE_SECONDS = 5.0
# The gateway gives up on a request first (408); the server's own limit frees the worker that nobody waits for.
_SCORING_TIMEOUT_MARGIN_SECONDS = 1.0
# A container sees nothing of its host but this: no Azure credentials, no settings of the emulator or its clients.
_INHERITED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ")


class ContainerState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    CRASHED = "crashed"  # the process ended by itself
    STOPPED = "stopped"


@dataclass(frozen=True)
class ContainerSpec:
    """What a container runs. `app_root` is its own folder, the emulator's /var/azureml-app."""

    name: str  # "<endpoint>/<online deployment>/<instance>", for logs
    python: Path
    app_root: Path
    code: Path | None
    entry_script: str | None  # relative to `code`
    model: Path | None  # a file or folder as it was uploaded
    model_name: str
    model_version: str
    environment_variables: Mapping[str, str]
    request_timeout_seconds: float

    @property
    def model_dir(self) -> Path:
        """The container's AZUREML_MODEL_DIR: the model's file or folder is in it, under its own name."""
        return self.app_root / "azureml-models" / self.model_name / self.model_version


class Container:
    """Runs a ContainerSpec. One owner, one event loop; `start` may be called again once it has ended."""

    def __init__(self, spec: ContainerSpec) -> None:
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._port: int | None = None
        self._state = ContainerState.STOPPED

    @property
    def state(self) -> ContainerState:
        """The state that the last start, refresh or stop has found."""
        return self._state

    @property
    def port(self) -> int | None:
        """The loopback port it listens on; None before the first start."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The process, and the group of all that it has started; None when it does not run."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended, negative for a signal; None while it runs or before the first start."""
        return None if self._process is None else self._process.poll()

    async def start(self) -> None:
        """Lays out the files and spawns the inference server; returns at once, in state STARTING."""
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError(f"container {self.spec.name} is already running")
        await asyncio.to_thread(_copy_files, self.spec)
        self._spawn()
        self._state = ContainerState.STARTING

    def _spawn(self) -> None:
        spec = self.spec
        command = [str(spec.python), str(Path(__file__).with_name("bootstrap.py"))]
        if spec.entry_script is not None:
            code = spec.app_root if spec.code is None else spec.app_root / spec.code.name
            command += ["--entry_script", str(code / spec.entry_script)]
        # Bound here and handed over: the port is known at once and cannot be taken by somebody else in between.
        with socket.socket() as listener, _log_file(spec).open("ab") as log:
            listener.bind(("127.0.0.1", 0))
            self._port = listener.getsockname()[1]
            self._process = subprocess.Popen(
                [*command, "--port", str(self._port)],
                cwd=spec.app_root,
                env=_environment(spec) | {"ROLLWAY_SOCKET": str(listener.fileno())},
                stdin=subprocess.PIPE,  # the lifeline, see bootstrap.py
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )

    async def refresh(self) -> ContainerState:
        """The state now: looks at the process and, while it starts, at `GET /` on its port. Takes at most ~2 s.

        READY stays READY as long as the process lives: a worker that is busy scoring does not answer in time either.
        How often it may not is for its owner to say, who asks `is_healthy` and then may `kill` it.
        """
        if self._state is ContainerState.STARTING:
            is_healthy = await self.is_healthy()
            if is_healthy and self._state is ContainerState.STARTING:  # stop() may have come in between
                self._state = ContainerState.READY
        is_running = self._state in {ContainerState.STARTING, ContainerState.READY}
        if is_running and self._process is not None and self._process.poll() is not None:
            _kill_group(self._process)
            self._state = ContainerState.CRASHED
        return self._state

    async def is_healthy(self, timeout_seconds: float = _PROBE_TIMEOUT_SECONDS) -> bool:
        """Whether it answers 200 on its health route in time."""
        if self._port is None:
            return False
        try:
            async with asyncio.timeout(timeout_seconds), send_request(self._port, "GET", b"/", (), b"") as answer:
                return answer.status == 200
        except (OSError, BrokenResponse):  # TimeoutError is an OSError
            return False

    def logs(self, tail: int | None = None) -> str:
        """What the inference server has printed, of earlier starts too; only the last `tail` lines if given."""
        try:
            text = _log_file(self.spec).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return text if tail is None else "".join(text.splitlines(keepends=True)[-tail:] if tail > 0 else [])

    def kill(self) -> None:
        """Ends everything at once, as if it had crashed."""
        if self._process is not None:
            _kill_group(self._process)
            self._state = ContainerState.CRASHED

    async def stop(self) -> None:
        """Ends the process and everything it started: SIGTERM, which finishes requests in flight, then SIGKILL."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            self._state = ContainerState.STOPPED
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, _STOP_GRACE_SECONDS)
        _kill_group(process)
        self._state = ContainerState.STOPPED


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of the process group, reaps the process and closes its lifeline."""
    with process, suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _log_file(spec: ContainerSpec) -> Path:
    return spec.app_root / "inference-server.log"


def _copy_files(spec: ContainerSpec) -> None:
    """Puts code and model where Azure has them. Models can be large and are read-only in Azure: they are linked."""
    spec.model_dir.mkdir(parents=True, exist_ok=True)
    if spec.model is not None:
        _replace_copy(spec.model, spec.model_dir / spec.model.name, _link_or_copy)
    if spec.code is not None:
        _replace_copy(spec.code, spec.app_root / spec.code.name, shutil.copy2)


def _replace_copy(source: Path, destination: Path, copy: Callable[[str, str], object]) -> None:
    """Copies afresh at every start, as a restarted container has: nothing half copied or written earlier stays."""
    if destination == source:
        return
    if source.is_dir():
        shutil.rmtree(destination, ignore_errors=True)
        shutil.copytree(source, destination, copy_function=copy)
    else:
        destination.unlink(missing_ok=True)
        copy(str(source), str(destination))


def _link_or_copy(source: str, destination: str) -> None:
    try:
        os.link(source, destination)
    except OSError:  # another file system
        shutil.copy2(source, destination)


def _environment(spec: ContainerSpec) -> dict[str, str]:
    """The container's environment: what a process needs, Azure's variables, and the user's own."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {
        "PATH": os.pathsep.join([str(spec.python.parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(spec.app_root),
        "PYTHONUNBUFFERED": "1",
        "SCORING_TIMEOUT_MS": str(round((spec.request_timeout_seconds + _SCORING_TIMEOUT_MARGIN_SECONDS) * 1000)),
    }
    environment |= spec.environment_variables
    environment |= {"AML_APP_ROOT": str(spec.app_root), "AZUREML_MODEL_DIR": str(spec.model_dir)}
    if spec.code is not None:
        environment["AZUREML_SOURCE_DIRECTORY"] = spec.code.name  # the server puts it on sys.path
    return environment
