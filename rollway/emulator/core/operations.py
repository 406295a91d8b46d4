"""Long-running operations: stored, one at a time per endpoint, finished on read once their time has come.

An operation ends when its outcome is known *and* the clock has passed `not_before`. Whoever reads state calls
`end_due()` first, so a moved clock needs no waiting. What it does when it ends (`result`) is stored with it, so a killed
emulator finishes it after the next start.
"""

from dataclasses import asdict, dataclass, field
from typing import Literal
from uuid import uuid4

from rollway.emulator.core.clock import Clock, format_iso
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource, Store

Outcome = Literal["Succeeded", "Failed"]


@dataclass
class ForcedOutcome:
    """How an operation ends because a fault says so, whatever the request asks for.

    `ends_as` is the outcome of the resource and `reported` what the operation's status says of it; both None: as it
    would without a fault. `is_stuck`: not before it is released. `error` is the status's error.
    """

    ends_as: Outcome | None = None
    reported: Outcome | None = None
    error: Document | None = None
    is_stuck: bool = False


@dataclass
class Operation:
    """One operation; times in seconds since the epoch."""

    id: str
    method: Literal["PUT", "PATCH", "POST", "DELETE"]
    resource: str
    region: str
    started: float
    not_before: float
    result: Document | None = None
    private: Document = field(default_factory=dict)
    outcome: Outcome | None = None
    error: Document | None = None
    ended: float | None = None
    forced: ForcedOutcome = field(default_factory=ForcedOutcome)

    @classmethod
    def from_document(cls, document: Document) -> "Operation":
        """The operation of a document that `asdict` made."""
        return cls(**{**document, "forced": ForcedOutcome(**document.get("forced", {}))})

    @property
    def is_running(self) -> bool:
        return self.ended is None

    def status(self) -> Document:
        """The body of its `mfeOperationsStatus` resource; the word while it runs is the service's."""
        running = "Updating" if self.method != "PUT" or self.private.get("is_update") else "Creating"
        status: Document = {
            "id": self.id,
            "name": self.id,
            "status": running if self.is_running else self.forced.reported or self.outcome,
            "startTime": format_iso(self.started),
            "percentComplete": 0.0 if self.is_running else 100.0,
        }
        if self.ended is not None:
            status["endTime"] = format_iso(self.ended)
        if self.error is not None and not self.is_running:
            status["error"] = self.error
        return status


class Operations:
    """All operations of the emulator."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        stored = [Operation.from_document(document) for document in store.operations()]
        self.running = {one.id: one for one in stored if one.is_running}

    def start(self, operation: Operation, now_shown: Resource) -> Operation:
        """Store a new operation together with the resource as it is shown while it runs.

        An operation that has its outcome afterwards needs no work.
        """
        if operation.forced.ends_as is not None:
            operation.outcome, operation.error = operation.forced.ends_as, operation.forced.error
            operation.result = None
        with self._store.transaction():
            self._store.put_operation(operation.id, asdict(operation))
            self._store.put(now_shown)
        self.running[operation.id] = operation
        return operation

    def get(self, operation_id: str) -> Operation | None:
        document = self._store.operation(operation_id)
        return None if document is None else Operation.from_document(document)

    def set_outcome(self, operation: Operation, error: Document | None = None) -> None:
        """The outcome is known; it shows once the clock has passed `not_before`."""
        if self.running.get(operation.id) is not operation:
            return  # forgotten by a reset meanwhile
        operation.outcome, operation.error = ("Failed" if error else "Succeeded"), error
        self._store.put_operation(operation.id, asdict(operation))
        self.end_due()

    def end_due(self) -> None:
        """Let every operation end whose time has come."""
        for operation in list(self.running.values()):
            if operation.forced.is_stuck or operation.outcome is None:
                continue
            if operation.not_before <= self._clock.now():
                self._end_operation(operation)

    def release_stuck(self) -> None:
        """Operations that a fault holds may end."""
        for operation in self.running.values():
            if operation.forced.is_stuck:
                operation.forced.is_stuck = False
                self._store.put_operation(operation.id, asdict(operation))
        self.end_due()

    def running_on(self, endpoint_id: str) -> Operation | None:
        """The operation that is writing to an endpoint or something under it."""
        self.end_due()
        key = endpoint_id.lower()
        for operation in self.running.values():
            if operation.resource.lower() == key or operation.resource.lower().startswith(f"{key}/"):
                return operation
        return None

    def forget_all(self) -> None:
        self.running.clear()

    def _end_operation(self, operation: Operation) -> None:
        operation.ended = max(operation.not_before, operation.started)
        with self._store.transaction():
            self._store.put_operation(operation.id, asdict(operation))
            current = self._store.get(operation.resource)
            if operation.method == "DELETE" and operation.outcome == "Succeeded":
                self._store.delete(operation.resource)
            elif current is not None:
                self._store.put(_resource_after(operation, current))
        del self.running[operation.id]


def _resource_after(operation: Operation, current: Resource) -> Resource:
    """The resource after its operation: as asked for, or Failed with the emulator's knowledge of before."""
    document: Document = operation.result or current.document
    document = {**document, "properties": {**document["properties"], "provisioningState": operation.outcome}}
    private = current.private
    if operation.outcome == "Succeeded":
        private = {**current.private, **operation.private.get("on_success", {})}
    return Resource(current.type, document, private, current.sequence)


def new_operation_id(prefix: str, workspace_guid: str) -> str:
    """An operation id as the service makes them: `oeidp` for endpoints, `odidp` for online deployments."""
    return f"{prefix}:{workspace_guid}:{uuid4()}"
