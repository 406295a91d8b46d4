"""The running containers: one revision, a set of equal instances, per online deployment."""

import asyncio
import hashlib
import logging
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

from rollway.emulator.runtime.container import Container, ContainerSpec, ContainerState
from rollway.emulator.runtime.probes import Probe, ProbeSettings

log = logging.getLogger("rollway.emulator.runtime.fleet")

WATCH_SECONDS = 1.0
READY_POLL_SECONDS = 0.1
MAX_SECONDS_BETWEEN_RESTARTS = 60.0
CRASHES_FORGOTTEN_SECONDS = 600.0


class ContainerFailed(Exception):
    """A container ended, or was not ready in time."""


@dataclass
class Instance:
    """One container, the number of its pending requests, and its probes."""

    container: Container
    slots: asyncio.Semaphore
    pending: int = 0
    crashes: int = 0
    restart_at: float = 0.0
    started_at: float = 0.0
    liveness: Probe = field(default_factory=lambda: Probe(ProbeSettings()))
    readiness: Probe = field(default_factory=lambda: Probe(ProbeSettings()))
    startup: ProbeSettings | None = None
    is_probed: bool = False  # the two probes have begun: Kubernetes runs them after the startup probe

    @property
    def is_ready(self) -> bool:
        """True if it gets requests."""
        return self.container.state is ContainerState.READY and self.readiness.has_passed

    async def start(self) -> None:
        """Start the container and reset its probes."""
        await self.container.start()
        self.started_at, self.is_probed = time.monotonic(), False
        self._begin_probes()

    def _begin_probes(self) -> None:
        if self.container.has_started and not self.is_probed:
            self.is_probed = True
            for probe in (self.liveness, self.readiness):
                probe.has_passed = True
                probe.begin(time.monotonic())

    async def probe(self) -> None:
        """Run the probes that are due. Kill the container if its liveness or startup probe has failed."""
        self._begin_probes()
        if self.startup is not None and not self.container.has_started:
            if time.monotonic() - self.started_at > self.startup.startup_seconds:
                log.warning("%s: startup probe failed, the container is killed", self.container.spec.name)
                self.container.kill()
            return
        routes = self.container.spec.routes
        for probe, route in ((self.liveness, routes.liveness), (self.readiness, routes.readiness)):
            if probe.is_due(time.monotonic()):
                is_healthy = await self.container.is_healthy(route, probe.settings.timeout)
                probe.record_result(is_healthy, time.monotonic())
        is_running = self.container.state in (ContainerState.STARTING, ContainerState.READY)
        if is_running and not self.liveness.has_passed:
            log.warning("%s: liveness probe failed, the container is killed", self.container.spec.name)
            self.container.kill()


@dataclass
class Revision:
    """The instances of an online deployment after one of its updates."""

    folder: Path
    instances: list[Instance]
    max_concurrent: int
    request_timeout_seconds: float
    is_retired: bool = False
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def from_specs(
        cls,
        folder: Path,
        specs: list[ContainerSpec],
        max_concurrent: int,
        liveness: ProbeSettings,
        readiness: ProbeSettings,
        startup: ProbeSettings | None = None,
    ) -> "Revision":
        """Return a revision with one instance per spec. It is not started."""
        instances = [
            Instance(
                Container(spec),
                asyncio.Semaphore(max_concurrent),
                liveness=Probe(liveness),
                readiness=Probe(readiness),
                startup=startup,
            )
            for spec in specs
        ]
        return cls(folder, instances, max_concurrent, specs[0].request_timeout_seconds)

    @property
    def pending(self) -> int:
        """Number of requests that wait or run."""
        return sum(instance.pending for instance in self.instances)

    @property
    def max_pending(self) -> int:
        """Limit of pending requests. Azure responds with 429 beyond it."""
        return 2 * self.max_concurrent * len(self.instances)

    def pick(self) -> Instance | None:
        """Return the ready instance with the fewest pending requests, or None if no instance is ready."""
        ready = [one for one in self.instances if one.is_ready]
        return min(ready, key=lambda one: one.pending, default=None)

    async def start(self) -> None:
        """Start all instances and wait until they are ready.

        Raises ContainerFailed if one ends, or is not ready in the time that its probes allow.
        """
        await asyncio.gather(*(instance.start() for instance in self.instances))
        probes = {name: getattr(self.instances[0], name).settings.startup_seconds for name in ("readiness", "liveness")}
        first = min(probes, key=probes.__getitem__)
        startup = self.instances[0].startup
        allowed = probes[first] + (0.0 if startup is None else startup.startup_seconds)
        deadline = time.monotonic() + allowed
        waiting = list(self.instances)
        while waiting:
            states = await asyncio.gather(*(instance.container.refresh() for instance in waiting))
            for instance, state in zip(waiting, states, strict=True):
                if state in (ContainerState.CRASHED, ContainerState.STOPPED):
                    code = instance.container.exit_code
                    raise ContainerFailed(f"User container has crashed or terminated: exit code {code}.")
            waiting = [one for one, state in zip(waiting, states, strict=True) if state is not ContainerState.READY]
            if waiting and time.monotonic() > deadline:
                failed = first if all(one.container.has_started for one in waiting) else "startup"
                text = f"{failed.capitalize()} probe failed: the container was not ready after {allowed:.0f} s."
                raise ContainerFailed(f"User container has crashed or terminated: {text}")
            if waiting:
                await asyncio.sleep(READY_POLL_SECONDS)

    async def retire(self) -> None:
        """Wait for requests in flight, within the limit of their own timeout, then stop all instances."""
        self.is_retired = True
        if self.pending:
            self._idle.clear()
            try:
                await asyncio.wait_for(self._idle.wait(), 2 * self.request_timeout_seconds + 1)
            except TimeoutError:
                log.warning("%s: stopped with %d requests still in flight", self.folder, self.pending)
        await self.stop()

    async def stop(self) -> None:
        """Stop all instances."""
        await asyncio.gather(*(instance.container.stop() for instance in self.instances))

    def request_ended(self) -> None:
        """Note that a request has ended; `retire` waits for the last one."""
        if not self.pending:
            self._idle.set()


