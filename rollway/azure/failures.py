"""Azure's exceptions as ours: classified, with the reason in plain words and what to do next."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import Any, ParamSpec, TypeVar

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)

from rollway.errors import (
    AccessDenied,
    AzureUnavailable,
    Busy,
    CredentialsRejected,
    NotFound,
    RequestRefused,
    RollwayError,
)

P = ParamSpec("P")
T = TypeVar("T")

_PREFIX = re.compile(r"^(?P<code>[A-Z][A-Za-z]+): (?P<message>.*)", re.DOTALL)
# 409 means "busy", but for these, which no waiting heals.
_PERMANENT_CONFLICTS = ("AlreadyExists", "ScopeLocked", "MissingSubscriptionRegistration")
_UNREACHABLE = ("Failed to establish a new connection", "Failed to resolve")
_HINTS = {
    "AADSTS7000215": "the client secret is wrong: check AZURE_CLIENT_SECRET (its value, not its id)",
    "AADSTS7000222": "the client secret has expired: make a new one and set AZURE_CLIENT_SECRET",
    "AADSTS700016": "the application is unknown in this tenant: check AZURE_CLIENT_ID and AZURE_TENANT_ID",
    "AADSTS90002": "the tenant is unknown: check AZURE_TENANT_ID",
}


async def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A blocking SDK call without blocking the event loop."""
    return await asyncio.to_thread(call, *args, **kwargs)


def now(timespec: str = "seconds") -> str:
    """The time for a tag, in UTC, to the second or as `datetime.isoformat` takes it."""
    return datetime.now(UTC).isoformat(timespec=timespec)


def word(value: object) -> str:
    """A state as Azure spells it. The SDK's enumerations are strings, but `str()` of one is `Class.MEMBER`."""
    return str(value.value if isinstance(value, Enum) else value)


@contextmanager
def azure_errors(what: str, where: str, hint: str | None = None) -> Iterator[None]:
    """Raises what Azure raises inside the block as a RollwayError; `what` is what was tried, `where` the resource."""
    try:
        yield
    except AzureError as error:
        raise translate(error, what, where, hint) from error


def translate(error: AzureError, what: str, where: str, hint: str | None = None) -> RollwayError:
    """The RollwayError for an exception of azure.core, azure.identity or azure.ai.ml."""
    if isinstance(error, ClientAuthenticationError):
        return _authentication(error, what)
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return AzureUnavailable(
            what, where=where, why=f"no connection: {first_line(str(error))}", hint="check the network and run it again"
        )
    if not isinstance(error, HttpResponseError):  # azure.ai.ml's own validation
        return RequestRefused(what, where=where, why=first_line(str(error)), hint=hint)
    code, message = code_and_message(error)
    known: dict[str, Any] = {
        "where": where,
        "why": f"{code}: {message}" if code else message,
        "request_id": _request_id(error),
    }
    status = error.status_code or 0
    if isinstance(error, ResourceNotFoundError):
        return NotFound(
            what, **known, hint=hint or "check the name, and the workspace that the environment variables name"
        )
    if status == 403 and code == "AuthorizationFailed":
        return AccessDenied(
            what,
            **known,
            hint="give the identity the role 'AzureML Data Scientist' on the workspace; that takes minutes to work",
        )
    if status == 403:  # a policy, or a firewall: Azure's own words say which
        return AccessDenied(what, **known, hint="ask who administers the subscription; a role alone does not help")
    if status in (408, 429) or status >= 500:
        return AzureUnavailable(what, **known, hint="Azure is busy or has a fault: run it again in a few minutes")
    if status == 409 and not any(one in (code or "") for one in _PERMANENT_CONFLICTS):
        return Busy(
            what, **known, hint="another operation is running on the resource: wait until it has ended and run it again"
        )
    return RequestRefused(what, **known, hint=hint)


def code_and_message(error: HttpResponseError) -> tuple[str | None, str]:
    """Azure's error code and its reason, taken from wherever the service put them.

    Failed operations often leave `error.code` null and write it in front of the message; validation errors of the
    inference service are JSON inside a detail's message.
    """
    body = error.error
    if body is None:
        return None, first_line(error.message or str(error))
    details = [vars(detail) for detail in body.details or []]
    return explain({"code": body.code, "message": body.message, "details": details})


def explain(body: dict[str, Any]) -> tuple[str | None, str]:
    """The same for an ARM error body, `{"code", "message", "details": [...]}`."""
    for detail in body.get("details") or []:
        nested = _validation_text(detail.get("message"))
        if nested:
            return body.get("code"), nested
    code, message = body.get("code"), str(body.get("message") or "")
    if not code and (match := _PREFIX.match(message)):
        code, message = match["code"], match["message"]
    return code, message.strip()


def first_line(text: str) -> str:
    """The first line that says something, without the SDK's decoration."""
    return next((line.strip() for line in text.splitlines() if line.strip(" .\t")), text)


def _request_id(error: HttpResponseError) -> str | None:
    headers: Any = getattr(error.response, "headers", None) or {}
    request_id: str | None = headers.get("x-ms-request-id")
    return request_id


def _validation_text(message: object) -> str | None:
    try:
        document = json.loads(str(message))
        return "; ".join(f"{field}: {text}" for field, texts in document["errors"].items() for text in texts)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _authentication(error: ClientAuthenticationError, what: str) -> RollwayError:
    text = error.message or str(error)
    # azure-identity has one exception for "refused" and "could not ask".
    if "Authentication failed" in text and any(one in text for one in _UNREACHABLE):
        return AzureUnavailable(
            what,
            why=f"no connection to sign in: {_reasons(text)}",
            hint="check the network, and AZURE_AUTHORITY_HOST when it is set, and run it again",
        )
    code = next((code for code in _HINTS if code in text), None)
    if code:
        why = next(line.strip() for line in text.splitlines() if code in line)
        return CredentialsRejected(what, why=why[why.index(code) :], hint=_HINTS[code])
    return CredentialsRejected(
        what,
        why=_reasons(text),
        hint="set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, or sign in with `az login`",
    )


def _reasons(text: str) -> str:
    # DefaultAzureCredential lists one reason per kind of credential, indented, after a heading.
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    useful = [line for line in lines[1:] if not line.startswith(("To mitigate", "Attempted credentials", "Visit"))]
    return "; ".join(useful[:3]) if useful else first_line(text)
