"""Translation of Azure's exceptions to ours, with the cause, the reason in plain words and the next action."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from azure.ai.ml.exceptions import MlException
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from rollway.azure.errors.body import ErrorBody
from rollway.azure.errors.catalogue import classify
from rollway.errors import (
    AccessDenied,
    AzureUnavailable,
    Busy,
    Cause,
    CredentialsRejected,
    NotFound,
    RequestRefused,
    RollwayError,
)
from rollway.masking import mask

E = TypeVar("E", bound=RollwayError)
NO_REASON = "Azure gives no reason"

_MARK = "(x)"  # azure/ai/ml/_exception_helper.py writes it in front of each reason

# azure-identity has one exception for refused, unreachable and throttled; only its words tell them apart.
_NO_ANSWER = ("Failed to establish a new connection", "Failed to resolve", "timed out", "Connection aborted")
_NO_GOOD_ANSWER = re.compile(
    r"HTTP Error: (?:429|5\d\d)|temporarily_unavailable|Expecting value: line 1"  # a status, or a page instead of JSON
    r"|AADSTS(?:90006|90024|90033|90055|50196)\b"  # Entra's own errors and throttling
)
_HINTS = {
    "AADSTS7000215": "the client secret is wrong: check AZURE_CLIENT_SECRET (its value, not its id)",
    "AADSTS7000222": "the client secret has expired: create a new one and set AZURE_CLIENT_SECRET",
    "AADSTS700016": "the application is unknown in this tenant: check AZURE_CLIENT_ID and AZURE_TENANT_ID",
    "AADSTS90002": "the tenant is unknown: check AZURE_TENANT_ID",
    "Unable to get authority configuration": "the tenant is unknown: check AZURE_TENANT_ID and AZURE_AUTHORITY_HOST",
}


@contextmanager
def azure_errors(what: str, where: str, hint: str | None = None) -> Iterator[None]:
    """Raise Azure's exceptions of the block as RollwayErrors.

    Args:
        what: Sentence about the attempt, such as "cannot read the endpoint 'x'".
        where: The resource or file.
        hint: Next action if the catalogue knows none.
    """
    try:
        yield
    except AzureError as error:
        raise translate(error, what, where, hint) from error


def translate(error: AzureError, what: str, where: str, hint: str | None = None) -> RollwayError:
    """Return the RollwayError for an exception of azure.core, azure.identity or azure.ai.ml.

    The next action comes from the catalogue, else from `hint`, else from the HTTP status.
    """
    if isinstance(error, MlException) and isinstance(error.__cause__, AzureError):  # the SDK wraps Azure's exception
        return translate(error.__cause__, what, where, hint)
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return AzureUnavailable(
            what, where=where, why=f"no connection: {first_line(str(error))}", hint="check the network and run it again"
        )
    if isinstance(error, ClientAuthenticationError) and error.error is None:  # azure-identity, not Resource Manager
        return _sign_in(error, what, where)
    if isinstance(error, MlException) and "Unknown cloud environment" in str(error):
        # The SDK reads a private cloud's metadata again for each client and upload, and reports any failure like this.
        return AzureUnavailable(
            what,
            where=f"ARM_CLOUD_METADATA_URL={os.environ.get('ARM_CLOUD_METADATA_URL')}",
            why="the metadata of the cloud that the environment names cannot be read",
            hint="check that the cloud can be reached, and run it again",
        )
    if not isinstance(error, HttpResponseError):  # azure.ai.ml's own validation
        return RequestRefused(what, where=where, why=first_line(str(error)), hint=hint)
    body = _body(error)
    status = error.status_code or (404 if isinstance(error, ResourceNotFoundError) else 0)
    found = classify(status, body.code, body.message, body.inner_codes)
    return _class_for(status, found.cause)(
        what,
        where=where,
        why=f"{body.code}: {body.message}" if body.code else body.message,
        hint=found.hint if found.is_known else hint or found.hint,
        cause=found.cause,
        code=found.code,
        request_id=_request_id(error) or body.correlation_id,
        error_tree=body.tree,
    )


def _class_for(status: int, cause: Cause) -> type[RollwayError]:
    """Return the error class for a status and a cause."""
    if cause is Cause.BUSY:
        return Busy
    # A failed operation or a refused request is not repeated automatically: it may take an hour.
    if cause is Cause.TRANSIENT and (status in (401, 408, 409, 429) or status >= 500):
        return AzureUnavailable
    return {401: CredentialsRejected, 403: AccessDenied, 404: NotFound}.get(status, RequestRefused)


def operation_failed(
    kind: type[E],
    what: str,
    where: str,
    *,
    state: str,
    error: Mapping[str, Any] | None,
    unknown: str = NO_REASON,
) -> E:
    """Return an error of class `kind` for a resource that ended in `state`.

    Args:
        error: The error body of its operation, if that is known.
        unknown: Why it is not.
    """
    if error is None and state.lower() == "canceled":
        error = {"code": "OperationCanceled", "message": "Azure canceled the operation."}
    if error is None:
        hint = "read the log, fix what it reports and run the rollout again"
        return kind(what, where=where, why=f"{unknown}; the state is {state}", hint=hint)
    body = ErrorBody.parse(error)
    found = classify(None, body.code, body.message, body.inner_codes)
    return kind(
        what,
        where=where,
        why=f"{body.code}: {body.message}" if body.code else body.message,
        hint=found.hint,
        cause=found.cause,
        code=found.code,
        request_id=body.correlation_id,
        error_tree=body.tree,
    )


def _body(error: HttpResponseError) -> ErrorBody:
    if error.error is None:  # no ARM error: a gateway's page, or the SDK's own words
        return ErrorBody.parse({"message": first_line(error.message or str(error))})
    return ErrorBody.parse(_as_document(error.error))


def _as_document(error: Any) -> dict[str, Any]:
    """Return the error body that azure.core has parsed, in its original shape."""
    return {
        "code": error.code,
        "message": error.message,
        "target": error.target,
        "details": [_as_document(detail) for detail in error.details or []],
        "additionalInfo": [vars(one) for one in getattr(error, "additional_info", None) or []],
    }


def first_line(text: str) -> str:
    """Return the meaningful part of a text in one line, without the SDK's decoration, colours and secrets.

    That is the first line; or, of the SDK's long reports, each paragraph that begins with `(x)`.
    """
    lines = [line.strip() for line in mask(text).splitlines()]
    found: list[str] = []
    is_inside = False
    for line in lines:
        is_inside = bool(line) and (is_inside or line.startswith(_MARK))
        if is_inside:
            found.append(f"; {line.removeprefix(_MARK).strip()}" if line.startswith(_MARK) else f" {line.lstrip('- ')}")
    return "".join(found).strip("; ") or next((line for line in lines if line.strip(" .\t")), mask(text))


def _request_id(error: HttpResponseError) -> str | None:
    headers: Any = getattr(error.response, "headers", None) or {}
    request_id: str | None = headers.get("x-ms-request-id")
    return request_id


def _sign_in(error: ClientAuthenticationError, what: str, where: str) -> RollwayError:
    text = mask(error.message or str(error))
    if "Authentication failed" in text and any(one in text for one in _NO_ANSWER):
        return AzureUnavailable(
            what,
            where=where,
            why=f"no connection to sign in: {_reasons(text)}",
            hint="check the network, and AZURE_AUTHORITY_HOST if it is set, and run it again",
        )
    if _NO_GOOD_ANSWER.search(text) or (error.status_code or 0) in (429, 500, 502, 503, 504):
        return AzureUnavailable(
            what,
            where=where,
            why=f"the sign-in is unavailable: {_reasons(text)}",
            hint="Microsoft Entra is busy or has a problem: run it again in a few minutes",
        )
    code = next((code for code in _HINTS if code in text), None)
    if code:
        why = next(line.strip() for line in text.splitlines() if code in line)
        return CredentialsRejected(
            what,
            where=where,
            why=why[why.index(code) :],
            hint=_HINTS[code],
            code=code if code.startswith("AADSTS") else None,
        )
    return CredentialsRejected(
        what,
        where=where,
        why=_reasons(text),
        hint="set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or sign in with `az login`",
    )


def _reasons(text: str) -> str:
    # DefaultAzureCredential lists one reason per kind of credential, indented, after a heading.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    useful = [line for line in lines[1:] if not line.startswith(("To mitigate", "Attempted credentials", "Visit"))]
    return "; ".join(useful[:3]) if useful else first_line(text)
