"""Scoring: real requests to an endpoint.

Not through the SDK's `invoke`, which leaks its routing header into later calls.
"""

import json
from types import TracebackType
from typing import Any, Self

import httpx
import stamina
from pydantic import JsonValue

from rollway.azure.errors.translate import azure_errors
from rollway.azure.session import DATA_PLANE_SCOPE, Session
from rollway.azure.threads import get_existing, in_thread
from rollway.azure.waiting import SYSTEM_CLOCK, Clock
from rollway.errors import CouldNotMeasure
from rollway.rollout.smoke import (
    EXPLAINING_HEADERS,
    REQUEST_ID,
    Judgement,
    Measurement,
    NoAnswer,
    Outcome,
    SmokeTestResult,
    address,
    conclude,
    excerpt,
    judge,
    title,
    without,
)
from rollway.rollout.state import EndpointState
from rollway.spec import ScoringRequest

ROUTING_HEADER = "azureml-model-deployment"
CONNECT_SECONDS = 10.0


class _NotYet(Exception):
    """The same request may be answered soon. Its text is logged by the retry, so it never has an answer's body."""


class Scorer:
    """A client of one endpoint: `async with Scorer(session, endpoint) as scorer: await scorer.score(request)`.

    The endpoint's key or token is read on first use, and once more after a 401: keys are regenerated and tokens expire.
    Each request may take up to `timeout_seconds`.
    """

    def __init__(
        self, session: Session, endpoint: EndpointState, *, timeout_seconds: float = 60.0, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        connect_seconds = min(CONNECT_SECONDS, timeout_seconds)
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(timeout_seconds, connect=connect_seconds))
        self._token: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def score(
        self, request: JsonValue | ScoringRequest, *, online_deployment: str | None = None
    ) -> Measurement | NoAnswer:
        """POST one request, and return the answer or its absence. Never retries, except once after a 401.

        Args:
            request: A JSON document, or a request of any content.
            online_deployment: If given, the request is pinned to it regardless of its weight.
        """
        if not isinstance(request, ScoringRequest):
            request = ScoringRequest(document=request)
        answer = await self._post(request, online_deployment)
        if isinstance(answer, Measurement) and answer.status == 401:
            self._token = None
            answer = await self._post(request, online_deployment)
        return answer

    async def smoke_test(
        self,
        request: ScoringRequest,
        online_deployment: str,
        *,
        warm_up_seconds: float,
        is_pinned: bool,
        others_may_answer: bool = False,
    ) -> SmokeTestResult:
        """Send a request to warm up and then the measured one; return the answer that decides.

        Answers that mean "not yet" are retried for `warm_up_seconds`. Raises CouldNotMeasure if nothing is known
        about the model.

        Args:
            online_deployment: The one under test.
            is_pinned: Send the requests to it regardless of its weight; otherwise by traffic.
            others_may_answer: True if other online deployments share its traffic.
        """
        answers: list[Measurement | NoAnswer] = []
        judgements: list[Judgement] = []

        async def ask(*, is_warm_up: bool) -> bool:
            answer = await self.score(request, online_deployment=online_deployment if is_pinned else None)
            judgement = judge(
                answer, request.expect, online_deployment, others_may_answer=others_may_answer, is_warm_up=is_warm_up
            )
            answers.append(answer)
            judgements.append(judgement)
            if judgement.outcome is Outcome.NOT_YET:
                raise _NotYet("; ".join(judgement.problems))
            return judgement.outcome is Outcome.PASSED

        is_warm = False
        try:
            async for attempt in stamina.retry_context(
                on=_NotYet,
                attempts=None if warm_up_seconds else 1,
                timeout=warm_up_seconds or None,
                wait_initial=0.2,
                wait_max=3.0,
            ):
                with attempt:
                    is_warm = is_warm or await ask(is_warm_up=True)
                    if is_warm:
                        await ask(is_warm_up=False)
        except _NotYet:
            pass  # the time is over: `conclude` says what that means
        last, concluded = answers[-1], conclude(judgements)
        if isinstance(last, Measurement):  # a model may repeat what it was sent
            last = without(last, [value.get_secret_value() for value in request.headers.values()])
        if concluded.outcome is Outcome.COULD_NOT_MEASURE or isinstance(last, NoAnswer):
            what = title(online_deployment, request.name)
            raise self._could_not_measure(concluded, last, len(answers), what, is_pinned)
        return SmokeTestResult(
            request=request.name,
            online_deployment=online_deployment,
            is_pinned=is_pinned,
            measurement=last,
            problems=concluded.problems,
            hint=concluded.hint,
        )

    def _could_not_measure(
        self,
        judgement: Judgement,
        last: Measurement | NoAnswer,
        count: int,
        what: str,
        is_pinned: bool,
    ) -> CouldNotMeasure:
        answered = last if isinstance(last, Measurement) else None
        error = CouldNotMeasure(
            f"{what} could not be measured: {'; '.join(judgement.problems)}",
            where=f"{self._endpoint.scoring_uri} ({'pinned' if is_pinned else 'by traffic'})",
            why=f"the last of {count} requests tells nothing about the model",
            hint=judgement.hint,
            cause=judgement.cause,
            request_id=answered.headers.get(REQUEST_ID) if answered else None,
            details=f"answer: {excerpt(answered.body)}" if answered else None,
        )
        error.status = answered.status if answered else None
        return error

    async def _post(self, request: ScoringRequest, online_deployment: str | None) -> Measurement | NoAnswer:
        if self._token is None:
            self._token = await self._fetch_token()
        routing = {ROUTING_HEADER: online_deployment} if online_deployment else {}
        own = {name: value.get_secret_value() for name, value in request.headers.items()}
        body: Any = {"json": request.document} if request.content is None else {"content": request.content}
        start = self._clock.now()
        try:
            response = await self._client.post(
                address(str(self._endpoint.scoring_uri), request.route),
                headers={
                    **own,
                    "Content-Type": request.content_type,
                    **routing,
                    "Authorization": f"Bearer {self._token}",
                },
                **body,
            )
        except httpx.ReadTimeout:
            return NoAnswer(why=f"no answer within {self._timeout_seconds:g} s", is_timeout=True)
        except httpx.RequestError as error:
            return NoAnswer(why=f"no connection: {str(error) or type(error).__name__}")
        seconds = self._clock.now() - start
        text = _text(response)
        return Measurement(
            status=response.status_code,
            latency_seconds=seconds,
            body=_body(response, text),
            text=text or "",
            content_type=response.headers.get("Content-Type", ""),
            size=len(response.content),
            served_by=response.headers.get(ROUTING_HEADER),
            headers={name: response.headers[name] for name in EXPLAINING_HEADERS if name in response.headers},
        )

    async def _fetch_token(self) -> str:
        where = f"endpoint {self._endpoint.name}"
        if self._endpoint.auth_mode == "aad_token":
            with azure_errors("cannot get a token for scoring", where=where):
                return (await in_thread(self._session.credential.get_token, DATA_PLANE_SCOPE)).token
        with azure_errors("cannot read the endpoint's keys", where=where):
            keys: Any = await get_existing(self._session.ml.online_endpoints.get_keys, self._endpoint.name)
        return str(keys.primary_key if self._endpoint.auth_mode == "key" else keys.access_token)


def _text(response: httpx.Response) -> str | None:
    """Return the body as text, None if it is none."""
    try:
        text = response.content.decode(response.charset_encoding or "utf-8")
    except (UnicodeDecodeError, LookupError):
        return None
    return None if "\0" in text else text


def _body(response: httpx.Response, text: str | None) -> JsonValue:
    if text is None:
        return f"({len(response.content)} bytes)"
    try:
        body: JsonValue = json.loads(text)
    except json.JSONDecodeError:
        return text
    return body
