"""`/_emulator/`: how tests and people look into the emulator and make it fail on purpose."""

import json
import re

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rollway.emulator import faults
from rollway.emulator.endpoints import deployments_of
from rollway.emulator.faults import Fault
from rollway.emulator.state import Emulator
from rollway.emulator.workspaces import create_seeded_workspaces

PREFIX = "/_emulator/"


class Witness:
    """ASGI middleware around everything: notes each request, and lets the declared faults happen."""

    def __init__(self, app: ASGIApp, emulator: Emulator) -> None:
        self._app, self._emulator = app, emulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        query = re.sub(r"(?i)\bsig=[^&]*", "sig=hidden", scope["query_string"].decode("latin-1"))
        entry = {"method": scope["method"], "path": scope["path"], "query": query, "status": None}
        self._emulator.requests.append(entry)

        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry["status"] = message["status"]
            await send(message)

        fault = faults.take(self._emulator.faults, scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send_noted)
        elif fault.drop is None:
            await fault.response()(scope, receive, send_noted)
        else:
            if fault.drop == "after":
                await self._app(scope, receive, faults.discard)
            await faults.drop_connection(receive)


class Steering:
    """The operations below `/_emulator/`."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def routes(self) -> list[Route]:
        return [
            Route(f"{PREFIX}health", self.get_health),
            Route(f"{PREFIX}requests", self.get_requests),
            Route(f"{PREFIX}reset", self.post_reset, methods=["POST"]),
            Route(f"{PREFIX}faults", self.get_faults),
            Route(f"{PREFIX}faults", self.post_faults, methods=["POST"]),
            Route(f"{PREFIX}faults", self.delete_faults, methods=["DELETE"]),
        ]

    async def get_health(self, _: Request) -> Response:
        """How it is: containers, running operations, and the state of each online deployment."""
        emulator = self._emulator
        emulator.operations.settle()
        body = {
            "status": "ok",
            "url": emulator.url,
            "containers": emulator.fleet.count(),
            "running_operations": len(emulator.operations.running),
            "online_deployments": {one.id: one.state for one in deployments_of(emulator, "")},
        }
        return JSONResponse(body)

    async def get_requests(self, _: Request) -> Response:
        """The requests handled since the start or the last reset, oldest first."""
        return JSONResponse(list(self._emulator.requests))

    async def post_reset(self, _: Request) -> Response:
        """As after the first start with the same seed: no containers, assets, endpoints, faults or noted requests."""
        emulator = self._emulator
        emulator.operations.forget_all()
        await emulator.stop_work()
        emulator.store.clear()
        emulator.blobs.clear()
        emulator.fleet.clear()
        emulator.faults.clear()
        emulator.requests.clear()
        create_seeded_workspaces(emulator)
        return Response(status_code=204)

    async def get_faults(self, _: Request) -> Response:
        """The faults still to come."""
        return JSONResponse([fault.model_dump() for fault in self._emulator.faults])

    async def post_faults(self, request: Request) -> Response:
        """Add a list of faults; 400 with the problems when they are not faults."""
        try:
            self._emulator.faults += TypeAdapter(list[Fault]).validate_json(await request.body())
        except ValidationError as exc:
            return JSONResponse({"problems": json.loads(exc.json(include_url=False, include_context=False))}, 400)
        return await self.get_faults(request)

    async def delete_faults(self, _: Request) -> Response:
        """Nothing goes wrong on purpose any more."""
        self._emulator.faults.clear()
        return Response(status_code=204)
