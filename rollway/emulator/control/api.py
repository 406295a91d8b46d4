"""REST API below `/_emulator/`, for tests and people: health, requests, reset, clock and faults."""

import json
import re

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollway.emulator.arm.endpoints import find_deployments
from rollway.emulator.arm.seeded_models import create_seeded_models
from rollway.emulator.arm.workspaces import create_seeded_workspaces
from rollway.emulator.control import guard
from rollway.emulator.control.guard import PREFIX
from rollway.emulator.core import faults
from rollway.emulator.core.clock import format_iso
from rollway.emulator.core.faults import Fault
from rollway.emulator.state import CLOCK_AHEAD, Emulator

SIGNATURES = re.compile(r"((?:^|&)(?:sig|[csh])=)[^&]+", re.IGNORECASE)  # of blobs, and of operations: 3 kB each


class ClockAdvance(BaseModel):
    """Amount by which the clock moves forward; at most ten years."""

    model_config = ConfigDict(extra="forbid")
    advance_seconds: float = Field(ge=0, le=10 * 366 * 86400)


class RequestRecorder:
    """ASGI middleware that records every request to Azure's paths, and applies declared faults.

    It also refuses unsafe requests, see `guard`.
    """

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self._app, self._emulator = app, emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if (refusal := guard.find_refusal(self._emulator, scope)) is not None:
            await refusal(scope, receive, send)
            return
        connection, receive = receive, guard.limit_body(scope, receive)
        if guard.is_control_path(scope["path"]):
            await self._app(scope, receive, send)
            return
        query = SIGNATURES.sub(r"\1hidden", scope["query_string"].decode("latin-1"))
        number = next(self._emulator.request_numbers)
        entry = {"number": number, "method": scope["method"], "path": scope["path"], "query": query, "status": None}
        self._emulator.requests.append(entry)

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            await send(message)

        fault = faults.consume_fault(self._emulator.faults, "front", scope["method"], scope["path"])
        if fault is not None:
            await self._emulator.faults.delay(fault.delay_seconds)
        if fault is not None and fault.status is not None:
            await fault.response()(scope, receive, send_recorded)
        elif fault is not None and fault.drop is not None:
            if fault.drop == "after":
                await self._app(scope, receive, faults.discard_message)
            await faults.drop_connection(connection)
        else:
            await self._app(scope, receive, send_recorded)


class ControlApi:
    """Operations below `/_emulator/`."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def routes(self) -> list[Route]:
        """Return the routes of all operations."""
        return [
            Route(f"{PREFIX}health", self.get_health),
            Route(f"{PREFIX}requests", self.get_requests),
            Route(f"{PREFIX}reset", self.post_reset, methods=["POST"]),
            Route(f"{PREFIX}clock", self.get_clock),
            Route(f"{PREFIX}clock", self.post_clock, methods=["POST"]),
            Route(f"{PREFIX}faults", self.get_faults),
            Route(f"{PREFIX}faults", self.post_faults, methods=["POST"]),
            Route(f"{PREFIX}faults", self.delete_faults, methods=["DELETE"]),
        ]

    async def get_health(self, _: Request) -> Response:
        """Return the number of containers and running operations, and the state of each online deployment."""
        emulator = self._emulator
        emulator.operations.end_due()
        body = {
            "status": "ok",
            "url": emulator.url,
            "containers": emulator.fleet.container_count(),
            "running_operations": len(emulator.operations.running),
            "online_deployments": {one.id: one.state for one in find_deployments(emulator, "")},
        }
        return JSONResponse(body)

    async def get_requests(self, request: Request) -> Response:
        """Return the requests since the start or the last reset, oldest first. `?after=` skips those up to a number."""
        after = request.query_params.get("after", "0")
        if not after.isdecimal():
            return JSONResponse({"problems": [f"after={after}: use the number of a request"]}, 400)
        return JSONResponse([one for one in self._emulator.requests if one["number"] > int(after)])

    async def post_reset(self, _: Request) -> Response:
        """Return to the state of the seed: no containers, assets, endpoints, faults or recorded requests."""
        emulator = self._emulator
        emulator.operations.forget_all()
        await emulator.stop_work()
        emulator.store.clear()
        emulator.blobs.clear()
        emulator.fleet.clear()
        emulator.throttle.refill()
        emulator.faults.clear()
        emulator.samples.clear()
        emulator.requests.clear()
        emulator.clock.reset()
        emulator.store.set_setting(CLOCK_AHEAD, "0")
        create_seeded_workspaces(emulator)
        create_seeded_models(emulator)
        return Response(status_code=204)

    async def get_clock(self, _: Request) -> Response:
        """Return the emulator's time, and by how many seconds it is ahead of the machine's clock."""
        clock = self._emulator.clock
        return JSONResponse({"now": format_iso(clock.now()), "ahead_seconds": clock.ahead_seconds})

    async def post_clock(self, request: Request) -> Response:
        """Move the clock forward: operations end, tokens and signatures expire. 400 for an invalid amount."""
        emulator = self._emulator
        try:
            advance = ClockAdvance.model_validate_json(await request.body())
        except ValidationError as exc:
            return _problems(exc)
        emulator.clock.advance(advance.advance_seconds)
        emulator.store.set_setting(CLOCK_AHEAD, str(emulator.clock.ahead_seconds))
        emulator.operations.end_due()
        return await self.get_clock(request)

    async def get_faults(self, _: Request) -> Response:
        """Return the declared faults that are not used up."""
        return JSONResponse([fault.model_dump(exclude_defaults=True) for fault in self._emulator.faults])

    async def post_faults(self, request: Request) -> Response:
        """Add a list of faults. 400 with all problems if one is invalid."""
        try:
            self._emulator.faults += TypeAdapter(list[Fault]).validate_json(await request.body())
        except ValidationError as exc:
            return _problems(exc)
        return await self.get_faults(request)

    async def delete_faults(self, _: Request) -> Response:
        """Delete all faults, end all lags, and let stuck operations end."""
        self._emulator.faults.clear()
        self._emulator.operations.release_stuck()
        self._emulator.operations.end_lags()
        return Response(status_code=204)


def _problems(error: ValidationError) -> Response:
    return JSONResponse({"problems": json.loads(error.json(include_url=False, include_context=False))}, 400)
