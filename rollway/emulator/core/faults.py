"""Faults: what tests declare to go wrong, at the emulator's front, in a long-running operation, or in a container."""

import asyncio
import contextlib
import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive

from rollway.emulator.core.errors import failed_operation
from rollway.emulator.core.operations import ForcedOutcome, Operation

Place = Literal["front", "operation", "container"]


class Fault(BaseModel):
    """One thing that goes wrong for requests whose method and path match: `count` times, after the first `after`.

    Without a count it goes on until it is deleted. At the `front` and in a `container` it is a delay (`delay_seconds`,
    or until faults are deleted), an answer (`status`, with `retry_after` seconds and `body`), or a connection that is
    dropped before the request is handled, or after it was handled and before the answer; a delay comes first. A
    container's requests have the path `/{endpoint}/{online deployment}/{route}`, and what happens there reaches the
    client as the gateway's answer.

    An `operation` that a matching request starts ends as `failed` (with `code` and `message`), is `stuck` until faults
    are deleted, has status Succeeded and leaves the resource Failed (`failed_body`), or is only `slow`; `delay_seconds`
    are then on the emulator's clock.
    """

    model_config = ConfigDict(extra="forbid")

    at: Literal["front", "container"] = "front"
    method: str = ".*"
    path: str
    after: int = Field(default=0, ge=0)
    count: int | None = Field(default=1, ge=1)
    delay_seconds: float = Field(default=0, ge=0, le=3600)
    status: int | None = Field(default=None, ge=200, le=599)
    retry_after: int | None = Field(default=None, ge=0)
    body: object = None
    drop: Literal["before", "after"] | None = None
    operation: Literal["failed", "stuck", "failed_body", "slow"] | None = None
    code: str = "InternalServerError"
    message: str = "Declared at /_emulator/faults."

    @field_validator("method", "path")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as exc:
            raise ValueError(f"not a regular expression: {exc}") from exc
        return value

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        kinds = [name for name in ("status", "drop", "operation") if getattr(self, name) is not None]
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(kinds)} exclude each other: declare a fault for each")
        if not kinds and not self.delay_seconds:
            raise ValueError("say what goes wrong: status, drop, delay_seconds or operation")
        if self.operation and self.at == "container":
            raise ValueError("operations do not happen in a container")
        if self.operation == "slow" and not self.delay_seconds:
            raise ValueError("a slow operation needs delay_seconds")
        return self

    @property
    def place(self) -> Place:
        """Where it happens."""
        return "operation" if self.operation else self.at

    def matches(self, place: Place, method: str, path: str) -> bool:
        return (
            self.place == place
            and re.fullmatch(self.method, method, re.IGNORECASE) is not None
            and re.search(self.path, path, re.IGNORECASE) is not None
        )

    def response(self) -> Response:
        """The answer instead of the emulator's own."""
        status, body = self.status or 500, self.body
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if body is None:
            body = {"error": {"code": f"Fault{status}", "message": self.message}}
        if isinstance(body, str):
            return Response(body, status, headers, "text/plain")
        return JSONResponse(body, status, headers)


class Faults(list[Fault]):
    """The faults still to come."""

    def __init__(self) -> None:
        super().__init__()
        self._cleared = asyncio.Event()

    def clear(self) -> None:
        """Nothing goes wrong any more; what is late on purpose goes on at once."""
        super().clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    async def delay(self, seconds: float) -> None:
        """Waits so long, or until faults are deleted."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._cleared.wait(), seconds)


def consume_fault(faults: Faults, place: Place, method: str, path: str) -> Fault | None:
    """The first fault that matches and whose time has come, used up by one; all that match count the request."""
    taken = None
    for fault in [one for one in faults if one.matches(place, method, path)]:
        if fault.after:
            fault.after -= 1
        elif taken is None:
            taken = fault
    if taken is not None and taken.count is not None:
        taken.count -= 1
        if not taken.count:
            faults[:] = [one for one in faults if one is not taken]
    return taken


def apply_to_operation(faults: Faults, method: str, path: str, operation: Operation) -> None:
    """Let a fault decide how an operation ends that is about to start."""
    fault = consume_fault(faults, "operation", method, path)
    if fault is None:
        return
    operation.not_before += fault.delay_seconds
    if fault.operation == "failed":
        error = failed_operation(fault.code, fault.message)
        operation.forced = ForcedOutcome(ends_as="Failed", reported="Failed", error=error)
    elif fault.operation == "failed_body":
        operation.forced = ForcedOutcome(ends_as="Failed", reported="Succeeded")
    elif fault.operation == "stuck":
        operation.forced = ForcedOutcome(is_stuck=True)


class ContainerFault(Exception):
    """What a container does instead of its work: it answers `status`, or cuts the connection (None)."""

    def __init__(self, status: int | None, body: str) -> None:
        super().__init__(status)
        self.status, self.body = status, body


async def apply_to_container(faults: Faults, method: str, path: str) -> None:
    """What goes wrong in a container with one request: a delay, or ContainerFault."""
    fault = consume_fault(faults, "container", method, path)
    if fault is None:
        return
    await faults.delay(fault.delay_seconds)
    if fault.drop is not None:
        raise ContainerFault(None, "")
    if fault.status is not None:
        raise ContainerFault(fault.status, bytes(fault.response().body).decode())


async def discard_message(message: Message) -> None:
    """Takes an answer that nobody will see."""


async def drop_connection(receive: Receive) -> None:
    """Cut the connection without an answer. ASGI has no word for it, so the transport of uvicorn's cycle is taken."""
    receive.__self__.transport.abort()  # type: ignore[attr-defined]
    while (await receive())["type"] != "http.disconnect":
        pass
