"""Faults that tests declare: in a response of the emulator, in a long-running operation, or in a container."""

import asyncio
import contextlib
import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive

from rollway.emulator.core.errors import Origin, failed_operation
from rollway.emulator.core.lags import LagSeconds
from rollway.emulator.core.operations import ForcedOutcome, Operation

Place = Literal["front", "operation", "container", "lag"]


class Fault(BaseModel):
    """A fault for requests whose method and path match.

    A fault in a response or a container delays it, replaces it, or drops the connection. A delay happens first, and
    ends early when faults are deleted. The gateway turns a fault in a container into its own response.

    Args:
        at: `front` for requests to the emulator, `container` for requests from the gateway to a container. A request
            to a container has the path `/{endpoint}/{online deployment}/{route}`.
        method: Regular expression that the whole method matches.
        path: Regular expression that matches anywhere in the path.
        after: Number of matching requests to leave alone first.
        count: Number of requests to affect. None affects all until the fault is deleted.
        delay_seconds: Delay, in real time. For an operation: added duration, on the emulator's clock.
        status: Status of the response that replaces the real one.
        retry_after: Value of its `Retry-After` header, in seconds.
        body: Its body: a string, or JSON.
        drop: Drop the connection `before` the request is handled, or `after` it was handled.
        operation: Outcome of the operation that the request starts. `failed`: it fails with `code` and `message`.
            `stuck`: it runs until faults are deleted. `failed_body`: its status is Succeeded, but the resource is
            Failed. `slow`: it takes `delay_seconds` longer.
        lag_seconds: Lags of the gateway, of reads and of lists behind the write that the request makes.
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
    lag_seconds: LagSeconds | None = None
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
        kinds = [name for name in ("status", "drop", "operation", "lag_seconds") if getattr(self, name) is not None]
        if len(kinds) > 1:
            raise ValueError(f"{' and '.join(kinds)} exclude each other: declare one fault for each")
        if not kinds and not self.delay_seconds:
            raise ValueError("the fault has no effect: set status, drop, delay_seconds, operation or lag_seconds")
        if self.operation and self.at == "container":
            raise ValueError("an operation does not run in a container: use at: front")
        if self.lag_seconds and (self.delay_seconds or self.at == "container"):
            raise ValueError("lag_seconds is set without delay_seconds and with at: front")
        if self.operation == "slow" and not self.delay_seconds:
            raise ValueError("operation: slow needs delay_seconds")
        return self

    @property
    def place(self) -> Place:
        """Place where the fault applies."""
        if self.lag_seconds:
            return "lag"
        return "operation" if self.operation else self.at

    def matches(self, place: Place, method: str, path: str) -> bool:
        return (
            self.place == place
            and re.fullmatch(self.method, method, re.IGNORECASE) is not None
            and re.search(self.path, path, re.IGNORECASE) is not None
        )

    def response(self) -> Response:
        """Return the response that replaces the real one."""
        status, body = self.status or 500, self.body
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if body is None:
            body = {"error": {"code": f"Fault{status}", "message": self.message}}
        if isinstance(body, str):
            return Response(body, status, headers, "text/plain")
        return JSONResponse(body, status, headers)


class Faults(list[Fault]):
    """The declared faults that are not used up."""

    def __init__(self) -> None:
        super().__init__()
        self._cleared = asyncio.Event()

    def clear(self) -> None:
        """Delete all faults and end all delays."""
        super().clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    async def delay(self, seconds: float) -> None:
        """Wait for `seconds`, or until faults are deleted."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._cleared.wait(), seconds)


def consume_fault(faults: Faults, place: Place, method: str, path: str) -> Fault | None:
    """Return the first matching fault that is due, and use up one of its `count`.

    The request counts towards the `after` of every matching fault.
    """
    consumed = None
    for fault in [one for one in faults if one.matches(place, method, path)]:
        if fault.after:
            fault.after -= 1
        elif consumed is None:
            consumed = fault
    if consumed is not None and consumed.count is not None:
        consumed.count -= 1
        if not consumed.count:
            faults[:] = [one for one in faults if one is not consumed]
    return consumed


def apply_to_operation(faults: Faults, method: str, path: str, operation: Operation) -> None:
    """Set the outcome of an operation that is about to start, if a fault matches."""
    fault = consume_fault(faults, "operation", method, path)
    if fault is None:
        return
    operation.not_before += fault.delay_seconds
    if fault.operation == "failed":
        error = failed_operation(fault.code, fault.message, Origin(operation.region.lower(), operation.started))
        operation.forced = ForcedOutcome(ends_as="Failed", reported="Failed", error=error)
    elif fault.operation == "failed_body":
        operation.forced = ForcedOutcome(ends_as="Failed", reported="Succeeded")
    elif fault.operation == "stuck":
        operation.forced = ForcedOutcome(is_stuck=True)


def find_lags(faults: Faults, method: str, path: str) -> LagSeconds:
    """Return the lags that a fault declares for a write, or none."""
    fault = consume_fault(faults, "lag", method, path)
    return fault.lag_seconds if fault is not None and fault.lag_seconds is not None else LagSeconds()


class ContainerFault(Exception):
    """A fault in a container: it responds with `status`, or drops the connection if `status` is None."""

    def __init__(self, status: int | None, body: str) -> None:
        super().__init__(status)
        self.status, self.body = status, body


async def apply_to_container(faults: Faults, method: str, path: str) -> None:
    """Delay a request to a container or raise ContainerFault, if a fault matches."""
    fault = consume_fault(faults, "container", method, path)
    if fault is None:
        return
    await faults.delay(fault.delay_seconds)
    if fault.drop is not None:
        raise ContainerFault(None, "")
    if fault.status is not None:
        raise ContainerFault(fault.status, bytes(fault.response().body).decode())


async def discard_message(message: Message) -> None:
    """Accept a message of a response, and send nothing."""


async def drop_connection(receive: Receive) -> None:
    """Drop the connection without a response.

    ASGI has no message for this, so the transport of uvicorn's request cycle is aborted.
    """
    receive.__self__.transport.abort()  # type: ignore[attr-defined]
    while (await receive())["type"] != "http.disconnect":
        pass
