"""One instance of an online deployment: Microsoft's inference server, or another program, with a container's files."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from rollway.emulator.runtime.layout import Layout
from rollway.emulator.runtime.own_ports import choose_ports
from rollway.emulator.runtime.programs import Program, with_values
from rollway.emulator.runtime.routes import SERVER_PORT, Route, Routes
from rollway.emulator.runtime.upstream import BrokenResponse, send_request

_DIE_WITH_PARENT = str(Path(__file__).with_name("die_with_parent.py"))
_LOOPBACK = Path(__file__).with_name("loopback")  # its sitecustomize.py
_PROBE_TIMEOUT_SECONDS = 2.0
_STOP_GRACE_SECONDS = 5.0
# The gateway times out first (408). The server's own limit is later, and frees the worker.
_SCORING_TIMEOUT_MARGIN_SECONDS = 1.0
# A container inherits only these variables: no Azure credentials, no settings of the emulator or its clients.
_INHERITED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "TZ")


class ContainerState(StrEnum):
    STARTING = "starting"
    READY = "ready"
    CRASHED = "crashed"  # the process ended by itself
    STOPPED = "stopped"


@dataclass(frozen=True)
class ContainerSpec:
    """Configuration of a container. `app_root` is its own folder, and stands for Azure's /var/azureml-app."""

    name: str  # "<endpoint>/<online deployment>/<instance>", for logs
    python: Path
    app_root: Path
    code: Path | None
    entry_script: str | None  # relative to `code`
    model: Path | None  # the uploaded file or folder
    model_name: str
    model_version: str
    environment_variables: Mapping[str, str]
    request_timeout_seconds: float
    routes: Routes = field(default_factory=Routes)
    has_startup_probe: bool = False
    program: Program = field(default_factory=Program)
    model_mount_path: str | None = None

    @property
    def layout(self) -> Layout:
        """Places of the container's paths."""
        return Layout(self.app_root, self.model_mount_path)

    @property
    def model_dir(self) -> Path:
        """The container's AZUREML_MODEL_DIR. It contains the model's file or folder under its own name."""
        return self.layout.model_dir(self.model_name, self.model_version)

    @property
    def code_dir(self) -> Path:
        """The container's AML_APP_ROOT: its copy of the code, recorded as `/var/azureml-app/onlinescoring`."""
        return self.app_root if self.code is None else self.app_root / self.code.name


