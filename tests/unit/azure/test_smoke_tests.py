"""Smoke tests, against a small HTTP server on loopback."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import stamina
from pydantic import SecretStr

from rollway.azure.scoring import ROUTING_HEADER
from rollway.azure.session import Session
from rollway.errors import Cause, CouldNotMeasure
from rollway.rollout.smoke import EXCERPT_LENGTH, SmokeTestResult
from rollway.spec import Expectation, ScoringRequest
from tests.support.scoring import WAIT_SECONDS, Gateway, Latencies, a_session, scorer

ATTEMPTS = 4
NAME = "main-1"
OURS = {ROUTING_HEADER: NAME}
MODELS_ERROR = {
    "ms-azureml-model-error-statuscode": "500",
    "ms-azureml-model-error-reason": "model_error",
    "x-ms-run-function-failed": "True",
}
SECRET = "patient 4711"


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Retry without pauses, and at most ATTEMPTS times."""
    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        yield


def smoke_test(
    url: str,
    session: Session | None = None,
    *,
    expect: Expectation | None = None,
    request: ScoringRequest | None = None,
    warm_up_seconds: float = WAIT_SECONDS,
    is_pinned: bool = True,
    others_may_answer: bool = False,
    **settings: Any,
) -> SmokeTestResult:
    wanted = (request or ScoringRequest(document={"data": [[1.0]]})).model_copy(
        update={"expect": expect or Expectation()}
    )

    async def call() -> SmokeTestResult:
        async with scorer(url, session, **settings) as client:
            return await client.smoke_test(
                wanted,
                NAME,
                warm_up_seconds=warm_up_seconds,
                is_pinned=is_pinned,
                others_may_answer=others_may_answer,
            )

    return asyncio.run(call())


@pytest.mark.parametrize("is_pinned", [True, False])
def test_the_latency_of_the_first_request_does_not_count(gateway: Gateway, is_pinned: bool) -> None:
    gateway.will_answer((200, OURS, {"n": 1}), (200, OURS, {"n": 2}))

    result = smoke_test(gateway.url, is_pinned=is_pinned, clock=Latencies(60, 0.5))

    assert (result.has_passed, result.online_deployment, result.is_pinned) == (True, NAME, is_pinned)
    assert (result.measurement.body, result.measurement.latency_seconds) == ({"n": 2}, 0.5)
    assert [headers.get(ROUTING_HEADER) for headers, _ in gateway.requests] == [NAME if is_pinned else None] * 2


def test_the_latency_of_the_second_request_counts(gateway: Gateway) -> None:
    gateway.will_answer((200, OURS, {}))

    result = smoke_test(gateway.url, clock=Latencies(0.5, 6))

    assert result.problems == ("took 6.00 s, allowed are 5 s",)
    assert result.hint == "fix the scoring script or the expectation, then run the rollout again"


@pytest.mark.parametrize("answers_before", [0, 1])
@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((200, OURS, {"wrong": 1}), "body: 'y' is a required property"),
        (
            (424, MODELS_ERROR, "boom"),
            "status 424 instead of 200, the model answered 500 (model_error)",
        ),
    ],
)
def test_a_fault_of_the_model_ends_the_test_at_once(
    gateway: Gateway, answer: tuple[int, dict[str, str], Any], problem: str, answers_before: int
) -> None:
    gateway.will_answer(*[(200, OURS, {"y": 1})] * answers_before, answer)

    result = smoke_test(gateway.url, expect=Expectation(body={"required": ["y"]}))

    assert (result.problems, result.measurement.status) == ((problem,), answer[0])
    assert len(gateway.requests) == answers_before + 1


@pytest.mark.parametrize("answers_before", [0, 1])
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (200, {ROUTING_HEADER: "old"}),
        (404, {}),
        (408, {}),
        (424, {"ms-azureml-model-error-reason": "model_not_ready"}),
        (429, {}),
        (500, {}),
        (503, {}),
    ],
)
def test_an_answer_that_tells_nothing_about_the_model_is_retried(
    gateway: Gateway, status: int, headers: dict[str, str], answers_before: int
) -> None:
    good: tuple[int, dict[str, str], Any] = (200, OURS, {})
    gateway.will_answer(*[good] * answers_before, (status, headers, ""), (status, headers, ""), good)

    assert smoke_test(gateway.url).has_passed
    assert len(gateway.requests) == 4


