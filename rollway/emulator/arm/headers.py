"""Headers of Azure Resource Manager as recorded in 2026, and signed addresses of long-running operations."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from uuid import NAMESPACE_URL, uuid4, uuid5

from rollway.emulator.core.clock import format_iso_seconds, ticks
from rollway.emulator.state import Emulator

CERTIFICATE_BYTES, SIGNATURE_BYTES = 1931, 256  # in the address of an operation


def common_headers() -> dict[str, str]:
    """Return the headers of every response, errors included."""
    request_id = str(uuid4())
    return {
        "Cache-Control": "no-cache",
        "Expires": "-1",
        "Pragma": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "x-ms-correlation-request-id": request_id,
        "x-ms-request-id": request_id,
    }


def service_headers(
    emulator: Emulator, common: Mapping[str, str], client_id: str, seconds: float, *, is_workspace: bool
) -> dict[str, str]:
    """Return the headers that only responses of Azure ML have.

    Args:
        common: The response's common headers.
        seconds: Time that the request took.
        is_workspace: True if the response is a workspace, which is recorded without an operation.
    """
    region, now = emulator.region, format_iso_seconds(emulator.clock.now())
    at = now.replace("-", "").replace(":", "")
    headers = {
        "azureml-served-by-cluster": f"vienna-{region}-01",
        "Request-Context": f"appId=cid-v1:{uuid5(NAMESPACE_URL, emulator.url)}",
        "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
        "X-Cache": "CONFIG_NOCACHE",
        "x-ms-response-type": "standard",
        "x-ms-routing-request-id": f"{region.upper()}:{at}:{common['x-ms-correlation-request-id']}",
        "X-MSEdge-Ref": f"Ref A: {uuid4().hex.upper()} Ref B: LOCAL Ref C: {now}",
        "x-request-time": f"{seconds:.3f}",
    }
    if not is_workspace:
        who = f"tenantId={emulator.seed.tenant_id},objectId={client_id}"
        headers["x-ms-operation-identifier"] = f"{who}/{region}/{uuid4()}"
    return headers


def error_headers(emulator: Emulator, common: Mapping[str, str], client_id: str, seconds: float) -> dict[str, str]:
    """Return the headers of an error of Azure ML, which are those of its other responses (recorded).

    Strict-Transport-Security must be on no response that a browser can get. It would no longer open
    `http://localhost`, on any port.
    """
    headers = service_headers(emulator, common, client_id, seconds, is_workspace=False)
    del headers["Strict-Transport-Security"]
    return headers | {"x-ms-response-type": "error"}


def signed(url: str, now: float) -> str:
    """Return the address of an operation with a signature as long as Azure's: about 3 kB.

    Nobody checks it: whether Azure refuses a wrong one is unknown, and its own copy in the properties has none.
    """
    text = f"{url}&t={ticks(now)}"
    parts = {
        "c": hashlib.shake_256(b"certificate").digest(CERTIFICATE_BYTES),
        "s": hashlib.shake_256(text.encode()).digest(SIGNATURE_BYTES),
        "h": hashlib.sha256(text.encode()).digest(),
    }
    return "&".join([text, *(f"{name}={_encoded(content)}" for name, content in parts.items())])


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")