class Container:
    """A process that runs a ContainerSpec. It can be started again after it has ended.

    Not safe for use from several event loops.
    """

    def __init__(self, spec: ContainerSpec) -> None:
        self.spec = spec
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: dict[int, int] = {}  # this machine's port for each port in the container
        self._has_started = False
        self._state = ContainerState.STOPPED

    @property
    def state(self) -> ContainerState:
        """State as of the last call of `start`, `refresh`, `kill` or `stop`."""
        return self._state

    @property
    def port(self) -> int:
        """Port on loopback to which scoring requests go. 0 if nothing listens there, as before the first start."""
        return self._ports.get(self.spec.routes.scoring.port, 0)

    @property
    def has_started(self) -> bool:
        """True if it needs no startup probe, or has passed it since its last start."""
        return self._has_started or not self.spec.has_startup_probe

    @property
    def pid(self) -> int | None:
        """Id of the process, and of its process group. None if it does not run."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of the process, negative for a signal. None while it runs and before the first start."""
        return None if self._process is None else self._process.poll()

    async def start(self) -> None:
        """Copy the files and start the inference server. Return in state STARTING, before it is ready."""
        if self._process is not None and self._process.poll() is None:
            raise RuntimeError(f"container {self.spec.name} is already running")
        await asyncio.to_thread(_copy_files, self.spec)
        self._has_started = False
        if self.spec.program.command is None:
            self._spawn()
        else:
            self._spawn_program(self.spec.program.command)
        self._state = ContainerState.STARTING

    def _spawn(self) -> None:
        spec = self.spec
        command = [str(spec.python), str(Path(__file__).with_name("bootstrap.py"))]
        if spec.entry_script is not None:
            command += ["--entry_script", str(spec.code_dir / spec.entry_script)]
        # Bound here and passed on, so that the port is known at once and no other process can take it.
        with socket.socket() as listener, _log_file(spec).open("ab") as log:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
            self._ports = {SERVER_PORT: port}
            self._process = subprocess.Popen(
                [*command, "--port", str(port)],
                cwd=spec.app_root,
                env=_environment(spec) | {"ROLLWAY_SOCKET": str(listener.fileno())},
                stdin=subprocess.PIPE,  # its end kills the server, see bootstrap.py
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(listener.fileno(),),
                start_new_session=True,
            )

    def _spawn_program(self, command: tuple[str, ...]) -> None:
        spec, program = self.spec, self.spec.program
        numbers = spec.routes.ports
        ports = self._ports = dict(zip(numbers, choose_ports(len(numbers)), strict=True))

        def own(text: str) -> str:
            text = spec.layout.with_places(text)
            return with_values(text, ports, spec.routes.scoring.port, spec.model_dir, program.here)

        environment = _environment(spec)
        environment |= {name: own(value) for name, value in program.mapped_variables.items()}
        environment |= _program_environment(spec, ports, environment.get("PYTHONPATH"))
        folder = spec.app_root if program.context is None else spec.layout.place(program.folder)
        words = [spec.layout.executable(own(command[0])), *map(own, command[1:])]
        with _log_file(spec).open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-IS", _DIE_WITH_PARENT, *words],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,  # its end kills the command, see die_with_parent.py
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def refresh(self) -> ContainerState:
        """Check the process and return its state. While it is STARTING, also request the readiness route, after the
        startup route if there is a startup probe. Takes at most about 4 s.

        A READY container stays READY while its process runs, because a worker that is busy scoring does not respond
        to probes either. The caller probes with `is_healthy`, and can `kill` a container that fails too often.
        """
        if self._state is ContainerState.STARTING:
            if not self.has_started:
                self._has_started = await self.is_healthy(self.spec.routes.startup)
            is_healthy = self.has_started and await self.is_healthy()
            if is_healthy and self._state is ContainerState.STARTING:  # stop() may have been called in the meantime
                self._state = ContainerState.READY
        is_running = self._state in {ContainerState.STARTING, ContainerState.READY}
        if is_running and self._process is not None and self._process.poll() is not None:
            _kill_group(self._process)
            self._state = ContainerState.CRASHED
        return self._state

    async def is_healthy(self, route: Route | None = None, timeout_seconds: float = _PROBE_TIMEOUT_SECONDS) -> bool:
        """Return True if a route, by default the readiness route, responds with a status from 200 to 399 in time."""
        route = route or self.spec.routes.readiness
        if route.port not in self._ports:
            return False
        request = send_request(self._ports[route.port], "GET", route.path.encode(), (), b"")
        try:
            async with asyncio.timeout(timeout_seconds), request as response:
                return 200 <= response.status < 400  # like Kubernetes
        except (OSError, BrokenResponse):  # TimeoutError is an OSError
            return False

    def logs(self, tail: int | None = None) -> str:
        """Return the output of the inference server, of earlier starts too, or its last `tail` lines."""
        try:
            text = _log_file(self.spec).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return text if tail is None else "".join(text.splitlines(keepends=True)[-tail:] if tail > 0 else [])

    def kill(self) -> None:
        """Kill the process and everything it started. The state is then CRASHED."""
        if self._process is not None:
            _kill_group(self._process)
            self._state = ContainerState.CRASHED

    async def stop(self) -> None:
        """Stop the process and everything it started: SIGTERM, which lets it finish requests, then SIGKILL."""
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
    """Kill the rest of the process group, reap the process and close its standard input."""
    with process, suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _log_file(spec: ContainerSpec) -> Path:
    return spec.app_root / "inference-server.log"


def _copy_files(spec: ContainerSpec) -> None:
    """Copy code and model to their places in Azure's layout.

    Models are hard links, because they can be large and are read-only in Azure.
    """
    if spec.program.context is not None:
        spec.layout.copy_image_files(spec.program.context, spec.program.copied, spec.program.folder)
    spec.model_dir.mkdir(parents=True, exist_ok=True)
    if spec.model is not None:
        _replace_copy(spec.model, spec.model_dir / spec.model.name, _link_or_copy)
    if spec.code is not None:
        _replace_copy(spec.code, spec.code_dir, shutil.copy2)


def _replace_copy(source: Path, destination: Path, copy: Callable[[str, str], object]) -> None:
    """Replace `destination` with a new copy of `source`, so that a restarted container has clean files."""
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
    """Return the container's environment variables: the inherited ones, the image's, the user's, and Azure's.

    The inference server puts AML_APP_ROOT on sys.path, so scripts can import what is beside them.
    """
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {
        "PATH": os.pathsep.join([str(spec.python.parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(spec.app_root),
        "PYTHONUNBUFFERED": "1",
        "SCORING_TIMEOUT_MS": str(round((spec.request_timeout_seconds + _SCORING_TIMEOUT_MARGIN_SECONDS) * 1000)),
    }
    given = {**spec.program.variables, **spec.environment_variables}
    environment |= {name: spec.layout.with_places(value) for name, value in given.items()}
    return environment | {"AML_APP_ROOT": str(spec.code_dir), "AZUREML_MODEL_DIR": str(spec.model_dir)}


def _program_environment(spec: ContainerSpec, ports: Mapping[int, int], python_path: str | None) -> dict[str, str]:
    """Return the variables of a command that is not Microsoft's inference server."""
    environment = {
        "ROLLWAY_PORTS": ",".join(f"{number}={port}" for number, port in ports.items()),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_LOOPBACK), python_path))),
    }
    if spec.code is not None and spec.entry_script is not None:
        environment["AZUREML_ENTRY_SCRIPT"] = spec.entry_script
    return environment