@pytest.mark.parametrize("error", [httpx.ReadTimeout(""), httpx.RemoteProtocolError("cut"), httpx.ConnectError("no")])
def test_a_missing_answer_is_retried(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, error: httpx.RequestError
) -> None:
    gateway.will_answer((200, OURS, {}))
    post, errors = httpx.AsyncClient.post, [error]

    async def post_after_the_error(client: httpx.AsyncClient, *given: Any, **named: Any) -> httpx.Response:
        if errors:
            raise errors.pop()
        return await post(client, *given, **named)

    monkeypatch.setattr(httpx.AsyncClient, "post", post_after_the_error)

    assert smoke_test(gateway.url).has_passed
    assert len(gateway.requests) == 2


def test_without_a_warm_up_nothing_is_retried(gateway: Gateway) -> None:
    gateway.will_answer((503, {}, "busy"))

    with pytest.raises(CouldNotMeasure, match="status 503 instead of 200"):
        smoke_test(gateway.url, warm_up_seconds=0)

    assert len(gateway.requests) == 1


def test_an_endpoint_that_stays_unready_could_not_be_measured(gateway: Gateway) -> None:
    gateway.will_answer((503, {"x-ms-request-id": "abc"}, f"busy with {SECRET}"))

    with pytest.raises(CouldNotMeasure) as caught:
        smoke_test(gateway.url)

    error = caught.value
    assert str(error) == (
        "the smoke test of 'main-1' could not be measured: status 503 instead of 200: an error of Azure, not of the "
        "model\n"
        f"  where: {gateway.url} (pinned)\n"
        "  why: the last of 4 requests tells nothing about the model\n"
        "  try: run the rollout again; if Azure often takes longer, raise smoke_test.warm_up_seconds in rollout.yml\n"
        "  Azure request id: abc\n\n"
        f"answer: busy with {SECRET}"
    )
    assert (error.exit_code, error.cause) == (3, Cause.TRANSIENT)
    assert not error.is_candidates_fault
    assert not error.is_models_fault


@pytest.mark.parametrize(
    ("status", "requests", "problem", "hint"),
    [
        (401, 2, "the gateway refused the key or token that was just read", "check auth_mode in endpoint.yml"),
        (403, 1, "the gateway denies access", "'AzureML Data Scientist'"),
        (413, 1, "the request is larger than the gateway allows", "send a smaller smoke_test.request_file"),
    ],
)
def test_a_refusal_of_the_gateway_ends_the_test_at_once_and_is_not_the_models_fault(
    gateway: Gateway, status: int, requests: int, problem: str, hint: str
) -> None:
    gateway.will_answer((status, {}, "key_auth_access_denied"))

    with pytest.raises(CouldNotMeasure) as caught:
        smoke_test(gateway.url, a_session("old", "new"))

    assert caught.value.what.endswith(f"status {status} instead of 200: {problem}")
    assert hint in str(caught.value.hint)
    assert caught.value.cause is Cause.PERMANENT
    assert len(gateway.requests) == requests


def test_a_gateway_that_keeps_routing_to_another_online_deployment_could_not_be_measured(gateway: Gateway) -> None:
    gateway.will_answer((200, {ROUTING_HEADER: "old"}, {}))

    with pytest.raises(CouldNotMeasure, match="answered by 'old' instead of 'main-1'") as caught:
        smoke_test(gateway.url, is_pinned=False)

    assert str(caught.value.where).endswith(" (by traffic)")


def test_while_others_share_the_traffic_any_of_them_may_answer(gateway: Gateway) -> None:
    gateway.will_answer((200, {ROUTING_HEADER: "old"}, {}))

    assert smoke_test(gateway.url, is_pinned=False, others_may_answer=True).has_passed


