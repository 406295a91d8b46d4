"""One endpoint of Azure ML in memory, behind the few calls of `MLClient` that the control plane makes.

It holds the SDK's own entities. A write to the endpoint is seen only after some reads, as in Azure, where the traffic
map and the tags stay the old ones until the operation has ended. Meanwhile every other write is refused.
"""

import asyncio
import copy
from collections.abc import Callable, Coroutine, Mapping
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceResponseError,
)

from rollway.azure.session import Session
from rollway.rollout.record import LEASE, VERSION, EndpointRecord, Lease, with_record

READS_UNTIL_DONE = 3
OURS, THEIRS = "ours/1", "theirs/1"  # run attempts
T = TypeVar("T")


def run(call: Coroutine[Any, Any, T]) -> T:
    """The result of one call of the adapter."""
    return asyncio.run(call)


class FakeAzure:
    """The endpoint `diabetes`, or none; `writes` tells every write that was made, in order."""

    def __init__(self) -> None:
        self.endpoint: ManagedOnlineEndpoint | None = None
        self.online_deployments: dict[str, ManagedOnlineDeployment] = {}
        self.writes: list[str] = []
        self.operation: dict[str, Any] = {}  # what a failed online deployment's operation says
        self.first_state = "Succeeded"  # of a new online deployment
        self.lost_answers = 0  # so many of the next writes are made, and their answers lost
        self.lost_requests = 0  # so many of the next writes never arrive
        self._running: tuple[int, Callable[[], None]] | None = None

    @property
    def session(self) -> Session:
        """The session whose client talks to this fake."""
        ml = SimpleNamespace(
            online_endpoints=SimpleNamespace(
                get=self._get_endpoint, begin_create_or_update=self._put_endpoint, begin_delete=self._delete_endpoint
            ),
            online_deployments=SimpleNamespace(
                get=self._get,
                list=lambda _: list(self.online_deployments.values()),
                begin_create_or_update=self._put,
                begin_delete=self._delete,
                get_logs=lambda name, _, lines, container_type: f"{container_type} of {name}, {lines} lines\n",
            ),
        )
        return cast(
            Session,
            SimpleNamespace(ml=ml, read_arm=lambda _: self.operation, patch_endpoint_tags=self._patch_endpoint_tags),
        )

    @property
    def traffic(self) -> dict[str, int]:
        """The live traffic, without entries of weight 0."""
        assert self.endpoint is not None
        return {name: weight for name, weight in (self.endpoint.traffic or {}).items() if weight}

    @property
    def tags(self) -> dict[str, str]:
        """The endpoint's tags that have a value, except the lease and the record's format."""
        assert self.endpoint is not None
        return {
            key: value for key, value in (self.endpoint.tags or {}).items() if value and key not in (LEASE, VERSION)
        }

    @property
    def holder(self) -> str | None:
        """The run attempt that holds the lease."""
        assert self.endpoint is not None
        held = EndpointRecord.of(self.endpoint.tags or {}).lease
        return held.holder if held else None

    def lease_to(self, holder: str, ttl_seconds: int = 300, renewed_at: str = "then") -> None:
        """Gives the lease to a run attempt, or renews it when `renewed_at` is another; no write."""
        assert self.endpoint is not None
        tags = self.endpoint.tags or {}
        held = Lease(holder=holder, ttl_seconds=ttl_seconds, renewed_at=renewed_at)
        self.endpoint.tags = with_record(tags, EndpointRecord.of(tags).claimed(held))

    def have_endpoint(self, state: str = "Succeeded", **values: Any) -> None:
        """Puts an endpoint there."""
        self.endpoint = ManagedOnlineEndpoint(name="diabetes", provisioning_state=state, **values)

    def have(self, name: str, state: str = "Succeeded", **values: Any) -> None:
        """Puts an online deployment there."""
        self.online_deployments[name] = ManagedOnlineDeployment(
            name=name, endpoint_name="diabetes", instance_type="x", provisioning_state=state, **values
        )

    def start_operation(self, change: Callable[[], None], reads: int = READS_UNTIL_DONE) -> None:
        """Starts an operation on the endpoint: it takes effect, and lets others write, with the read of that number."""
        self._running = (reads, change)

    def set_traffic(self, **traffic: int) -> None:
        """Change the traffic as somebody else would."""
        assert self.endpoint is not None
        self.endpoint.traffic = traffic

    def _get_endpoint(self, name: str) -> ManagedOnlineEndpoint:
        if self.endpoint is None:
            raise ResourceNotFoundError(f"no endpoint {name}")
        if self._running is not None:
            reads, change = self._running
            self._running = (reads - 1, change) if reads > 1 else None
            if self._running is None:
                change()
        if self.endpoint is None:  # that operation deleted it
            raise ResourceNotFoundError(f"no endpoint {name}")
        found = copy.deepcopy(self.endpoint)
        if self._running is not None:
            found._provisioning_state = "Updating"
        found.traffic = {**dict.fromkeys(self.online_deployments, 0), **(found.traffic or {})}
        return found

    def _put_endpoint(self, entity: ManagedOnlineEndpoint) -> None:
        def make() -> None:
            wanted = copy.deepcopy(entity)
            # The SDK drops zeroes before it writes.
            wanted.traffic = {name: weight for name, weight in (entity.traffic or {}).items() if weight}
            self.writes.append(f"put endpoint {wanted.traffic}")
            wanted._provisioning_state = "Succeeded"
            if self.endpoint is None:
                self.endpoint = copy.deepcopy(wanted)
            self.start_operation(lambda: setattr(self, "endpoint", wanted))

        self._write(make)

    def _patch_endpoint_tags(self, name: str, tags: Mapping[str, str]) -> None:
        def make() -> None:
            if self.endpoint is None:
                raise ResourceNotFoundError(f"no endpoint {name}")
            today, held = self.endpoint.tags or {}, EndpointRecord.of(tags).lease
            others = sorted(key for key in tags if key not in (LEASE, VERSION) and tags[key] != today.get(key))
            self.writes.append(" ".join([f"lease to {held.holder}" if held else "lease free", *others]))
            self.start_operation(lambda: setattr(self.endpoint, "tags", dict(tags)))

        self._write(make)

    def _delete_endpoint(self, name: str) -> None:
        def make() -> None:
            self.writes.append(f"delete endpoint {name}")
            self.endpoint = None
            self.online_deployments = {}

        self._write(make)

    def _get(self, name: str, _: str) -> ManagedOnlineDeployment:
        if name not in self.online_deployments:
            raise ResourceNotFoundError(f"no online deployment {name}")
        return copy.deepcopy(self.online_deployments[name])

    def _put(self, entity: ManagedOnlineDeployment) -> None:
        def make() -> None:
            self.writes.append(f"put {entity.name}")
            self.online_deployments[str(entity.name)] = copy.deepcopy(entity)
            self.online_deployments[str(entity.name)]._provisioning_state = self.first_state

        self._write(make)

    def _delete(self, name: str, _: str) -> None:
        def make() -> None:
            if name not in self.online_deployments:
                raise ResourceNotFoundError(f"no online deployment {name}")
            if self.traffic.get(name):
                raise HttpResponseError("it has traffic")
            self.writes.append(f"delete {name}")
            del self.online_deployments[name]

        self._write(make)

    def _write(self, make: Callable[[], None]) -> None:
        if self.lost_requests:
            self.lost_requests -= 1
            raise ServiceResponseError("the connection was closed before the request was sent")
        if self._running is not None:
            error = ResourceExistsError("Already running method")
            error.status_code = 409
            raise error
        make()
        if self.lost_answers:
            self.lost_answers -= 1
            raise ServiceResponseError("the connection was closed before the answer came")
