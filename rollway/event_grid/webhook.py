"""The door for Azure Event Grid: a webhook that takes news of registered models and passes them on, and does no more.

Everything that comes in is authenticated by a shared secret, small, and only a hint; so the worst that a stranger, a
replay or a lost event can do is that the watcher looks at the models a little earlier or later.
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

Nudge = Callable[[Sequence[ModelRegistered]], Awaitable[None]]

PATH = "/events"
MAX_BODY_BYTES = 1024 * 1024  # the largest batch that Event Grid sends
READ_TIMEOUT_SECONDS = 10.0
NUDGE_TIMEOUT_SECONDS = 15.0  # Event Grid waits 30 s for an answer
ALLOWED_RATE = "120"  # requests per minute, in the CloudEvents handshake
MAX_CONNECTIONS = 100

_log = logging.getLogger(__name__)


def make_app(secret: str, nudge: Nudge) -> Starlette:
    """The webhook. `nudge` is called with the model versions of a delivery, and raises RollwayError to get it again."""

    async def events(request: Request) -> Response:
        if not _is_authentic(request, secret):
            return _no(401, "the key is missing or wrong")
        if request.method == "OPTIONS":
            return _allow(request)
        try:
            async with asyncio.timeout(READ_TIMEOUT_SECONDS):
                body = await _read(request)
        except TimeoutError:
            return _no(408, "the body did not arrive in time")
        except ClientDisconnect:
            return _no(400, "the body ended early")
        return _no(413, f"more than {MAX_BODY_BYTES} bytes") if body is None else await _pass_on(parse(body), nudge)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    return Starlette(
        routes=[Route(PATH, events, methods=["POST", "OPTIONS"]), Route("/health", health, methods=["GET"])]
    )


def serve(app: Starlette, host: str, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves until SIGTERM or Ctrl-C. Port 0 takes any free one; `on_ready` is told the URL."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise RollwayError(
            "the door cannot be opened",
            where=f"{host} port {port}",
            why=error.strerror or str(error),
            hint="choose another --host or --port",
        ) from error
    on_ready(f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}{PATH}")
    make_server(app).run(sockets=[listening])


def make_server(app: Starlette) -> uvicorn.Server:
    """The HTTP server around the webhook."""
    # No access log: Event Grid sends the secret in the query string.
    config = uvicorn.Config(
        app, access_log=False, server_header=False, log_config=None, lifespan="off", limit_concurrency=MAX_CONNECTIONS
    )
    return uvicorn.Server(config)


def _is_authentic(request: Request, secret: str) -> bool:
    """Whether the request has the secret in `?code=`, or as a bearer token, as the subscription's settings can say."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    given = [request.query_params.get("code", "").encode(), bearer.encode("latin-1")]  # Starlette's own decoding
    return any(hmac.compare_digest(one, secret.encode()) for one in given)


def _allow(request: Request) -> Response:
    """The handshake of CloudEvents: github.com/cloudevents/spec, HTTP webhook, section 4 (abuse protection)."""
    origin = request.headers.get("webhook-request-origin")
    if not origin:
        return _no(400, "WebHook-Request-Origin is missing")
    _log.info("Event Grid may deliver CloudEvents here, from %r", origin)
    return Response(
        headers={"Allow": "POST, OPTIONS", "WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": ALLOWED_RATE}
    )


async def _read(request: Request) -> bytes | None:
    """The body, or None when it is too large; no more of it is read then."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


async def _pass_on(said: Handshake | tuple[ModelRegistered, ...] | Refusal, nudge: Nudge) -> Response:
    if isinstance(said, Refusal):
        return _no(400, said.reason)
    if isinstance(said, Handshake):
        _log.info("Event Grid may deliver events here")
        return JSONResponse({"validationResponse": said.code})
    if said:
        try:
            async with asyncio.timeout(NUDGE_TIMEOUT_SECONDS):
                await nudge(said)
        except RollwayError as error:
            _log.error("%s", error)
            return _no(503, error.what)
        except TimeoutError:
            return _no(503, f"the watcher could not be told within {NUDGE_TIMEOUT_SECONDS:g} s")
        _log.info("the watcher knows of %s", ", ".join(repr(f"{one.model}:{one.version}") for one in said))
    return JSONResponse({"models": len(said)})


def _no(status: int, reason: str) -> Response:
    _log.warning("refused with %d: %s", status, reason)
    return JSONResponse({"error": reason}, status_code=status)
