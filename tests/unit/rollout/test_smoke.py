"""The judgement over the answers of a smoke test."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.errors import Cause
from rollway.rollout.smoke import (
    EXCERPT_LENGTH,
    MODEL_STATUS,
    REASON,
    RUN_FAILED,
    Judgement,
    Measurement,
    NoAnswer,
    Outcome,
    SmokeTestResult,
    answer_timeout_seconds,
    conclude,
    excerpt,
    judge,
)
from rollway.spec import Expectation, ScoringRequest
from tests.support.builders import measurement, rollout_spec

NAME = "main-01234567"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["predictions"],
    "properties": {"predictions": {"type": "array", "items": {"type": "number"}}},
}
MODELS_ERROR = {MODEL_STATUS: "500", REASON: "model_error"}
SECRET = "4711-patient"


def judged(expectation: Expectation | None = None, **answer: Any) -> Judgement:
    return judge(measurement(**answer), expectation or Expectation(), NAME)


def not_yet(**flags: Any) -> Judgement:
    return Judgement(outcome=Outcome.NOT_YET, problems=("busy",), hint="wait", **flags)


def test_an_answer_as_expected_has_passed() -> None:
    assert judged(Expectation(body=SCHEMA), served_by=NAME.upper()) == Judgement(outcome=Outcome.PASSED)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (424, MODELS_ERROR),
        (424, {MODEL_STATUS: "400"}),
        (424, {MODEL_STATUS: "201"}),
        (424, {MODEL_STATUS: "408"}),
        (424, {REASON: "model_error"}),
        (500, MODELS_ERROR),
        (500, {RUN_FAILED: "True"}),
        (502, {RUN_FAILED: "true"}),
        (424, {MODEL_STATUS: "503", RUN_FAILED: "True"}),
    ],
)
def test_an_error_of_the_model_is_its_fault(status: int, headers: dict[str, str]) -> None:
    judgement = judged(status=status, headers=headers)

    assert judgement.outcome is Outcome.MODELS_FAULT
    assert judgement.problems[0].startswith(f"status {status} instead of 200")
    assert judgement.hint == "fix the scoring script or the expectation, then run the rollout again"


def test_the_gateways_reasons_are_part_of_the_problem_and_the_answer_is_not() -> None:
    (problem,) = judged(status=424, headers={**MODELS_ERROR, "x-ms-request-id": "a"}, body={"message": SECRET}).problems

    assert problem == ("status 424 instead of 200, the model answered 500 (model_error)")


@pytest.mark.parametrize(
    ("status", "headers", "meaning"),
    [
        (404, {}, "the gateway knows no route yet"),
        (408, {}, "run() took longer than request_timeout_ms"),
        (408, {MODEL_STATUS: "408", REASON: "model_timeout"}, "run() took longer than request_timeout_ms"),
        (409, {}, "another operation is running"),
        (424, {}, "the container cannot be reached yet"),
        (424, {REASON: "model_not_ready"}, "the container cannot be reached yet"),
        (424, {MODEL_STATUS: "503", REASON: "model_error"}, "the container cannot be reached yet"),
        (424, {MODEL_STATUS: "502", REASON: "model_error"}, "the container cannot be reached yet"),
        (424, {MODEL_STATUS: "429", REASON: "too_many_pending_request"}, "the container cannot be reached yet"),
        (424, {RUN_FAILED: "False"}, "the container cannot be reached yet"),
        (429, {}, "too many requests"),
        (429, {MODEL_STATUS: "429", REASON: "too_many_pending_request"}, "too many requests"),
        (500, {}, "an error of Azure, not of the model"),
        (502, {}, "an error of Azure, not of the model"),
        (503, {}, "an error of Azure, not of the model"),
        (504, {}, "an error of Azure, not of the model"),
    ],
)
def test_a_passing_trouble_of_azure_means_not_yet(status: int, headers: dict[str, str], meaning: str) -> None:
    judgement = judged(status=status, headers=headers)

    assert (judgement.outcome, judgement.cause) == (Outcome.NOT_YET, Cause.TRANSIENT)
    assert judgement.problems[0].startswith(f"status {status} instead of 200")
    assert judgement.problems[0].endswith(f": {meaning}")
    assert judgement.hint


@pytest.mark.parametrize(
    ("status", "meaning", "hint"),
    [
        (401, "the gateway refused the key or token that was just read", "check auth_mode"),
        (403, "the gateway denies access", "grant the identity the role 'AzureML Data Scientist'"),
        (413, "the request is larger than the gateway allows", "send a smaller smoke_test.request_file"),
        (201, "the gateway rejects the request", "check smoke_test.request_file"),
        (302, "the gateway rejects the request", "the proxies between the worker and the endpoint"),
    ],
)
def test_a_refusal_could_not_be_measured_and_needs_a_person(status: int, meaning: str, hint: str) -> None:
    judgement = judged(status=status)

    assert (judgement.outcome, judgement.cause) == (Outcome.COULD_NOT_MEASURE, Cause.PERMANENT)
    assert judgement.problems == (f"status {status} instead of 200: {meaning}",)
    assert hint in str(judgement.hint)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (NoAnswer(why="no answer within 15 s", is_timeout=True), "smoke_test.warm_up_seconds"),
        (NoAnswer(why="no connection: refused"), "inside the workspace's network"),
    ],
)
def test_silence_means_not_yet(answer: NoAnswer, hint: str) -> None:
    judgement = judge(answer, Expectation(), NAME)

    assert (judgement.outcome, judgement.problems) == (Outcome.NOT_YET, (answer.why,))
    assert hint in str(judgement.hint)


@pytest.mark.parametrize(
    ("schema", "body", "problem"),
    [
        (SCHEMA, {}, "body: 'predictions' is a required property"),
        (SCHEMA, SECRET, "body: is not of type object"),
        (SCHEMA, {"predictions": [1, SECRET]}, "body: $.predictions[1]: is not of type number"),
        ({"type": ["number", "null"]}, SECRET, "body: is not of type number or null"),
        ({"enum": ["a", "b"]}, SECRET, 'body: breaks enum: ["a", "b"]'),
        ({"maxLength": 3}, SECRET, "body: breaks maxLength: 3"),
        ({"additionalProperties": False}, {SECRET: 1}, "body: breaks additionalProperties: false"),
        ({"additionalProperties": {"type": "null"}}, {SECRET: {"x": 1}}, "body: $.*: is not of type null"),
        ({"properties": {"a": False}}, {"a": SECRET}, "body: is not allowed"),
    ],
)
@pytest.mark.parametrize("is_warm_up", [True, False])
def test_wrong_content_is_named_with_its_place_and_without_its_value(
    schema: dict[str, Any], body: Any, problem: str, is_warm_up: bool
) -> None:
    judgement = judge(measurement(body=body), Expectation(body=schema), NAME, is_warm_up=is_warm_up)

    assert (judgement.outcome, judgement.problems) == (Outcome.MODELS_FAULT, (problem,))


def test_of_many_problems_of_one_answer_the_first_are_told() -> None:
    problems = judged(Expectation(body=SCHEMA), body={"predictions": ["x"] * 1000}).problems

    assert len(problems) == 6
    assert problems[-1] == "body: 995 more problems"


def test_a_long_rule_of_the_schema_is_cut() -> None:
    (problem,) = judged(Expectation(body={"enum": ["long" * 1000]})).problems

    assert len(problem) < 300


@pytest.mark.parametrize(("latency", "passes"), [(0.5, True), (0.51, False)])
def test_an_answer_may_take_as_long_as_expected_and_no_longer(latency: float, passes: bool) -> None:
    judgement = judged(Expectation(max_latency_seconds=0.5), latency_seconds=latency)

    assert judgement.problems == (() if passes else ("took 0.51 s, allowed are 0.5 s",))
    assert judgement.outcome is (Outcome.PASSED if passes else Outcome.MODELS_FAULT)


def test_the_latency_of_a_warm_up_request_does_not_count() -> None:
    assert judge(measurement(latency_seconds=99), Expectation(), NAME, is_warm_up=True).outcome is Outcome.PASSED


@pytest.mark.parametrize("answer", [{}, {"status": 424, "headers": MODELS_ERROR}, {"body": "wrong"}])
def test_an_answer_of_another_online_deployment_means_not_yet(answer: dict[str, Any]) -> None:
    judgement = judged(Expectation(body=SCHEMA), served_by="other", **answer)

    assert judgement.outcome is Outcome.NOT_YET
    assert judgement.problems == (f"answered by 'other' instead of {NAME!r}",)


@pytest.mark.parametrize("served_by", [NAME, "other", None])
def test_while_others_share_the_traffic_any_of_them_may_answer(served_by: str | None) -> None:
    judgement = judge(measurement(served_by=served_by), Expectation(), NAME, others_may_answer=True)

    assert judgement.outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("served_by", "outcome", "who"),
    [
        (NAME, Outcome.MODELS_FAULT, ()),
        ("other", Outcome.NOT_YET, ("answered by 'other'",)),
        (None, Outcome.NOT_YET, ("no header says who answered",)),
    ],
)
def test_while_others_share_the_traffic_their_faults_are_not_its_fault(
    served_by: str | None, outcome: Outcome, who: tuple[str, ...]
) -> None:
    wrong = measurement(served_by=served_by, body=[])

    judgement = judge(wrong, Expectation(body=SCHEMA), NAME, others_may_answer=True)

    assert (judgement.outcome, judgement.problems) == (outcome, ("body: is not of type object", *who))


def test_all_problems_are_told_at_once() -> None:
    assert len(judged(Expectation(body=SCHEMA), body=[], latency_seconds=99).problems) == 2


def test_not_yet_could_not_be_measured_when_the_time_is_over() -> None:
    judgements = [Judgement(outcome=Outcome.PASSED), not_yet(is_run_too_slow=True)]

    concluded = conclude(judgements)

    assert concluded == judgements[-1].model_copy(update={"outcome": Outcome.COULD_NOT_MEASURE})


@pytest.mark.parametrize(
    ("too_slow", "outcome"),
    [
        ([True], Outcome.COULD_NOT_MEASURE),
        ([True, True], Outcome.MODELS_FAULT),
        ([False, True, True], Outcome.MODELS_FAULT),
        ([True, True, False], Outcome.COULD_NOT_MEASURE),
        ([True, False, True], Outcome.COULD_NOT_MEASURE),
    ],
)
def test_two_time_outs_of_run_in_a_row_are_the_models_fault(too_slow: list[bool], outcome: Outcome) -> None:
    assert conclude([not_yet(is_run_too_slow=one) for one in too_slow]).outcome is outcome


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.MODELS_FAULT, Outcome.COULD_NOT_MEASURE])
def test_any_other_judgement_stays_as_it_is(outcome: Outcome) -> None:
    last = Judgement(outcome=outcome)

    assert conclude([not_yet(is_run_too_slow=True), last]) is last


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        REASON: st.sampled_from(["model_error", "model_not_ready", "too_many_pending_request", "model_timeout", ""]),
        MODEL_STATUS: st.sampled_from(["200", "400", "408", "424", "429", "500", "502", "503", "504", "x", ""]),
        RUN_FAILED: st.sampled_from(["True", "true", "False", ""]),
    },
)
BODIES = st.sampled_from([{"predictions": [1.0]}, {"predictions": [SECRET]}, {SECRET: SECRET}, [SECRET], SECRET, None])
ANSWERS = st.builds(
    Measurement,
    status=st.sampled_from([200, 401, 403, 404, 408, 424, 429, 500, 502, 503, 504]) | st.integers(100, 599),
    latency_seconds=st.sampled_from([0.1, 5.0, 5.1, 60.0]),
    body=BODIES,
    served_by=st.sampled_from([NAME, "other", None]),
    headers=HEADERS,
)


def is_evidence(answer: Measurement, *, others_may_answer: bool, is_warm_up: bool) -> bool:
    """Return True if an answer proves a fault of the model: the rule of the design, written a second time."""
    if answer.served_by not in ([NAME] if others_may_answer else [NAME, None]):
        return False
    if answer.status == 200:
        is_right = answer.body == {"predictions": [1.0]}
        return not is_right or (answer.latency_seconds > 5 and not is_warm_up)
    if answer.status in (401, 403):
        return False
    reason, status, failed = (answer.headers.get(name, "") for name in (REASON, MODEL_STATUS, RUN_FAILED))
    says_busy = reason in ("model_not_ready", "too_many_pending_request") or status in ("429", "502", "503", "504")
    says_error = reason == "model_error" or status in ("400", "408", "424", "500")
    return failed.lower() == "true" or (answer.status in (424, 500) and says_error and not says_busy)


@given(ANSWERS, st.booleans(), st.booleans())
def test_only_its_error_its_wrong_answer_and_its_slowness_are_the_models_fault(
    answer: Measurement, others_may_answer: bool, is_warm_up: bool
) -> None:
    context = {"others_may_answer": others_may_answer, "is_warm_up": is_warm_up}

    judgement = judge(answer, Expectation(body=SCHEMA), NAME, **context)

    assert (judgement.outcome is Outcome.MODELS_FAULT) is is_evidence(answer, **context)
    if judgement.outcome is Outcome.PASSED:
        assert answer.status == 200


@given(st.lists(ANSWERS | st.builds(NoAnswer, why=st.just("gone"), is_timeout=st.booleans()), min_size=1, max_size=4))
def test_what_is_not_the_models_fault_becomes_it_only_by_two_time_outs_of_run(
    answers: list[Measurement | NoAnswer],
) -> None:
    judgements = [judge(one, Expectation(body=SCHEMA), NAME) for one in answers]

    concluded = conclude(judgements)

    assert concluded.outcome is not Outcome.NOT_YET
    if concluded.outcome is Outcome.MODELS_FAULT and judgements[-1].outcome is Outcome.NOT_YET:
        assert [isinstance(one, Measurement) and one.status for one in answers[-2:]] == [408, 408]


@given(ANSWERS, st.booleans())
def test_every_fault_has_words_and_none_of_the_answers(answer: Measurement, others_may_answer: bool) -> None:
    judgement = judge(answer, Expectation(body=SCHEMA), NAME, others_may_answer=others_may_answer)

    assert bool(judgement.problems) is bool(judgement.hint) is (judgement.outcome is not Outcome.PASSED)
    assert SECRET not in repr(judgement)
    assert max(map(len, judgement.problems), default=0) < EXCERPT_LENGTH


def test_a_result_has_passed_when_nothing_is_wrong_with_it() -> None:
    result = SmokeTestResult(online_deployment="main", is_pinned=True, measurement=measurement())

    assert result.has_passed
    assert not result.model_copy(update={"problems": ("too slow",)}).has_passed


@pytest.mark.parametrize(
    ("timeout_ms", "max_latency", "seconds"),
    [(None, 1, 10), (None, 5, 15), (90_000, 5, 95), (None, 300, 185), (180_000, 5, 185)],
)
def test_an_answer_has_more_time_than_the_gateway_and_the_expectation_give_it(
    timeout_ms: int | None, max_latency: float, seconds: float
) -> None:
    settings = {} if timeout_ms is None else {"request_settings": {"request_timeout_ms": timeout_ms}}
    spec = rollout_spec(settings=settings)
    requests = [ScoringRequest(expect=Expectation(max_latency_seconds=one)) for one in (0.1, max_latency)]
    spec = spec.model_copy(update={"smoke_requests": tuple(requests)})

    assert answer_timeout_seconds(spec) == seconds


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("x" * 10_000) == "x" * (EXCERPT_LENGTH - 2) + " …"
    assert excerpt("Error: a\n  b") == "Error: a b"
    assert excerpt({"y": True}) == '{"y": true}'
