"""One endpoint of Azure ML in memory, behind the few calls of `MLClient` that the control plane makes.

It holds the SDK's own entities, and is as unkind as Azure: a write to the endpoint is seen only after some requests,
every other write is refused meanwhile, and reads may lag behind a write that has ended.
"""

import asyncio
import copy
import itertools
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
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
from rollway.azure.state import OPERATION_ADDRESS, read_endpoint
from rollway.azure.unpolled import Accepted
from rollway.rollout.entries import Lease
from rollway.rollout.record import LEASE, VERSION, EndpointRecord, with_record
from rollway.rollout.state import EndpointState, is_settled
from tests.support.fake_assets import FakeEnvironments, FakeModels
from tests.support.fake_monitor import WORKSPACE, FakeMonitor

REQUESTS_UNTIL_DONE = 3
OURS, THEIRS = "ours/1", "theirs/1"  # run attempts
T = TypeVar("T")


def run(call: Coroutine[Any, Any, T]) -> T:
    """The result of one call of the adapter."""
    return asyncio.run(call)


def refuse(*_: Any, **__: Any) -> Any:
    """Answer a call as Azure does when it refuses a request for good."""
    raise HttpResponseError("it says no")


def answer_with_404_once(azure: "FakeAzure", call: str, *, after: int = 0) -> None:
    """Let one call of that name, such as `get_endpoint` or `list`, be answered as if nothing were there.

    `after` is the number of such calls that come before it.
    """
    azure.instead(**{call: not_found_once(getattr(azure, f"_{call}"), after=after)})


def not_found_once(answer: Callable[..., Any], *, after: int = 0) -> Callable[..., Any]:
    """Return the same call, of which one is answered as if nothing were there."""
    numbers = itertools.count()

    def answered(*args: Any, **kwargs: Any) -> Any:
        if next(numbers) == after:
            raise ResourceNotFoundError("no such resource")
        return answer(*args, **kwargs)

    return answered


