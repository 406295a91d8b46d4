"""The scoring gateway in front of online deployments: authentication, weights, limits and Azure's status codes."""

import asyncio
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import unquote
from uuid import uuid4

from starlette.types import ASGIApp, Receive, Scope, Send

from rollway.emulator.arm.data_collection import collect_payloads, collects_payloads
from rollway.emulator.core.errors import ArmError
from rollway.emulator.core.faults import ContainerFault, apply_to_container, discard_message
from rollway.emulator.core.rate_limit import RateLimit
from rollway.emulator.core.roles import is_allowed
from rollway.emulator.core.store import Resource
from rollway.emulator.login.endpoint_tokens import SCORE, InvalidEndpointToken
from rollway.emulator.login.identity import AZURE_ML
from rollway.emulator.runtime.container import ContainerState
from rollway.emulator.runtime.fleet import Instance, Revision
from rollway.emulator.runtime.upstream import BrokenResponse, Headers, UpstreamResponse, send_request
from rollway.emulator.scoring import errors
from rollway.emulator.scoring.routing import Route, Routes
from rollway.emulator.state import Emulator

DEPLOYMENT_HEADER = b"azureml-model-deployment"
# Hop-by-hop headers (RFC 9110, 7.6.1), and headers that the gateway sets itself.
NOT_FORWARDED = {
    b"host",
    b"connection",
    b"keep-alive",
    b"transfer-encoding",
    b"content-length",
    b"expect",
    b"upgrade",
    b"authorization",
    b"te",
    b"x-request-id",
    b"x-ms-request-id",
    b"x-ms-client-request-id",
}
NOT_RETURNED = {
    b"connection",
    b"keep-alive",
    b"transfer-encoding",
    b"server",
    b"date",
    b"x-request-id",
    b"x-ms-request-id",
    b"x-ms-client-request-id",
}
MAX_CLIENT_ID = 40
PATH = re.compile(rb"/inference/[^/]+/[^/]+/")


@dataclass(frozen=True)
class ScoringRequest:
    """A scoring request.

    Args:
        target: Path after the endpoint's own path, and the query.
        forwarded: Headers for the container.
        caller: Address of the client.
        client_id: Cleaned `x-ms-client-request-id`; empty without one.
    """

    region: str
    endpoint: str
    method: str
    target: bytes
    headers: Mapping[bytes, bytes]
    forwarded: Headers
    caller: str
    request_id: bytes
    client_id: bytes

    @classmethod
    def from_scope(cls, scope: Scope) -> "ScoringRequest":
        headers = dict(scope["headers"])
        query: bytes = scope["query_string"]
        client_id = re.sub(rb"[^A-Za-z0-9_-]", b"", headers.get(b"x-ms-client-request-id", b""))[:MAX_CLIENT_ID]
        request_id = str(uuid4()).encode()
        forwarded = [(name, value) for name, value in scope["headers"] if name not in NOT_FORWARDED]
        forwarded.append((b"x-request-id", request_id))
        if client_id:
            forwarded.append((b"x-ms-client-request-id", client_id))
        # The raw path, so that escapes stay as sent: /inference/{region}/{endpoint}/{route}
        _, _, region, endpoint, route = scope["raw_path"].split(b"/", 4)
        return cls(
            region=unquote(region.decode("latin-1")),
            endpoint=unquote(endpoint.decode("latin-1")),
            method=scope["method"],
            target=b"/" + route + (b"?" + query if query else b""),
            headers=headers,
            forwarded=forwarded,
            caller=scope["client"][0] if scope["client"] else "",
            request_id=request_id,
            client_id=client_id,
        )

    def header(self, name: bytes) -> str | None:
        """Return the value of a header, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


class ClientLeft(Exception):
    """The client hung up before its request was complete."""


class Responder:
    """The response to one request, with the headers that the gateway adds to every response."""

    def __init__(self, request: ScoringRequest, send: Send) -> None:
        self._request, self._send = request, send
        self.started_at = time.perf_counter()
        self.status, self.model_status = 0, ""
        self.byte_count = 0
        self.deployment: Resource | None = None
        self.copy: bytearray | None = None  # of the container's response, if it is collected

    async def forward(self, response: UpstreamResponse, sent_at: float) -> None:
        """Stream a container's response to the client. Any status but 200 becomes a 424 with the status in a header."""
        headers = [pair for pair in response.headers if pair[0] not in NOT_RETURNED]
        if response.status != 200:
            headers.append((b"ms-azureml-model-time", b"%d" % round((time.perf_counter() - sent_at) * 1000)))
            headers.append((b"ms-azureml-model-error-statuscode", b"%d" % response.status))
            headers.append((b"ms-azureml-model-error-reason", b"model_error"))
        self.model_status = str(response.status)
        await self._start(200 if response.status == 200 else 424, headers)
        async for content, is_more in response.chunks():
            self.byte_count += len(content)
            if self.copy is not None:
                self.copy += content
            await self._send({"type": "http.response.body", "body": content, "more_body": is_more})

    async def send_error(self, error: errors.GatewayError) -> None:
        """Send an error of the gateway.

        If a container's response has already started, send nothing: the server then closes the connection.
        """
        if self.status:
            return
        content = error.message.encode()
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(content))]
        self.byte_count += len(content)
        self.model_status = error.headers.get("ms-azureml-model-error-statuscode", "")
        await self._start(error.status, headers)
        await self._send({"type": "http.response.body", "body": content})

    async def _start(self, status: int, headers: Headers) -> None:
        self.status = status
        headers.append((b"server", b"azureml-frontdoor"))
        headers.append((b"x-request-id", self._request.request_id))
        headers.append((b"x-ms-request-id", self._request.request_id))
        if self._request.client_id:
            headers.append((b"x-ms-client-request-id", self._request.client_id))
        if self.deployment is not None:
            name = self.deployment.name.encode()
            headers += [(DEPLOYMENT_HEADER, name), (b"azureml-model-session", name)]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


