"""The form of the page that sends a scoring request, as a client would, with a credential of the endpoint."""

import time
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message

from rollway.emulator.arm.endpoints import ENDPOINT_TYPE, scoring_uri
from rollway.emulator.control.guard import PREFIX
from rollway.emulator.core.store import Resource
from rollway.emulator.login.identity import AZURE_ML
from rollway.emulator.scoring.gateway import DEPLOYMENT_HEADER
from rollway.emulator.state import Emulator

TRIAL_PATH = f"{PREFIX}trial"
MAX_SHOWN_CHARACTERS = 20_000


async def post_trial(request: Request) -> Response:
    """POST: send the body of the form to the endpoint, and return the answer as text: status, time and body.

    It goes through the gateway, so that it is in the metrics, and meets the faults of containers.
    """
    emulator: Emulator = request.app.state.emulator
    form = dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))
    endpoint = emulator.store.get(form.get("endpoint", ""))
    if endpoint is None or endpoint.type != ENDPOINT_TYPE:
        return PlainTextResponse("There is no such endpoint any more.", 404)
    headers = [
        (b"authorization", f"Bearer {_credential(emulator, endpoint)}".encode()),
        (b"content-type", b"application/json"),
    ]
    if pinned := form.get("deployment"):
        headers.append((DEPLOYMENT_HEADER, pinned.encode("latin-1", "replace")))
    path = scoring_uri(emulator, endpoint).removeprefix(emulator.url)
    started = time.perf_counter()
    status, found, body = await _post(request, request.app.state.gateway, path, headers, form.get("body", "").encode())
    milliseconds = 1000 * (time.perf_counter() - started)
    who = found.get(DEPLOYMENT_HEADER, b"the gateway").decode("latin-1")
    text = body.decode("utf-8", "replace")[:MAX_SHOWN_CHARACTERS]
    return PlainTextResponse(f"{status} from {who} in {milliseconds:.0f} ms\n\n{text}")


def _credential(emulator: Emulator, endpoint: Resource) -> str:
    """Return what opens an endpoint in its auth mode."""
    mode, principal = endpoint.properties["authMode"], emulator.seed.principals[0].client_id
    if mode == "Key":
        return str(endpoint.private["keys"]["primary"])
    if mode == "AADToken":
        return emulator.identity.issue_token(AZURE_ML, principal)
    workspace = emulator.store.get(endpoint.id.rsplit("/", 2)[0])
    assert workspace is not None  # noqa: S101 - workspaces cannot be deleted
    return str(emulator.endpoint_tokens.issue(workspace, endpoint, principal)["accessToken"])


async def _post(
    request: Request, app: ASGIApp, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send a request to an ASGI application of this process; return status, headers and body of its response."""
    messages: list[Message] = []
    scope: dict[str, Any] = {**request.scope, "path": path, "raw_path": path.encode(), "query_string": b""}

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        messages.append(dict(message))

    await app({**scope, "headers": headers}, receive, send)
    content = b"".join(one.get("body", b"") for one in messages)
    start = messages[0]
    return int(start["status"]), dict(start["headers"]), content
