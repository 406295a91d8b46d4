"""The judgement over one scored request."""

from typing import Any

import pytest

from rollway.rollout.smoke import EXCERPT_LENGTH, SmokeTestResult, excerpt, judge
from rollway.spec import Expectation
from tests.support.builders import measurement

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["predictions"],
    "properties": {"predictions": {"type": "array", "items": {"type": "number"}}},
}


def judged(expectation: Expectation | None = None, **answer: Any) -> tuple[str, ...]:
    return judge(measurement(**answer), expectation or Expectation(), "main-01234567")


def test_an_answer_as_expected_has_no_problems() -> None:
    assert judged(Expectation(body=SCHEMA), served_by="MAIN-01234567") == ()


@pytest.mark.parametrize("status", [201, 204, 400, 424, 500])
def test_only_200_passes(status: int) -> None:
    (problem,) = judged(status=status, body="it broke")

    assert problem == f"status {status} instead of 200; answer: it broke"


def test_the_gateways_reasons_are_part_of_the_problem() -> None:
    (problem,) = judged(
        status=424,
        headers={"ms-azureml-model-error-statuscode": "500", "ms-azureml-model-error-reason": "model_error"},
        body={"message": "boom"},
    )

    assert problem == (
        "status 424 instead of 200, ms-azureml-model-error-reason: model_error, "
        "ms-azureml-model-error-statuscode: 500; answer: {'message': 'boom'}"
    )


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "body: 'predictions' is a required property"),
        ("text", "body: 'text' is not of type 'object'"),
        ({"predictions": [1, "x"]}, "body: $.predictions[1]: 'x' is not of type 'number'"),
    ],
)
def test_wrong_content_is_named_with_its_place(body: Any, problem: str) -> None:
    assert judged(Expectation(body=SCHEMA), body=body) == (problem,)


def test_content_is_not_judged_when_the_status_is_wrong_already() -> None:
    assert len(judged(Expectation(body=SCHEMA), status=500, body="no")) == 1


@pytest.mark.parametrize(("latency", "passes"), [(0.5, True), (0.51, False)])
def test_an_answer_may_take_as_long_as_expected_and_no_longer(latency: float, passes: bool) -> None:
    problems = judged(Expectation(max_latency_seconds=0.5), latency_seconds=latency)

    assert problems == (() if passes else ("took 0.51 s, allowed are 0.5 s",))


def test_an_answer_of_another_online_deployment_is_a_problem() -> None:
    assert judged(served_by="other") == ("answered by 'other' instead of 'main-01234567'",)


@pytest.mark.parametrize("served_by", ["main-01234567", "other", None])
def test_while_several_serve_any_of_them_may_answer(served_by: str | None) -> None:
    assert judge(measurement(served_by=served_by), Expectation(), None) == ()


def test_an_answer_that_does_not_say_whose_it_is_is_nobody_elses() -> None:
    assert judged(served_by=None) == ()


def test_all_problems_are_told_at_once() -> None:
    assert len(judged(status=500, latency_seconds=99, served_by="other")) == 3


def test_a_result_has_passed_when_nothing_is_wrong_with_it() -> None:
    result = SmokeTestResult(online_deployment="main", is_pinned=True, measurement=measurement())

    assert result.has_passed
    assert not result.model_copy(update={"problems": ("too slow",)}).has_passed


def test_a_long_answer_is_cut_in_problems_and_excerpts() -> None:
    long = "x" * 10_000

    (problem,) = judged(Expectation(body={"type": "object"}), body=long)

    assert len(problem) == EXCERPT_LENGTH
    assert excerpt(long) == "x" * EXCERPT_LENGTH + " …"
    assert excerpt("short") == "short"