class Fleet:
    """All revisions, by id of the online deployment. Ids ignore case."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._serving: dict[str, Revision] = {}
        self._starting_or_retiring: list[Revision] = []

    def serving_revision(self, deployment_id: str) -> Revision | None:
        """Return the revision that gets an online deployment's requests, or None."""
        return self._serving.get(deployment_id.lower())

    def serving_revisions(self) -> list[tuple[str, Revision]]:
        """Return pairs of an online deployment's id, in lower case, and its serving revision."""
        return list(self._serving.items())

    def deployment_folder(self, deployment_id: str) -> Path:
        """Return the folder with all revisions of an online deployment."""
        return self._folder / hashlib.sha256(deployment_id.lower().encode()).hexdigest()[:20]

    def new_folder(self, deployment_id: str) -> Path:
        """Create a folder for a new revision. Names sort by age."""
        folder = self.deployment_folder(deployment_id) / f"{time.time_ns():020}"
        folder.mkdir(mode=0o700, parents=True)
        return folder

    def newest_folder(self, deployment_id: str) -> Path | None:
        """Return the folder of the newest revision, including failed ones, or None."""
        home = self.deployment_folder(deployment_id)
        return max(home.iterdir(), default=None) if home.is_dir() else None

    async def start(self, revision: Revision) -> None:
        """Start a revision that gets no requests yet. Stop it again if that fails."""
        self._starting_or_retiring.append(revision)
        try:
            await revision.start()
        except BaseException:
            await revision.stop()
            raise
        finally:
            self._starting_or_retiring.remove(revision)

    async def replace(self, deployment_id: str, revision: Revision) -> None:
        """Send requests to `revision` from now on. Drain, stop and delete the previous revision."""
        before = self._serving.get(deployment_id.lower())
        self._serving[deployment_id.lower()] = revision
        if before is not None:
            await self._retire(before)
        self._remove_old_folders(deployment_id, keep=revision.folder)

    async def remove(self, deployment_id: str) -> None:
        """Drain, stop and delete the containers of an online deployment."""
        revision = self._serving.pop(deployment_id.lower(), None)
        if revision is not None:
            await self._retire(revision)
        shutil.rmtree(self.deployment_folder(deployment_id), ignore_errors=True)

    async def stop_all(self) -> None:
        """Stop all containers without draining. Folders stay."""
        await asyncio.gather(*(one.stop() for one in (*self._serving.values(), *self._starting_or_retiring)))
        self._serving.clear()

    async def watch(self) -> None:
        """Probe the serving containers forever, and restart those that crashed."""
        while True:
            checks = [
                _check_instance(instance, revision)
                for revision in self._serving.values()
                for instance in revision.instances
            ]
            for failure in await asyncio.gather(*checks, return_exceptions=True):
                if isinstance(failure, Exception):
                    log.error("a container could not be checked", exc_info=failure)
            await asyncio.sleep(WATCH_SECONDS)

    def clear(self) -> None:
        """Delete the folders of all revisions."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def container_count(self) -> int:
        """Return the number of serving containers."""
        return sum(len(revision.instances) for revision in self._serving.values())

    async def _retire(self, revision: Revision) -> None:
        self._starting_or_retiring.append(revision)
        try:
            await revision.retire()
        finally:
            self._starting_or_retiring.remove(revision)

    def _remove_old_folders(self, deployment_id: str, keep: Path) -> None:
        for folder in self.deployment_folder(deployment_id).iterdir():
            if folder != keep:
                shutil.rmtree(folder, ignore_errors=True)


async def _check_instance(instance: Instance, revision: Revision) -> None:
    """Probe one container. Restart it if it crashed, after a delay that doubles with each crash."""
    if revision.is_retired:
        return
    if await instance.container.refresh() in (ContainerState.STARTING, ContainerState.READY):
        await instance.probe()
    if instance.container.state is not ContainerState.CRASHED or revision.is_retired:
        return
    now = time.monotonic()
    if not instance.restart_at:
        instance.crashes = 1 if now - instance.started_at > CRASHES_FORGOTTEN_SECONDS else instance.crashes + 1
        instance.restart_at = now + min(2.0 ** (instance.crashes - 1), MAX_SECONDS_BETWEEN_RESTARTS)
        log.warning("%s crashed with exit code %s", instance.container.spec.name, instance.container.exit_code)
    if now >= instance.restart_at:
        instance.restart_at = 0.0
        await instance.start()
