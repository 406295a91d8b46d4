"""Scoring: real requests to an endpoint.

Not through the SDK's `invoke`, which leaks its routing header into later calls.
"""

import json
import time
from types import TracebackType
from typing import Any, Self

import httpx
import stamina
from pydantic import JsonValue

from rollway.azure.errors.translate import azure_errors
from rollway.azure.session import DATA_PLANE_SCOPE, Session
from rollway.azure.threads import in_thread
from rollway.errors import EndpointUnreachable, SmokeTestFailed
from rollway.rollout.smoke import Measurement
from rollway.rollout.state import EndpointState

ROUTING_HEADER = "azureml-model-deployment"
_EXPLAINING_HEADERS = ("ms-azureml-model-error-statuscode", "ms-azureml-model-error-reason", "x-ms-request-id")


class _NotReadyYet(Exception):
    """An answer, or none, that is normal shortly after a container has started or traffic has moved."""

    def __init__(self, measurement: Measurement | None, reason: str) -> None:
        super().__init__(reason)
        self.measurement = measurement


class Scorer:
    """A client of one endpoint: `async with Scorer(session, endpoint) as scorer: await scorer.score(request)`.

    The endpoint's key or token is read on first use, and once more after a 401: keys are regenerated and tokens expire.
    Each request may take up to `timeout_seconds`.
    """

    def __init__(self, session: Session, endpoint: EndpointState, *, timeout_seconds: float = 60.0) -> None:
        self._session = session
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(timeout=timeout_seconds)
        self._token: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def score(
        self, request: JsonValue, *, online_deployment: str | None = None, warm_up_seconds: float = 0.0
    ) -> Measurement:
        """POST one JSON request and return the answer, whatever its status.

        Raises SmokeTestFailed if there is no answer in time, and EndpointUnreachable without a connection.

        Args:
            online_deployment: If given, the request is pinned to it regardless of its weight.
            warm_up_seconds: How long to retry answers that mean "not ready yet" and refused connections.
        """
        headers = {ROUTING_HEADER: online_deployment} if online_deployment else {}
        where = f"{self._endpoint.scoring_uri} ({online_deployment or 'by traffic'})"
        try:
            async for attempt in stamina.retry_context(
                on=_NotReadyYet,
                attempts=None if warm_up_seconds else 1,
                timeout=warm_up_seconds or None,
                wait_initial=0.2,
                wait_max=3.0,
            ):
                with attempt:
                    return await self._score_once(request, headers)
        except _NotReadyYet as error:
            if error.measurement is not None:
                return error.measurement
            raise EndpointUnreachable(
                "the endpoint cannot be reached",
                where=where,
                why=str(error),
                hint="if public network access is disabled, run the worker inside the workspace's network",
            ) from error
        except httpx.ReadTimeout as error:
            raise SmokeTestFailed(
                f"the endpoint did not answer within {self._timeout_seconds:g} s",
                where=where,
                hint="find out what run() waits for, or raise smoke_test.expect.max_latency_seconds in rollout.yml",
            ) from error
        raise AssertionError("a retry context returns or raises")

    async def _score_once(self, request: JsonValue, headers: dict[str, str]) -> Measurement:
        response, latency_seconds = await self._post(request, headers)
        if response.status_code == 401:
            self._token = None
            response, latency_seconds = await self._post(request, headers)
        measurement = Measurement(
            status=response.status_code,
            latency_seconds=latency_seconds,
            body=_body(response),
            served_by=response.headers.get(ROUTING_HEADER),
            headers={name: response.headers[name] for name in _EXPLAINING_HEADERS if name in response.headers},
        )
        if _is_not_ready(response):
            raise _NotReadyYet(measurement, f"status {response.status_code}")
        return measurement

    async def _post(self, request: JsonValue, headers: dict[str, str]) -> tuple[httpx.Response, float]:
        if self._token is None:
            self._token = await self._fetch_token()
        start = time.perf_counter()
        try:
            response = await self._client.post(
                str(self._endpoint.scoring_uri),
                json=request,
                headers={**headers, "Authorization": f"Bearer {self._token}"},
            )
        except httpx.ReadTimeout:
            raise
        except httpx.TransportError as error:
            raise _NotReadyYet(None, str(error) or type(error).__name__) from error
        return response, time.perf_counter() - start

    async def _fetch_token(self) -> str:
        where = f"endpoint {self._endpoint.name}"
        if self._endpoint.auth_mode == "aad_token":
            with azure_errors("cannot get a token for scoring", where=where):
                return (await in_thread(self._session.credential.get_token, DATA_PLANE_SCOPE)).token
        with azure_errors("cannot read the endpoint's keys", where=where):
            keys: Any = await in_thread(self._session.ml.online_endpoints.get_keys, self._endpoint.name)
        return str(keys.primary_key if self._endpoint.auth_mode == "key" else keys.access_token)


def _is_not_ready(response: httpx.Response) -> bool:
    # 404: traffic has just moved. 424 with this reason: the container is starting. The rest: gateway and throttling.
    if response.status_code == 424:
        reason: str | None = response.headers.get("ms-azureml-model-error-reason")
        return reason == "model_not_ready"
    return response.status_code in (404, 429, 502, 503, 504)


def _body(response: httpx.Response) -> JsonValue:
    try:
        body: JsonValue = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return response.text
    return body