class FakeAzure:
    """The endpoint `diabetes`, or none; `writes` tells every write that was made, in order, `requests` all requests.

    Attributes:
        operation: What Azure says about operations that `operations` does not have.
        operations: What it says about others, by address. A write of an online deployment, and a delete, start the
            operation `https://arm/operations/<number of the write, from 1>`.
        first_state: The state of a new online deployment.
        lost_answers: So many of the next writes are made, and their answers lost.
        lost_requests: So many of the next writes never arrive.
        lagging_reads: So many reads of the endpoint still show what was there before an operation that has ended.
        lagging_lists: So many lists do not show a new online deployment.
        duration: The number of requests in which an operation on the endpoint runs.
        log: The log of every container; empty for the name of its container.
    """

    def __init__(self) -> None:
        self.endpoint: ManagedOnlineEndpoint | None = None
        self.online_deployments: dict[str, ManagedOnlineDeployment] = {}
        self.monitor, self.models, self.environments = FakeMonitor(), FakeModels(), FakeEnvironments()
        self.registries: dict[str, FakeModels] = {}
        self.requests: list[str] = []
        self.writes: list[str] = []
        self.operation: dict[str, Any] = {}
        self.operations: dict[str, dict[str, Any]] = {}
        self.first_state = "Succeeded"
        self.lost_answers = self.lost_requests = self.lagging_reads = self.lagging_lists = 0
        self.duration, self.log = REQUESTS_UNTIL_DONE, ""
        self._running: tuple[int, Callable[[], object]] | None = None
        self._stale: tuple[int, ManagedOnlineEndpoint | None] = (0, None)
        self._unlisted: dict[str, int] = {}

    @property
    def session(self) -> Session:
        """The session whose clients talk to this fake."""
        ml = SimpleNamespace(
            online_endpoints=SimpleNamespace(
                get=self._get_endpoint, begin_create_or_update=self._put_endpoint, begin_delete=self._delete_endpoint
            ),
            online_deployments=SimpleNamespace(
                get=self._get,
                list=self._list,
                begin_create_or_update=self._put,
                begin_delete=self._delete,
                get_logs=self._get_logs,
            ),
            models=self.models,
            environments=self.environments,
            compute=SimpleNamespace(list_sizes=self._sizes, list_usage=self._usage),
        )
        values = {"ml": ml, "monitor": self.monitor, "workspace": WORKSPACE, "arm_url": "https://arm"}
        calls = {
            "read_arm": lambda address: self.operations.get(address, self.operation),
            "patch_endpoint_tags": self._patch_endpoint_tags,
            "registry": self._registry,
            "now": lambda: datetime.now(UTC),
        }
        return cast(Session, SimpleNamespace(**values, **calls))

    @property
    def all_requests(self) -> list[str]:
        """All requests, those for models, environments and autoscale settings last."""
        return [*self.requests, *self.models.requests, *self.environments.requests, *self.monitor.requests]

    @property
    def traffic(self) -> dict[str, int]:
        """The live traffic, without entries of weight 0."""
        return {name: weight for name, weight in (self._there().traffic or {}).items() if weight}

    @property
    def state(self) -> EndpointState:
        """The endpoint as a decision sees it now."""
        return run(read_endpoint(self.session, "diabetes"))

    @property
    def record(self) -> EndpointRecord:
        """The record on the endpoint."""
        return EndpointRecord.of(self._there().tags or {})

    @property
    def tags(self) -> dict[str, str]:
        """The endpoint's tags that have a value, except the lease and the record's format."""
        tags = (self._there().tags or {}).items()
        return {key: value for key, value in tags if value and key not in (LEASE, VERSION)}

    @property
    def holder(self) -> str | None:
        """The run attempt that holds the lease."""
        held = self.record.lease
        return held.holder if held else None

    def remember(self, change: Callable[[EndpointRecord], EndpointRecord]) -> None:
        """Change the record; no write."""
        endpoint = self._there()
        endpoint.tags = with_record(endpoint.tags or {}, change(self.record))

    def lease_to(self, holder: str, ttl_seconds: int = 300, renewed_at: str = "then") -> None:
        """Give the lease to a run attempt, or renew it when `renewed_at` is another; no write."""
        held = Lease(holder=holder, ttl_seconds=ttl_seconds, renewed_at=renewed_at)
        self.remember(lambda record: record.claimed(held))

    def have_endpoint(self, state: str = "Succeeded", **values: Any) -> None:
        """Put an endpoint there."""
        self.endpoint = ManagedOnlineEndpoint(name="diabetes", provisioning_state=state, **values)

    def have(self, name: str, state: str = "Succeeded", **values: Any) -> None:
        """Put an online deployment there."""
        self.online_deployments[name] = ManagedOnlineDeployment(
            name=name, endpoint_name="diabetes", instance_type="x", provisioning_state=state, **values
        )

    def instead(self, **calls: Callable[..., Any]) -> None:
        """Let other functions answer calls, such as `put_endpoint`, `patch_endpoint_tags`, `list` or `delete`."""
        for name, act in calls.items():
            assert hasattr(self, f"_{name}"), name
            setattr(self, f"_{name}", act)

    def start_operation(self, change: Callable[[], object], requests: int | None = None) -> None:
        """Start an operation on the endpoint: it takes effect, and lets others write, with the request of that number.

        Until then reads show the endpoint as it was.
        """
        self._running = (self.duration if requests is None else requests, change)

    def end_operation(self) -> None:
        """Let the operation that is running end, if there is one."""
        while self._running is not None:
            self._note("a request of somebody else")

    def set_traffic(self, **traffic: int) -> None:
        """Change the traffic as somebody else would."""
        self._there().traffic = traffic

    def _registry(self, name: str) -> SimpleNamespace:
        if name not in self.registries:
            raise ResourceNotFoundError(f"no registry {name}")
        return SimpleNamespace(models=self.registries[name])

    def _sizes(self, **_: str) -> list[Any]:
        self._note("sizes")
        return [SimpleNamespace(name="Standard_DS3_v2", family="standardDSv2Family", vCPUs=4)]

    def _usage(self, **_: str) -> list[Any]:
        self._note("usage")
        name = {"value": "standardDSv2Family"}
        return [SimpleNamespace(name=name, type="x/vmFamily/usages", currentValue=0, limit=100)]

    def _there(self) -> ManagedOnlineEndpoint:
        assert self.endpoint is not None
        return self.endpoint

    def _get_endpoint(self, name: str) -> ManagedOnlineEndpoint:
        self._note("get endpoint")
        reads, before = self._stale
        self._stale = (max(0, reads - 1), before)
        shown = before if reads else self.endpoint
        if shown is None:
            raise ResourceNotFoundError(f"no endpoint {name}")
        found = copy.deepcopy(shown)
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
                self.endpoint, self._stale = copy.deepcopy(wanted), (self.lagging_reads, None)
            self.start_operation(lambda: setattr(self, "endpoint", wanted))

        self._write("put endpoint", make)

    def _patch_endpoint_tags(self, name: str, tags: Mapping[str, str]) -> None:
        def make() -> None:
            if self.endpoint is None:
                raise ResourceNotFoundError(f"no endpoint {name}")
            today = self.endpoint.tags or {}
            changed = sorted(key for key in tags if (tags[key] or "") != (today.get(key) or ""))
            self.writes.append(" ".join(["patch", *changed]))
            self.start_operation(lambda: setattr(self.endpoint, "tags", dict(tags)))

        self._write("patch endpoint", make)

    def _delete_endpoint(self, name: str) -> Accepted:
        def make() -> None:
            self.writes.append(f"delete endpoint {name}")
            self.endpoint = None
            self.online_deployments = {}

        self._write("delete endpoint", make)
        return Accepted(self._last_operation)

    def _get(self, name: str, _: str) -> ManagedOnlineDeployment:
        self._note(f"get {name}")
        if name not in self.online_deployments:
            raise ResourceNotFoundError(f"no online deployment {name}")
        return copy.deepcopy(self.online_deployments[name])

    def _list(self, _: str) -> list[ManagedOnlineDeployment]:
        self._note("list")
        found = [copy.deepcopy(one) for name, one in self.online_deployments.items() if not self._unlisted.get(name)]
        self._unlisted = {name: lists - 1 for name, lists in self._unlisted.items() if lists > 1}
        return found

    def _get_logs(self, name: str, _: str, lines: int, container_type: str) -> str:
        return self.log or f"{container_type} of {name}, {lines} lines\n"

    def _put(self, entity: ManagedOnlineDeployment, **_: bool) -> Accepted:
        def make() -> None:
            name = str(entity.name)
            self.writes.append(f"put {name}")
            before = self.online_deployments.get(name)
            if before is None:
                self._unlisted[name] = self.lagging_lists
            # Azure keeps the address of the creation.
            address = self._last_operation if before is None else before.properties.get(OPERATION_ADDRESS)
            self.online_deployments[name] = copy.deepcopy(entity)
            self.online_deployments[name].properties = {**(entity.properties or {}), OPERATION_ADDRESS: address}
            self.online_deployments[name]._provisioning_state = self.first_state

        self._write(f"put {entity.name}", make)
        return Accepted(self._last_operation)

    @property
    def _last_operation(self) -> str:
        return f"https://arm/operations/{len(self.writes)}"

    def _delete(self, name: str, _: str) -> Accepted:
        def make() -> None:
            if name not in self.online_deployments:
                raise ResourceNotFoundError(f"no online deployment {name}")
            if self.traffic.get(name):
                raise HttpResponseError("it has traffic")
            self.writes.append(f"delete {name}")
            del self.online_deployments[name]

        self._write(f"delete {name}", make)
        return Accepted(self._last_operation)

    def _note(self, request: str) -> None:
        """Take in a request; a running operation comes closer to its end."""
        self.requests.append(request)
        if self._running is None:
            return
        requests, change = self._running
        self._running = (requests - 1, change) if requests > 1 else None
        if self._running is None:
            if not self._stale[0]:
                self._stale = (self.lagging_reads, copy.deepcopy(self.endpoint))
            change()

    def _write(self, request: str, make: Callable[[], None]) -> None:
        if self.lost_requests:
            self.lost_requests -= 1
            raise ServiceResponseError("the connection was closed before the request was sent")
        is_busy = self._running is not None
        self._note(request)
        if is_busy or not all(is_settled(str(one.provisioning_state)) for one in self.online_deployments.values()):
            error = ResourceExistsError("Already running method")
            error.status_code = 409
            raise error
        make()
        if self.lost_answers:
            self.lost_answers -= 1
            raise ServiceResponseError("the connection was closed before the answer came")
