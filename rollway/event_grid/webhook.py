"""Webhook for Azure Event Grid: accepts events of registered models and triggers the watcher.

A shared secret authenticates each request, and each event is only a hint. The worst that a forged, repeated or lost
event can cause is that the watcher looks at the models a little earlier or later.
"""

import asyncio
import hmac
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from rollway.errors import RollwayError
from rollway.event_grid.messages import Handshake, ModelRegistered, Refusal, parse

Trigger = Callable[[Sequence[ModelRegistered]], Awaitable[None]]

PATH = "/events"
MAX_BODY_BYTES = 1024 * 1024  # the largest batch that Event Grid sends
READ_TIMEOUT_SECONDS = 10.0
TRIGGER_TIMEOUT_SECONDS = 15.0  # Event Grid waits 30 s for an answer
ALLOWED_RATE = "120"  # requests per minute, in the CloudEvents handshake
MAX_CONNECTIONS = 100

_log = logging.getLogger(__name__)


def make_app(secret: str, trigger: Trigger) -> Starlette:
    """Return the webhook as an ASGI application.

    Args:
        secret: The value that each request must carry, in `?code=` or as a bearer token.
        trigger: Called with the model versions of a delivery. If it raises RollwayError, the answer is 503 and
            Event Grid delivers the events again.
    """

    async def events(request: Request) -> Response:
        if not _is_authentic(request, secret):
            return _refuse(401, "the secret is missing or wrong")
        if request.method == "OPTIONS":
            return _allow_origin(request)
        try:
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                body = await _read_body(request)
        except TimeoutError:
            return _refuse(408, "the body did not arrive in time")
        except ClientDisconnect:
            return _refuse(400, "the connection closed before the whole body arrived")
        if body is None:
            return _refuse(413, f"the body has more than {MAX_BODY_BYTES} bytes")
        return await _answer(parse(body), trigger)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[Route(PATH, events, methods=["POST", "OPTIONS"]), Route("/health", health, methods=["GET"])]
    )


def serve(app: Starlette, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the webhook until SIGTERM or Ctrl-C; raise RollwayError if it cannot listen there.

    Args:
        app: The application that `make_app` returns.
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        on_ready: Called with the webhook's URL as soon as it accepts connections.
    """
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise RollwayError(
            "the webhook cannot start",
            where=f"{host} port {port}",
            why=error.strerror or str(error),
            hint="choose another --host or --port",
        ) from error
    on_ready(f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}{PATH}")
    make_server(app).run(sockets=[listening])


def make_server(app: Starlette) -> uvicorn.Server:
    """Return the HTTP server that runs the webhook."""
    # No access log: Event Grid sends the secret in the query string.
    config = uvicorn.Config(
        app, access_log=False, server_header=False, log_config=None, lifespan="off", limit_concurrency=MAX_CONNECTIONS
    )
    return uvicorn.Server(config)


def _is_authentic(request: Request, secret: str) -> bool:
    """Return True if the request carries the secret, in `?code=` or as a bearer token.

    An event subscription can be set up to send either.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    given = [request.query_params.get("code", "").encode(), bearer.encode("latin-1")]  # Starlette's own decoding
    return any(hmac.compare_digest(one, secret.encode()) for one in given)


def _allow_origin(request: Request) -> Response:
    """Answer the CloudEvents handshake: github.com/cloudevents/spec, HTTP webhook, section 4 (abuse protection)."""
    origin = request.headers.get("webhook-request-origin")
    if not origin:
        return _refuse(400, "the header WebHook-Request-Origin is missing")
    _log.info("accepted the CloudEvents handshake of %r", origin)
    return Response(
        headers={"Allow": "POST, OPTIONS", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": ALLOWED_RATE}
    )


async def _read_body(request: Request) -> bytes | None:
    """Return the body, or None as soon as it exceeds MAX_BODY_BYTES."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


async def _answer(delivery: Handshake | tuple[ModelRegistered, ...] | Refusal, trigger: Trigger) -> Response:
    if isinstance(delivery, Refusal):
        return _refuse(400, delivery.reason)
    if isinstance(delivery, Handshake):
        _log.info("accepted the handshake of Event Grid's own schema")
        return JSONResponse({"validationResponse": delivery.code})
    if delivery:
        try:
            async with asyncio.timeout(TRIGGER_TIMEOUT_SECONDS):
                await trigger(delivery)
        except RollwayError as error:
            _log.error("%s", error)
            return _refuse(503, error.what)
        except TimeoutError:
            return _refuse(503, f"the watcher could not be triggered within {TRIGGER_TIMEOUT_SECONDS:g} s")
        _log.info("triggered the watcher for %s", ", ".join(repr(f"{one.model}:{one.version}") for one in delivery))
    return JSONResponse({"models": len(delivery)})


def _refuse(status: int, reason: str) -> Response:
    _log.warning("refused a request with status %d: %s", status, reason)
    return JSONResponse({"error": reason}, status_code=status)