class Gateway:
    """The ASGI application for `/inference/{region}/{endpoint}/`. `fallback` handles all other paths.

    It is in front of the other routes because most requests are scoring requests.
    """

    def __init__(self, emulator: Emulator, fallback: ASGIApp) -> None:
        self._emulator, self._fallback = emulator, fallback
        self._routes = Routes(emulator)
        self._limits = emulator.seed.scoring
        self._rate = RateLimit(self._limits.requests_per_second, emulator.clock.now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward one request to an instance of the online deployment chosen by header or weights."""
        if scope["type"] != "http" or not PATH.match(scope["raw_path"]):
            await self._fallback(scope, receive, send)
            return
        request = ScoringRequest.from_scope(scope)
        responder = Responder(request, send)
        self._emulator.operations.end_due()
        try:
            route = self._routes.find(request.region, request.endpoint)
        except errors.GatewayError as exc:
            await responder.send_error(exc)
            return
        try:
            await self._serve(request, route, receive, responder)
        except errors.GatewayError as exc:
            await responder.send_error(exc)
        except ClientLeft:
            return  # no model has seen the request, and nobody reads a response
        self._add_sample(route.endpoint, responder)

    def _add_sample(self, endpoint: Resource, responder: Responder, is_copy: bool = False) -> None:
        self._emulator.samples.add_request(
            endpoint,
            responder.deployment,
            status=responder.status,
            model_status=responder.model_status,
            milliseconds=(time.perf_counter() - responder.started_at) * 1000,
            byte_count=responder.byte_count,
            is_copy=is_copy,
        )

    async def _serve(self, request: ScoringRequest, route: Route, receive: Receive, responder: Responder) -> None:
        self._check_access(request, route.endpoint)
        body = await _read_body(receive, self._limits.most_body_bytes)
        pinned = request.header(DEPLOYMENT_HEADER)
        deployment = route.choose_deployment(pinned)
        if pinned:
            self._routes.check_pinned(deployment)
        responder.deployment, responder.byte_count = deployment, len(body)
        if (mirror := route.choose_mirror(pinned)) is not None:
            copy = self._mirror(request, route.endpoint, mirror, body)
            self._emulator.spawn(copy, f"mirror {request.request_id.decode()}")
        await self._forward(request, deployment, body, responder)
        if responder.status == 200:
            self._emulator.samples.note_example(route.endpoint, body)

    def _check_access(self, request: ScoringRequest, endpoint: Resource) -> None:
        """Raise GatewayError if the caller may not use the endpoint, or uses it too often."""
        is_public = endpoint.properties["publicNetworkAccess"] == "Enabled"
        if not is_public and ip_address(request.caller) not in self._limits.private_network:
            raise errors.public_access_disabled()
        _authenticate(self._emulator, endpoint, request.header(b"authorization"))
        if not self._rate.try_acquire(endpoint.id):
            raise errors.rate_limited()

    async def _mirror(self, request: ScoringRequest, endpoint: Resource, mirror: Resource, body: bytes) -> None:
        """Send a copy of a request to a mirror, and discard the response."""
        responder = Responder(request, discard_message)
        responder.deployment, responder.byte_count = mirror, len(body)
        try:
            await self._forward(request, mirror, body, responder)
        except errors.GatewayError as exc:
            await responder.send_error(exc)
        self._add_sample(endpoint, responder, is_copy=True)

    async def _forward(self, request: ScoringRequest, deployment: Resource, body: bytes, responder: Responder) -> None:
        revision = self._emulator.fleet.serving_revision(deployment.id)
        instance = None if revision is None else revision.pick()
        if revision is None or instance is None:
            raise errors.model_not_ready()
        if revision.pending >= revision.max_pending:
            raise errors.too_many_pending()
        responder.copy = bytearray() if collects_payloads(deployment) else None
        instance.pending += 1
        try:
            async with instance.slots:
                await self._exchange(request, revision, instance, body, responder)
            if responder.copy is not None:
                path, request_id = request.target.decode("latin-1"), request.request_id.decode()
                collect_payloads(
                    self._emulator, deployment, request.method, path, request_id, body, bytes(responder.copy)
                )
        finally:
            instance.pending -= 1
            revision.request_ended()

    async def _exchange(
        self, request: ScoringRequest, revision: Revision, instance: Instance, body: bytes, responder: Responder
    ) -> None:
        """Send one request to one container and its response to the client, all within the request timeout."""
        port, sent_at = instance.container.port, time.perf_counter()
        assert port is not None  # noqa: S101 - the container is ready, so it has a port
        try:
            async with asyncio.timeout(revision.request_timeout_seconds):
                path = f"/{instance.container.spec.name.rpartition('/')[0]}{request.target.decode('latin-1')}"
                await apply_to_container(self._emulator.faults, request.method, path)
                async with send_request(port, request.method, request.target, request.forwarded, body) as response:
                    await responder.forward(response, sent_at)
        except TimeoutError as exc:
            raise errors.scoring_timeout() from exc
        except ContainerFault as exc:
            raise errors.model_error(exc.status, exc.body) if exc.status else errors.model_not_ready() from exc
        except (OSError, BrokenResponse) as exc:
            if instance.container.state is ContainerState.READY:
                await instance.container.refresh()
            raise errors.model_not_ready() from exc


async def _read_body(receive: Receive, limit_bytes: int) -> bytes:
    """Return the body of a request. Raise GatewayError beyond `limit_bytes`, or ClientLeft if it breaks off.

    A body that is too large is still read to its end, because some clients read no response before that.
    """
    content, size = bytearray(), 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit_bytes:
            content += chunk
        if not message.get("more_body"):
            break
    if size > limit_bytes:
        raise errors.body_too_large(limit_bytes)
    return bytes(content)


def _authenticate(emulator: Emulator, endpoint: Resource, authorization: str | None) -> None:
    """Raise the 401 or 403 unless the header has a key or token for the endpoint's auth mode."""
    mode = endpoint.properties["authMode"]
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise errors.malformed_authorization()
    credential = given.strip()
    if mode == "Key":
        keys = endpoint.private["keys"].values()
        if not any(hmac.compare_digest(credential.encode(), key.encode()) for key in keys):
            raise errors.wrong_credential()
    elif mode == "AMLToken":
        _check_endpoint_token(emulator, endpoint, credential)
    else:
        _check_entra_token(emulator, authorization)


def _check_endpoint_token(emulator: Emulator, endpoint: Resource, token: str) -> None:
    workspace = emulator.store.get(endpoint.id.rsplit("/", 2)[0])
    assert workspace is not None  # noqa: S101 - workspaces cannot be deleted
    try:
        emulator.endpoint_tokens.check(token, workspace, endpoint)
    except InvalidEndpointToken as exc:
        raise errors.wrong_credential() from exc


def _check_entra_token(emulator: Emulator, authorization: str | None) -> None:
    try:
        client_id = emulator.identity.check_token(authorization, (AZURE_ML, f"{AZURE_ML}/"))
    except ArmError as exc:
        raise errors.wrong_credential() from exc
    principal = emulator.seed.principal(client_id)
    if principal is None or not is_allowed(principal.role, SCORE):
        raise errors.scoring_forbidden()
