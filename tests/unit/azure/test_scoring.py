"""Scoring, against a small HTTP server on loopback."""

import asyncio
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceRequestError
from pydantic import SecretStr

from rollway.azure.scoring import ROUTING_HEADER
from rollway.azure.session import Session
from rollway.errors import AzureUnavailable, RollwayError
from rollway.rollout.smoke import Measurement, NoAnswer
from rollway.spec import ScoringRequest
from tests.support.scoring import Gateway, Latencies, a_session, scorer

NAME = "main-1"


def score(
    url: str,
    session: Session | None = None,
    *,
    request: ScoringRequest | None = None,
    online_deployment: str | None = None,
    **settings: Any,
) -> Measurement | NoAnswer:
    async def call() -> Measurement | NoAnswer:
        async with scorer(url, session, **settings) as client:
            return await client.score(request or {"data": [[1.0]]}, online_deployment=online_deployment)

    return asyncio.run(call())


def measured(url: str, session: Session | None = None, **settings: Any) -> Measurement:
    answer = score(url, session, **settings)
    assert isinstance(answer, Measurement)
    return answer


def test_an_answer_is_measured(gateway: Gateway) -> None:
    gateway.will_answer((200, {ROUTING_HEADER: "main-1", "x-ms-request-id": "abc", "other": "x"}, {"y": [1]}))

    answer = measured(gateway.url, clock=Latencies(0.25))

    assert (answer.status, answer.body, answer.served_by) == (200, {"y": [1]}, "main-1")
    assert answer.headers == {"x-ms-request-id": "abc"}
    assert answer.latency_seconds == 0.25


def test_the_request_is_sent_as_json_with_the_key(gateway: Gateway) -> None:
    score(gateway.url, a_session("secret"))

    ((headers, body),) = gateway.requests
    assert body == {"data": [[1.0]]}
    assert (headers["authorization"], headers["content-type"]) == ("Bearer secret", "application/json")


@pytest.mark.parametrize("name", [NAME, None])
def test_only_a_pinned_request_names_the_online_deployment(gateway: Gateway, name: str | None) -> None:
    score(gateway.url, online_deployment=name)

    assert gateway.requests[0][0].get(ROUTING_HEADER) == name


@pytest.mark.parametrize(
    ("auth_mode", "token"),
    [("key", "key-1"), ("aml_token", "token of diabetes"), ("aad_token", "for https://ml.azure.com/.default")],
)
def test_each_auth_mode_has_its_own_token(gateway: Gateway, auth_mode: str, token: str) -> None:
    score(gateway.url, auth_mode=auth_mode)

    assert gateway.requests[0][0]["authorization"] == f"Bearer {token}"


def test_a_refused_key_is_read_again_once(gateway: Gateway) -> None:
    gateway.will_answer((401, {}, ""), (200, {}, {}))

    answer = measured(gateway.url, a_session("old", "new"))

    assert answer.status == 200
    assert [headers["authorization"] for headers, _ in gateway.requests] == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize("status", [401, 403, 404, 424, 429, 500, 503])
def test_a_score_returns_whatever_is_answered(gateway: Gateway, status: int) -> None:
    gateway.will_answer((status, {}, "no"))

    assert measured(gateway.url, a_session("old", "new")).status == status
    assert len(gateway.requests) == (2 if status == 401 else 1)


def test_a_score_without_a_connection_has_no_answer() -> None:
    answer = score("http://127.0.0.1:1/score")

    assert isinstance(answer, NoAnswer)
    assert answer.why.startswith("no connection: ")
    assert not answer.is_timeout


def test_a_score_that_is_not_answered_in_time_has_no_answer(gateway: Gateway) -> None:
    gateway.will_answer((200, {"slow": "yes"}, {}))

    assert score(gateway.url, timeout_seconds=0.1) == NoAnswer(why="no answer within 0.1 s", is_timeout=True)


@pytest.mark.parametrize("body", ["", "plain text", '{"cut": ', "<html>"])
def test_an_answer_that_is_not_json_is_kept_as_text(gateway: Gateway, body: str) -> None:
    gateway.will_answer((200, {}, body))

    assert measured(gateway.url).body == body


@pytest.mark.parametrize("error", [ServiceRequestError("no network"), HttpResponseError("no")])
def test_keys_that_cannot_be_read_are_a_rollway_error(error: Exception) -> None:
    with pytest.raises(RollwayError, match="cannot read the endpoint's keys") as caught:
        score("http://127.0.0.1:1/score", a_session(error))

    assert isinstance(caught.value, AzureUnavailable) is isinstance(error, ServiceRequestError)


def test_keys_that_a_single_404_hides_are_read_again(gateway: Gateway) -> None:
    measured(gateway.url, a_session(ResourceNotFoundError("no such endpoint"), "key-1"))

    assert gateway.requests[0][0]["authorization"] == "Bearer key-1"


PNG = b"\x89PNG\r\n\x1a\n\x00\xff"


def test_a_request_of_any_content_is_sent_as_it_is(gateway: Gateway) -> None:
    headers = {"X-Tenant": SecretStr("blue"), "accept": SecretStr("image/png")}
    request = ScoringRequest(content=PNG, content_type="image/png", headers=headers)

    score(gateway.url, a_session("secret"), request=request, online_deployment=NAME)

    ((sent, body),) = gateway.requests
    assert (body, sent["content-type"], sent["content-length"]) == (PNG, "image/png", str(len(PNG)))
    assert (sent["x-tenant"], sent["accept"], sent["authorization"]) == ("blue", "image/png", "Bearer secret")
    assert sent[ROUTING_HEADER] == NAME


def test_json_of_another_type_says_so(gateway: Gateway) -> None:
    score(gateway.url, request=ScoringRequest(document={"a": [1]}, content_type="application/vnd.x+json"))

    ((sent, body),) = gateway.requests
    assert (body, sent["content-type"]) == ({"a": [1]}, "application/vnd.x+json")


@pytest.mark.parametrize(("route", "path"), [(None, "/score"), ("/", "/"), ("/v1/models/a:predict?n=1", None)])
def test_a_route_replaces_the_scoring_route(gateway: Gateway, route: str | None, path: str | None) -> None:
    score(gateway.url, request=ScoringRequest(document={}, route=route))

    assert gateway.paths == [path or route]


@pytest.mark.parametrize(
    ("content", "body", "text"),
    [
        (PNG, f"({len(PNG)} bytes)", ""),
        (b"a\x00b", "(3 bytes)", ""),
        ("größer".encode(), "größer", "größer"),
        (b'{"a": 1}', {"a": 1}, '{"a": 1}'),
    ],
    ids=["image", "null byte", "text", "JSON"],
)
def test_an_answer_has_its_size_its_type_and_its_text(gateway: Gateway, content: bytes, body: Any, text: str) -> None:
    gateway.will_answer((200, {"Content-Type": "image/png; q=1"}, content))

    answer = measured(gateway.url)

    assert (answer.body, answer.text) == (body, text)
    assert (answer.size, answer.content_type) == (len(content), "image/png; q=1")
    assert "text" not in answer.model_dump()


def test_the_charset_of_an_answer_counts(gateway: Gateway) -> None:
    gateway.will_answer((200, {"Content-Type": "text/plain; charset=latin-1"}, "größer".encode("latin-1")))

    assert measured(gateway.url).body == "größer"
