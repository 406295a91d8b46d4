"""The scoring gateway in front of the online deployments: authentication, weights, limits, Azure's status codes."""

import asyncio
import hmac
import random
import re
from uuid import uuid4

import httpx
from starlette.requests import Request
from starlette.responses import Response

from rollway.emulator import gateway_errors as errors
from rollway.emulator.endpoints import DEPLOYMENT_TYPE, find_by_region, token_audience
from rollway.emulator.errors import ArmError
from rollway.emulator.fleet import Instance, Revision
from rollway.emulator.identity import AZURE_ML
from rollway.emulator.runtime.container import ContainerState
from rollway.emulator.seed import Role
from rollway.emulator.state import Emulator
from rollway.emulator.store import Resource

DEPLOYMENT_HEADER = "azureml-model-deployment"
# Hop-by-hop (RFC 9110, 7.6.1), or set by the gateway itself.
NOT_FORWARDED = {
    "host",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "authorization",
    "te",
    "x-request-id",
    "x-ms-request-id",
}
NOT_RETURNED = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date", "content-encoding"}
MOST_CLIENT_ID = 40


class Gateway:
    """Answers `/inference/{region}/{endpoint}/{route}`."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        no_limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self._client = httpx.AsyncClient(trust_env=False, limits=no_limits, follow_redirects=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def serve(self, request: Request) -> Response:
        """Forward one request to an instance of the online deployment that the weights or the header choose."""
        emulator, params = self._emulator, request.path_params
        emulator.operations.settle()
        endpoint = find_by_region(emulator, params["region"], params["endpoint"])
        request_id, response = str(uuid4()), None
        try:
            if endpoint is None or not endpoint.private["is_created"]:
                raise errors.no_such_endpoint(params["endpoint"])
            _authenticate(emulator, endpoint, request.headers.get("authorization"))
            deployment = _choose(emulator, endpoint, request.headers.get(DEPLOYMENT_HEADER))
            response = await self._forward(request, deployment, params["route"], request_id)
            response.headers[DEPLOYMENT_HEADER] = deployment.name
            response.headers["azureml-model-session"] = deployment.name
        except errors.GatewayError as exc:
            response = exc.response()
        response.headers["x-request-id"] = request_id
        response.headers["x-ms-request-id"] = request_id
        response.headers["server"] = "azureml-frontdoor"
        if client_id := request.headers.get("x-ms-client-request-id"):
            response.headers["x-ms-client-request-id"] = re.sub(r"[^A-Za-z0-9_-]", "", client_id)[:MOST_CLIENT_ID]
        return response

    async def _forward(self, request: Request, deployment: Resource, route: str, request_id: str) -> Response:
        revision = self._emulator.fleet.serving(deployment.id)
        instance = None if revision is None else revision.pick()
        if revision is None or instance is None:
            raise errors.model_not_ready()
        if revision.pending >= revision.most_pending:
            raise errors.too_many_pending()
        instance.pending += 1
        try:
            body = await request.body()
            async with instance.slots:
                answer = await self._send(request, body, revision, instance, route, request_id)
        finally:
            instance.pending -= 1
            revision.released()
        return _returned(answer)

    async def _send(
        self, request: Request, body: bytes, revision: Revision, instance: Instance, route: str, request_id: str
    ) -> httpx.Response:
        headers = [(key, value) for key, value in request.headers.items() if key not in NOT_FORWARDED]
        headers.append(("x-request-id", request_id))
        url = httpx.URL(f"http://127.0.0.1:{instance.container.port}/{route}", query=request.url.query.encode() or None)
        try:
            async with asyncio.timeout(revision.request_timeout_seconds):
                return await self._client.request(request.method, url, content=body, headers=headers, timeout=None)
        except TimeoutError as exc:
            raise errors.scoring_timeout() from exc
        except httpx.TransportError as exc:
            if instance.container.state is ContainerState.READY:
                await instance.container.refresh()
            raise errors.model_not_ready() from exc


def _authenticate(emulator: Emulator, endpoint: Resource, authorization: str | None) -> None:
    mode = endpoint.properties["authMode"]
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not given.strip():
        raise errors.scoring_unauthorized()
    if mode == "Key":
        keys = endpoint.private["keys"].values()
        if not any(hmac.compare_digest(given.strip().encode(), key.encode()) for key in keys):
            raise errors.scoring_unauthorized()
        return
    audiences = (token_audience(endpoint),) if mode == "AMLToken" else (AZURE_ML, f"{AZURE_ML}/")
    try:
        client_id = emulator.identity.check(authorization, audiences)
    except ArmError as exc:
        raise errors.scoring_unauthorized() from exc
    principal = emulator.seed.principal(client_id)
    if mode == "AADToken" and (principal is None or principal.role is not Role.CONTRIBUTOR):
        raise errors.scoring_forbidden()


def _choose(emulator: Emulator, endpoint: Resource, pinned: str | None) -> Resource:
    """The online deployment for one request: the one named in the header, else at random by weight."""
    if pinned:
        found = emulator.store.get(f"{endpoint.id}/deployments/{pinned}")
        if found is None or found.type != DEPLOYMENT_TYPE or not found.private.get("serving"):
            raise errors.no_such_deployment(pinned)
        if found.state == "Deleting":
            raise errors.no_such_deployment(pinned)
        return found
    weights = {name: weight for name, weight in endpoint.properties["traffic"].items() if weight}
    if not weights:
        raise errors.no_live_deployment()
    name = random.choices(list(weights), list(weights.values()))[0]  # noqa: S311 - not a secret
    found = emulator.store.get(f"{endpoint.id}/deployments/{name}")
    if found is None:
        raise errors.no_live_deployment()
    return found


def _returned(answer: httpx.Response) -> Response:
    """A container's answer as the gateway passes it on: anything but 200 is a 424 that tells the status."""
    headers = {key: value for key, value in answer.headers.items() if key not in NOT_RETURNED}
    if answer.status_code == 200:
        return Response(answer.content, 200, headers)
    headers["ms-azureml-model-error-statuscode"] = str(answer.status_code)
    headers["ms-azureml-model-error-reason"] = "model_error"
    return Response(answer.content, 424, headers)
