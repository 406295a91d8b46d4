"""Long-running operations: stored, and one at a time per endpoint.

An operation ends when its outcome is known *and* the clock has passed `not_before`. No timer ends it: code that reads
state calls `end_due()` first, so tests can move the clock and need not wait. The resource after the operation
(`result`) is stored with it, so an emulator that was killed completes the operation after its next start.
"""

from dataclasses import asdict, dataclass, field
from typing import Literal
from uuid import uuid4

from rollway.emulator.core.clock import Clock, format_iso_offset
from rollway.emulator.core.errors import Document
from rollway.emulator.core.lags import READERS, LaggingView, Reader
from rollway.emulator.core.store import Resource, Store

STATUS, RESULTS = "mfeOperationsStatus", "mfeOperationResults"  # the two resources of an operation
NOT_ENDED = "0001-01-01T00:00:00+00:00"

Outcome = Literal["Succeeded", "Failed"]


@dataclass
class ForcedOutcome:
    """The outcome of an operation that a fault forces.

    Args:
        ends_as: Provisioning state of the resource. None for the real outcome.
        reported: Status of the operation. None for the real outcome.
        error: Error in the operation's status.
        is_stuck: True while the operation must not end.
    """

    ends_as: Outcome | None = None
    reported: Outcome | None = None
    error: Document | None = None
    is_stuck: bool = False


@dataclass
class Operation:
    """One long-running operation. Times are in seconds since the epoch.

    Args:
        resource: Id of the resource that it changes.
        not_before: Earliest time at which it ends.
        result: The resource's document after success.
        failed_result: Its document after a failure. None if it stays as it is while the operation runs.
        private: Internal values, such as the resource's private values after success.
        outcome: None until it is known.
        ended: Time of the end. None while the operation runs.
        lags: Seconds by which each reader lags behind the changes of this operation.
    """

    id: str
    method: Literal["PUT", "PATCH", "POST", "DELETE"]
    resource: str
    region: str
    started: float
    not_before: float
    result: Document | None = None
    failed_result: Document | None = None
    private: Document = field(default_factory=dict)
    outcome: Outcome | None = None
    error: Document | None = None
    ended: float | None = None
    forced: ForcedOutcome = field(default_factory=ForcedOutcome)
    lags: dict[Reader, float] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Document) -> "Operation":
        """Return the operation from a document that `asdict` returned."""
        return cls(**{**document, "forced": ForcedOutcome(**document.get("forced", {}))})

    @property
    def is_running(self) -> bool:
        return self.ended is None

    def path(self, kind: str) -> str:
        """Return the path of one of its two resources, STATUS or RESULTS. They are in the subscription."""
        provider = f"/subscriptions/{self.resource.split('/')[2]}/providers/Microsoft.MachineLearningServices"
        return f"{provider}/locations/{self.region}/{kind}/{self.id}"

    def status(self) -> Document:
        """Return the body of its `mfeOperationsStatus` resource, as recorded.

        Whatever the operation does, it is `Updating` while it runs, and `percentComplete` stays 0.
        """
        status: Document = {
            "id": self.path(STATUS),
            "name": self.id,
            "status": "Updating" if self.is_running else self.forced.reported or self.outcome,
            "startTime": format_iso_offset(self.started),
            "endTime": NOT_ENDED if self.ended is None else format_iso_offset(self.ended),
            "percentComplete": 0.0,
        }
        if self.error is not None and not self.is_running:
            status["error"] = self.error
        return status


class Operations:
    """All operations of the emulator."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        stored = [Operation.from_document(document) for document in store.operations()]
        self.running = {one.id: one for one in stored if one.is_running}
        self.views: dict[Reader, LaggingView] = {reader: LaggingView(store, clock) for reader in READERS}

    def start(self, operation: Operation, now_shown: Resource) -> None:
        """Store a new operation, and the resource as clients see it while the operation runs.

        If the operation has an outcome afterwards, a fault has decided it and no work must be done.
        """
        if operation.forced.ends_as is not None:
            operation.outcome, operation.error = operation.forced.ends_as, operation.forced.error
            operation.result = operation.failed_result = None
        self._remember(operation, operation.started, "reads", "lists")
        with self._store.transaction():
            self._store.put_operation(operation.id, asdict(operation))
            self._store.put(now_shown)
        self.running[operation.id] = operation

    def get(self, operation_id: str) -> Operation | None:
        document = self._store.operation(operation_id)
        return None if document is None else Operation.from_document(document)

    def set_outcome(self, operation: Operation, error: Document | None = None) -> None:
        """Set the outcome. The operation ends once the clock has passed `not_before`."""
        if self.running.get(operation.id) is not operation:
            return  # a reset has deleted it in the meantime
        operation.outcome, operation.error = ("Failed" if error else "Succeeded"), error
        operation.not_before = max(operation.not_before, self._clock.now())
        self._store.put_operation(operation.id, asdict(operation))
        self.end_due()

    def end_due(self) -> None:
        """End every operation that has an outcome and is due."""
        for operation in list(self.running.values()):
            if operation.forced.is_stuck or operation.outcome is None:
                continue
            if operation.not_before <= self._clock.now():
                self._end_operation(operation)

    def release_stuck(self) -> None:
        """Let operations end that a fault has stopped from ending."""
        for operation in self.running.values():
            if operation.forced.is_stuck:
                operation.forced.is_stuck = False
                self._store.put_operation(operation.id, asdict(operation))
        self.end_due()

    def running_on(self, endpoint_id: str) -> Operation | None:
        """Return the operation that is changing an endpoint or one of its online deployments."""
        self.end_due()
        key = endpoint_id.lower()
        for operation in self.running.values():
            if operation.resource.lower() == key or operation.resource.lower().startswith(f"{key}/"):
                return operation
        return None

    def forget_all(self) -> None:
        """Remove all running operations and lags from memory."""
        self.running.clear()
        self.end_lags()

    def end_lags(self) -> None:
        """Let every reader see the present state."""
        for view in self.views.values():
            view.clear()

    def _remember(self, operation: Operation, at: float, *readers: Reader) -> None:
        """Remember the resource as it is now for readers that lag behind the operation's change at `at`."""
        for reader in readers:
            lag_seconds = operation.lags.get(reader, 0.0)
            self.views[reader].remember(operation.resource, self._store.get(operation.resource), at, lag_seconds)

    def _end_operation(self, operation: Operation) -> None:
        operation.ended = max(operation.not_before, operation.started)
        self._remember(operation, operation.ended, *READERS)
        with self._store.transaction():
            self._store.put_operation(operation.id, asdict(operation))
            current = self._store.get(operation.resource)
            if operation.method == "DELETE" and operation.outcome == "Succeeded":
                self._store.delete(operation.resource)
            elif current is not None:
                self._store.put(_resource_after(operation, current))
        del self.running[operation.id]


def _resource_after(operation: Operation, current: Resource) -> Resource:
    """Return the resource after its operation. Private values change only if the operation succeeded."""
    changed = operation.result if operation.outcome == "Succeeded" else operation.failed_result
    document: Document = changed or current.document
    document = {**document, "properties": {**document["properties"], "provisioningState": operation.outcome}}
    private = current.private
    if operation.outcome == "Succeeded":
        private = {**current.private, **operation.private.get("on_success", {})}
    return Resource(current.type, document, private, current.sequence)


def new_operation_id(prefix: str, workspace_guid: str) -> str:
    """Return a new operation id in Azure's form. Prefixes: `oeidp` for endpoints, `odidp` for online deployments."""
    return f"{prefix}:{workspace_guid}:{uuid4()}"
