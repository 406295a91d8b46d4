"""Checks before any other code sees a request: host name, control characters, origin, secret and size."""

import base64
import binascii
import hmac
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope

from rollway.emulator.blob.blobs import ROOT
from rollway.emulator.core.errors import too_large
from rollway.emulator.state import Emulator

PREFIX = "/_emulator/"
MAX_BODY_BYTES = 4 * 1024 * 1024  # ARM's limit on a request
OWN_LIMIT_PATHS = (f"{ROOT}/", "/inference/")  # blobs and scoring requests have their own limits


def find_refusal(emulator: Emulator, scope: Scope) -> Response | None:
    """Return the refusal of an unsafe request, or None.

    A web page could otherwise control the emulator of the person who views it. If its own host name resolves to
    loopback, the browser sends that name as host; if it posts to the emulator, the browser sends the page's origin.
    """
    headers = Headers(scope=scope)
    own = urlsplit(emulator.url)
    if headers.getlist("host") not in [[f"{name}:{own.port}"] for name in (own.hostname, "localhost", "127.0.0.1")]:
        return _refusal(400, "InvalidHostName", f"The request is for another host. Use {emulator.url}.")
    if re.search(r"[\x00-\x1f\x7f]", scope["path"]):
        return _refusal(400, "InvalidUri", "The path contains control characters.")
    if not is_control_path(scope["path"]):
        return None
    if headers.get("origin") not in (None, emulator.url):
        return _refusal(403, "ForeignOrigin", "Pages of other origins cannot control the emulator.")
    if emulator.secret and not _has_secret(emulator.secret, headers.get("authorization", "")):
        refusal = _refusal(401, "SecretRequired", "Send the emulator's secret as bearer token or password.")
        refusal.headers["WWW-Authenticate"] = 'Basic realm="rollway emulator"'
        return refusal
    return None


def is_control_path(path: str) -> bool:
    """Return True if a path is the emulator's own, not Azure's."""
    return path == "/" or path.startswith(PREFIX)


def limit_body(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that raises ARM's 413 if a JSON or form body exceeds ARM's limit."""
    if scope["path"].startswith(OWN_LIMIT_PATHS):
        return receive
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise too_large(MAX_BODY_BYTES)
        return message

    return receive_limited


def _has_secret(secret: str, authorization: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    return hmac.compare_digest(given.strip().encode(), secret.encode())


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status, {"x-ms-error-code": code})
