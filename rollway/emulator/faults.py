"""Faults: what tests declare to go wrong, once or several times."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive


class Fault(BaseModel):
    """One thing that goes wrong, `count` times, for requests whose method and path match.

    Either an answer (`status`, with `retry_after` seconds and `body` as JSON), or a connection that is dropped before
    the request is handled, or after it was handled and before the answer.
    """

    model_config = ConfigDict(extra="forbid")

    method: str = ".*"
    path: str
    count: int = Field(default=1, ge=1)
    status: int = Field(default=500, ge=200, le=599)
    retry_after: int | None = Field(default=None, ge=0)
    drop: Literal["before", "after"] | None = None
    body: object = None

    @field_validator("method", "path")
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as exc:
            raise ValueError(f"not a regular expression: {exc}") from exc
        return value

    def matches(self, method: str, path: str) -> bool:
        return bool(re.fullmatch(self.method, method, re.IGNORECASE) and re.search(self.path, path, re.IGNORECASE))

    def response(self) -> Response:
        """The answer instead of the emulator's own."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        body = self.body
        if body is None:
            body = {"error": {"code": f"Fault{self.status}", "message": "Declared at /_emulator/faults."}}
        if isinstance(body, str):
            return Response(body, self.status, headers, "text/plain")
        return JSONResponse(body, self.status, headers)


def take(faults: list[Fault], method: str, path: str) -> Fault | None:
    """The first fault that matches, used up by one."""
    for fault in faults:
        if fault.matches(method, path):
            fault.count -= 1
            if not fault.count:
                faults.remove(fault)
            return fault
    return None


async def discard(message: Message) -> None:
    """Takes an answer that nobody will see."""


async def drop_connection(receive: Receive) -> None:
    """Cut the connection without an answer. ASGI has no word for it, so the transport of uvicorn's cycle is taken."""
    receive.__self__.transport.abort()  # type: ignore[attr-defined]
    while (await receive())["type"] != "http.disconnect":
        pass
