"""The meaning of an answer to a request by hand."""

from typing import Any

import pytest

from rollway.errors import RollwayError
from rollway.rollout.scored import require_answer
from rollway.rollout.smoke import MODEL_STATUS, REASON, REQUEST_ID, RUN_FAILED, Measurement, NoAnswer
from tests.support.builders import measurement

URI = "https://diabetes/score"


def error_of(answer: Measurement | NoAnswer, online_deployment: str | None = None) -> RollwayError:
    with pytest.raises(RollwayError) as caught:
        require_answer(answer, "diabetes", URI, online_deployment)
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 204])
def test_an_answer_without_an_error_is_the_answer(status: int) -> None:
    answer = measurement(status=status)

    assert require_answer(answer, "diabetes", URI, None) is answer


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({REASON: "model_error", MODEL_STATUS: "500"}, "the model itself answered with status 500"),
        ({RUN_FAILED: "true"}, "the model's own code failed"),
    ],
    ids=["gateway", "server"],
)
def test_an_exception_of_the_model_leads_to_its_log(headers: dict[str, str], why: str) -> None:
    error = error_of(measurement(status=424, headers=headers, served_by="green", body="boom", size=4))

    assert error.what == "green answered with status 424"
    assert error.why == why
    assert error.hint == "`rollway logs diabetes --online-deployment green` shows its exception"
    assert error.details == "answer: boom"


def test_a_request_that_the_model_refuses_is_to_be_corrected() -> None:
    error = error_of(measurement(status=424, headers={REASON: "model_error", MODEL_STATUS: "400"}, body="no", size=2))

    assert (error.hint, error.details) == ("correct the request: its answer below says why", "answer: no")


@pytest.mark.parametrize(
    ("status", "why", "hint"),
    [
        (400, "the gateway rejects the request", "--content-type"),
        (401, "the gateway refused the key or token", "replacing the keys"),
        (403, "the gateway denies access", "'AzureML Data Scientist'"),
        (404, "the gateway has no route to it", "`rollway status diabetes`"),
        (408, "run() took longer", "request_timeout_ms"),
        (424, "the container cannot be reached", "`rollway logs diabetes --online-deployment blue`"),
        (429, "too many requests", "instances"),
        (503, "an error of Azure, not of the model", "in a minute"),
    ],
)
def test_each_status_has_its_reason_and_its_next_step(status: int, why: str, hint: str) -> None:
    error = error_of(measurement(status=status, headers={REQUEST_ID: "abc"}), online_deployment="blue")

    assert (error.what, error.where, error.request_id) == (f"blue answered with status {status}", URI, "abc")
    assert why in str(error.why)
    assert hint in str(error.hint)


def test_no_answer_is_the_networks_fault() -> None:
    error = error_of(NoAnswer(why="no connection: refused"))

    assert (error.what, error.why) == ("the endpoint 'diabetes' does not answer", "no connection: refused")
    assert "inside the workspace's network" in str(error.hint)


@pytest.mark.parametrize("served_by", ["green", None])
def test_who_answered_is_named_if_it_is_known(served_by: str | None) -> None:
    values: dict[str, Any] = {"status": 503, "served_by": served_by}

    assert error_of(measurement(**values)).what == f"{served_by or 'diabetes'} answered with status 503"
