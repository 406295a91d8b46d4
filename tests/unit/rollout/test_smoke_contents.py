"""The judgement over answers of any content and status, and what is sent where."""

from typing import Any

import pytest

from rollway.rollout.smoke import (
    MODEL_STATUS,
    REASON,
    Judgement,
    Outcome,
    address,
    answer_timeout_seconds,
    judge,
    work_seconds,
)
from rollway.spec import Expectation, ScoringRequest
from tests.support.builders import measurement, rollout_spec

MODELS_ERROR = {MODEL_STATUS: "500", REASON: "model_error"}


def judged(expectation: Expectation, **answer: Any) -> Judgement:
    return judge(measurement(**answer), expectation, "main-01234567")


@pytest.mark.parametrize(
    ("expected", "answer", "outcome", "problem"),
    [
        (400, {"status": 424, "headers": {MODEL_STATUS: "400", REASON: "model_error"}}, Outcome.PASSED, ""),
        (201, {"status": 424, "headers": {MODEL_STATUS: "201"}}, Outcome.PASSED, ""),
        (201, {"status": 201}, Outcome.PASSED, ""),
        (400, {"status": 200}, Outcome.MODELS_FAULT, "status 200 instead of 400"),
        (400, {"status": 424, "headers": MODELS_ERROR}, Outcome.MODELS_FAULT, "status 424 instead of 400"),
        (400, {"status": 424, "headers": {REASON: "model_not_ready"}}, Outcome.NOT_YET, "cannot be reached yet"),
        (404, {"status": 404}, Outcome.NOT_YET, "status 404 of the gateway itself: the gateway knows no route yet"),
        (400, {"status": 400}, Outcome.COULD_NOT_MEASURE, "status 400 of the gateway itself"),
        (401, {"status": 401}, Outcome.COULD_NOT_MEASURE, "status 401 of the gateway itself"),
        (400, {"status": 503}, Outcome.NOT_YET, "status 503 instead of 400"),
    ],
)
def test_another_status_of_the_model_can_be_expected(
    expected: int, answer: dict[str, Any], outcome: Outcome, problem: str
) -> None:
    judgement = judged(Expectation(status=expected), **answer)

    assert judgement.outcome is outcome
    assert problem in "; ".join(judgement.problems)


@pytest.mark.parametrize(
    ("expectation", "problem"),
    [
        (Expectation(content_type="text/PLAIN", text_contains=("lo w",), minimum_bytes=11), ""),
        (Expectation(content_type="image/png"), "content type text/plain instead of image/png"),
        (Expectation(minimum_bytes=12), "body: 11 bytes, demanded are 12"),
        (Expectation(text_contains=("hello", "Hello")), "body: does not contain 'Hello'"),
        (Expectation(body={"type": "string", "pattern": "^hello"}), ""),
        (Expectation(body={"type": "object"}), "body: is not of type object"),
    ],
)
def test_an_answer_that_is_not_json_is_judged(expectation: Expectation, problem: str) -> None:
    text = "hello world"

    judgement = judged(expectation, body=text, text=text, size=11, content_type="Text/plain; charset=utf-8")

    assert judgement.problems == ((problem,) if problem else ())
    assert judgement.outcome is (Outcome.MODELS_FAULT if problem else Outcome.PASSED)


def test_an_answer_without_a_content_type_has_none() -> None:
    assert judged(Expectation(content_type="a/b")).problems == ("content type (none) instead of a/b",)


@pytest.mark.parametrize(
    ("uri", "route", "found"),
    [
        ("https://x.inference.ml.azure.com/score", None, "https://x.inference.ml.azure.com/score"),
        (
            "https://x.inference.ml.azure.com/score",
            "/v1/predict?a=b",
            "https://x.inference.ml.azure.com/v1/predict?a=b",
        ),
        ("http://10.0.0.1/api/v1/endpoint/x/score", "/", "http://10.0.0.1/api/v1/endpoint/x/"),
    ],
)
def test_a_route_is_below_the_endpoint(uri: str, route: str | None, found: str) -> None:
    assert address(uri, route) == found


def test_a_smoke_test_takes_its_warm_up_and_its_latencies() -> None:
    spec = rollout_spec()
    two = (ScoringRequest(name="a"), ScoringRequest(name="b", expect=Expectation(max_latency_seconds=60)))
    none = spec.model_copy(
        update={"smoke_requests": (), "rollout": spec.rollout.model_copy(update={"smoke_test": "none"})}
    )

    assert work_seconds(spec) == 125
    assert work_seconds(spec.model_copy(update={"smoke_requests": two})) == 185
    assert work_seconds(none) == 0
    assert answer_timeout_seconds(none) == 10
