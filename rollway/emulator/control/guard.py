"""What is refused before anything else looks at a request: foreign host names, other people's pages, huge bodies."""

import base64
import binascii
import hmac
import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope

from rollway.emulator.arm.resource_manager import MAX_BODY_BYTES
from rollway.emulator.blob.blobs import ROOT
from rollway.emulator.core.errors import too_large
from rollway.emulator.state import Emulator

PREFIX = "/_emulator/"
OPEN_ENDED = (f"{ROOT}/", "/inference/")  # blobs and scoring requests have limits of their own


def find_refusal(emulator: Emulator, scope: Scope) -> Response | None:
    """The answer to a request that must not be served, or None.

    A browser that was lured to a name which resolves to loopback sends that name as host, and a page elsewhere that
    posts here sends its origin; both could steer the emulator of the person who looks at them.
    """
    headers = Headers(scope=scope)
    own = urlsplit(emulator.url)
    if headers.getlist("host") not in [[f"{name}:{own.port}"] for name in (own.hostname, "localhost", "127.0.0.1")]:
        return _refusal(400, "InvalidHostName", f"The request is not for this host: the emulator is {emulator.url}.")
    if re.search(r"[\x00-\x1f\x7f]", scope["path"]):
        return _refusal(400, "InvalidUri", "The path holds control characters.")
    if not is_control_path(scope["path"]):
        return None
    if headers.get("origin") not in (None, emulator.url):
        return _refusal(403, "ForeignOrigin", "Pages of other origins cannot steer the emulator.")
    if emulator.secret and not _has_secret(emulator.secret, headers.get("authorization", "")):
        refusal = _refusal(401, "SecretRequired", "The secret of this emulator is needed as bearer token or password.")
        refusal.headers["WWW-Authenticate"] = 'Basic realm="rollway emulator"'
        return refusal
    return None


def is_control_path(path: str) -> bool:
    """Whether a path is the emulator's own, not Azure's."""
    return path == "/" or path.startswith(PREFIX)


def limit_body(scope: Scope, receive: Receive) -> Receive:
    """`receive`, which raises ARM's 413 when a body outgrows what any of Azure's JSON or form requests may have."""
    if scope["path"].startswith(OPEN_ENDED):
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