def test_a_model_whose_every_request_times_out_at_the_gateway_is_too_slow(gateway: Gateway) -> None:
    gateway.will_answer((408, OURS, "upstream request timeout"))

    result = smoke_test(gateway.url)

    assert result.problems == ("status 408 instead of 200: run() took longer than request_timeout_ms",)
    assert "request_settings.request_timeout_ms in deployment.yml" in str(result.hint)
    assert len(gateway.requests) == ATTEMPTS


def test_an_endpoint_that_cannot_be_reached_is_named_with_a_hint() -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        smoke_test("http://127.0.0.1:1/score", warm_up_seconds=1)

    assert caught.value.what.startswith("the smoke test of 'main-1' could not be measured: no connection: ")
    assert caught.value.where == "http://127.0.0.1:1/score (pinned)"
    assert (caught.value.status, caught.value.may_be_in_log) == (None, False)
    assert "inside the workspace's network" in str(caught.value.hint)


def test_an_endpoint_that_never_answers_could_not_be_measured(gateway: Gateway) -> None:
    gateway.will_answer((200, {"slow": "yes"}, {}))

    with pytest.raises(CouldNotMeasure, match=r"could not be measured: no answer within 0\.1 s"):
        smoke_test(gateway.url, timeout_seconds=0.1)


@pytest.mark.parametrize(
    ("status", "headers"), [(503, {}), (424, {"ms-azureml-model-error-reason": "model_not_ready"}), (403, {})]
)
def test_the_answer_is_only_in_the_details_and_short(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, status: int, headers: dict[str, str]
) -> None:
    gateway.will_answer((status, headers, SECRET + "x" * 10_000))

    with caplog.at_level(logging.DEBUG), pytest.raises(CouldNotMeasure) as caught:
        smoke_test(gateway.url)

    assert (caught.value.status, caught.value.may_be_in_log) == (status, status != 403)
    details = str(caught.value.details)
    assert details.startswith(f"answer: {SECRET}")
    assert len(details) == len("answer: ") + EXCERPT_LENGTH
    assert SECRET not in f"{caught.value.what} {caught.value.where} {caught.value.why} {caught.value.hint}"
    assert SECRET not in caplog.text


def test_no_secret_is_in_the_text_of_an_error() -> None:
    with pytest.raises(CouldNotMeasure) as caught:
        smoke_test("http://127.0.0.1:1/score", a_session("very-secret"))

    assert "very-secret" not in f"{caught.value!r} {caught.value} {vars(caught.value)}"


@pytest.mark.parametrize("status", [200, 503])
def test_a_named_request_is_named_in_the_result_and_in_the_error(gateway: Gateway, status: int) -> None:
    gateway.will_answer((status, OURS, {}))
    request = ScoringRequest(name="cat", document={})

    if status == 200:
        assert smoke_test(gateway.url, request=request).request == "cat"
        return
    with pytest.raises(
        CouldNotMeasure, match="the smoke test of 'main-1' with 'cat' could not be measured: status 503"
    ):
        smoke_test(gateway.url, request=request)


@pytest.mark.parametrize("status", [200, 503])
def test_a_header_that_the_model_repeats_is_shown_nowhere(gateway: Gateway, status: int) -> None:
    gateway.will_answer((status, OURS, {"seen": ["the key is hunter22-abc", {"hunter22-abc": 1}], "x": "ab"}))
    request = ScoringRequest(document={}, headers={"X-Key": SecretStr("hunter22-abc"), "X-Short": SecretStr("ab")})
    masked = {"seen": ["the key is ***", {"***": 1}], "x": "ab"}

    if status == 200:
        expect = Expectation(text_contains=("hunter22-abc",))
        result = smoke_test(gateway.url, request=request, expect=expect)
        assert (result.has_passed, result.measurement.body) == (True, masked), "it is judged as it came"
        assert "hunter22" not in f"{result!r} {result.model_dump_json()}"
        return
    with pytest.raises(CouldNotMeasure) as caught:
        smoke_test(gateway.url, request=request)
    assert caught.value.details == f"answer: {json.dumps(masked)}"
