"""The services for containers, on a port of loopback without TLS, as in Azure. A secret tells who asks."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rollway.emulator.arm.data_collection import collect_event
from rollway.emulator.arm.endpoints import parent_endpoint_id
from rollway.emulator.core.errors import EmulatedError
from rollway.emulator.core.store import Resource
from rollway.emulator.login.endpoint_identity import find_identity
from rollway.emulator.login.errors import ManagedIdentityError
from rollway.emulator.runtime.access import IDENTITY_PATH, LOG_PATH, basic_password
from rollway.emulator.state import Emulator

EVENT_TYPE = "azureml.inference."


@asynccontextmanager
async def serve_containers(emulator: Emulator) -> AsyncIterator[None]:
    """Serve containers for the duration of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        emulator.access.port = listener.getsockname()[1]
        app = Starlette(
            routes=[Route(IDENTITY_PATH, get_token), Route(LOG_PATH, post_log, methods=["POST"])],
            exception_handlers={EmulatedError: _handle_error},
        )
        app.state.emulator = emulator
        server = _Server(uvicorn.Config(app, lifespan="off", ws="none", access_log=False, log_config=None))
        serving = asyncio.create_task(server.serve([listener]), name="services for containers")
        try:
            yield
        finally:
            server.should_exit = server.force_exit = True
            await serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the emulator's main server."""
        yield


async def get_token(request: Request) -> Response:
    """GET: a token of the endpoint's managed identity, in the form of Azure ML (2017-09-01) or of App Service."""
    emulator: Emulator = request.app.state.emulator
    deployment = _find_caller(emulator, request.headers.get("secret") or request.headers.get("x-identity-header"))
    query = request.query_params
    if deployment is None:
        raise ManagedIdentityError(401, "unauthorized", "The secret is missing or wrong.", is_app_service=True)
    if not query.get("resource"):
        raise ManagedIdentityError(400, "invalid_request", "resource is missing", is_app_service=True)
    endpoint = emulator.store.get(parent_endpoint_id(deployment.id))
    identity = {} if endpoint is None else endpoint.document.get("identity") or {}
    client_id = find_identity(identity, query.get("clientid") or query.get("client_id"))
    return JSONResponse(emulator.identity.managed_token(client_id, query["resource"], is_app_service=True))


async def post_log(request: Request) -> Response:
    """POST: a data frame that azureml-ai-monitoring collected, as JSON; its attributes are in headers."""
    emulator: Emulator = request.app.state.emulator
    headers = request.headers
    deployment = _find_caller(emulator, basic_password(headers.get("authorization")))
    if deployment is None:
        return Response("the password is missing or wrong", 401)
    kind = headers.get("ce-type", "")
    if not kind.startswith(EVENT_TYPE):
        return Response(f"ce-type: {EVENT_TYPE}<collection> is expected", 400)
    request_id = headers.get("ce-x-request-id")
    attributes = {
        "correlationid": request_id,
        "xrequestid": request_id,
        "modelversion": headers.get("ce-model-version"),
        "collectdatatype": headers.get("ce-collect-data-type"),
        "agent": headers.get("ce-agent"),
    }
    collect_event(emulator, deployment, kind.removeprefix(EVENT_TYPE), await request.body(), attributes)
    return Response(status_code=200)


def _find_caller(emulator: Emulator, secret: str | None) -> Resource | None:
    """Return the online deployment whose container sends a request, or None if the secret is nobody's."""
    deployment_id = emulator.access.find_deployment(secret)
    return None if deployment_id is None else emulator.store.get(deployment_id)


async def _handle_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, EmulatedError)  # noqa: S101 - registered for this type only
    return error.response()
