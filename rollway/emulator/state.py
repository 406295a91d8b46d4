"""The emulator's parts, created once for one state directory."""

import asyncio
import itertools
import logging
import os
from collections import deque
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from rollway.emulator.blob.blobs import Blobs
from rollway.emulator.core.clock import Clock, Profile
from rollway.emulator.core.errors import Document, Origin
from rollway.emulator.core.faults import Faults
from rollway.emulator.core.operations import Operations
from rollway.emulator.core.samples import Samples
from rollway.emulator.core.seed import Seed
from rollway.emulator.core.store import Store
from rollway.emulator.core.throttling import Throttle
from rollway.emulator.login.endpoint_tokens import EndpointTokens
from rollway.emulator.login.identity import Identity
from rollway.emulator.runtime.access import ContainerAccess
from rollway.emulator.runtime.fleet import Fleet

log = logging.getLogger("rollway.emulator")

REQUESTS_KEPT = 20_000
CLOCK_AHEAD = "clock ahead"


@dataclass
class Emulator:
    """The parts that all requests share."""

    url: str
    folder: Path
    seed: Seed
    profile: Profile
    clock: Clock
    store: Store
    operations: Operations
    identity: Identity
    endpoint_tokens: EndpointTokens
    throttle: Throttle
    blobs: Blobs
    fleet: Fleet
    samples: Samples
    access: ContainerAccess = field(default_factory=ContainerAccess)
    images: Path | None = None
    secret: str = ""  # for `/_emulator/` and the page; empty on loopback, which needs none
    requests: deque[Document] = field(default_factory=lambda: deque(maxlen=REQUESTS_KEPT))
    request_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    faults: Faults = field(default_factory=Faults)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def region(self) -> str:
        """The region of the first workspace, in which the service's own responses arise."""
        return self.seed.workspaces[0].location.lower()

    @property
    def origin(self) -> Origin:
        """Where and when an error of now arises."""
        return Origin(self.region, self.clock.now())

    def spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        """Run `work` as a task. An unexpected error is logged."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_failure)

    async def stop_work(self) -> None:
        """Cancel all tasks and stop all containers."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.fleet.stop_all()


def create_emulator(
    folder: Path,
    store: Store,
    seed: Seed,
    *,
    url: str,
    profile: Profile,
    images: Path | None,
    secret: str = "",
    bundle: Path | None = None,
) -> Emulator:
    """Return the emulator of a state directory.

    Args:
        url: Its own address.
        bundle: File with the root certificates that its containers trust.
    """
    clock = Clock()
    clock.advance(float(store.setting(CLOCK_AHEAD) or 0))
    return Emulator(
        url=url,
        folder=folder,
        seed=seed,
        profile=profile,
        clock=clock,
        store=store,
        operations=Operations(store, clock),
        throttle=Throttle(seed.throttling, clock),
        identity=Identity(seed, get_or_create_secret(store, "token signing key"), clock, url),
        endpoint_tokens=EndpointTokens(store, clock, seed.tenant_id),
        blobs=Blobs(store, folder / "blobs", get_or_create_secret(store, "storage account key"), clock, url),
        fleet=Fleet(folder / "online-deployments"),
        samples=Samples(clock),
        access=ContainerAccess(bundle),
        images=images,
        secret=secret,
    )


def get_or_create_secret(store: Store, name: str) -> str:
    """Return a stored random secret. Create it on first use."""
    value = store.setting(name)
    if value is None:
        value = token_hex(32)
        store.set_setting(name, value)
    return value


def environment_cache() -> Path:
    """Return the folder of built environments, which all emulators of this user share.

    The variable `ROLLWAY_CACHE` changes its location.
    """
    if own := os.environ.get("ROLLWAY_CACHE"):
        return Path(own) / "environments"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rollway" / "environments"


def log_failure(task: asyncio.Task[None]) -> None:
    """Log the unexpected error of a task. Pass it to `add_done_callback` of tasks that are not awaited."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s ended with an unexpected error", task.get_name(), exc_info=error)
