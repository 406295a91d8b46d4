"""Smoke tests: one answer of an endpoint, whose fault it is, and what is wrong with it.

Only three things are the model's fault: an error of its own, a wrong answer, and measured slowness. Everything else
tells nothing about the model. The table is in docs/how-it-works.md, "Whose fault".
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from jsonschema.validators import validator_for
from pydantic import Field, JsonValue

from rollway.errors import Cause
from rollway.masking import MASK
from rollway.spec import MAX_REQUEST_TIMEOUT_MS, Expectation, Frozen, RolloutSpec, json_text, media_type_of

EXCERPT_LENGTH = 500
MOST_PROBLEMS = 5  # of one answer
_PROBLEM_LENGTH = 200
_MIN_SECRET_LENGTH = 6  # shorter ones are words, and would be masked anywhere

# Headers that explain an answer. Azure's gateway sets the first three, the inference server the last one.
REASON = "ms-azureml-model-error-reason"
MODEL_STATUS = "ms-azureml-model-error-statuscode"
REQUEST_ID = "x-ms-request-id"
RUN_FAILED = "x-ms-run-function-failed"
EXPLAINING_HEADERS = (REASON, MODEL_STATUS, REQUEST_ID, RUN_FAILED)

_AZURES_TIMEOUT_MS = 5000  # of a request, if deployment.yml has no request_timeout_ms
_NETWORK_SECONDS = 5.0  # more than the gateway needs to send its own 408

_AGAIN = "run the rollout again; if Azure often takes longer, raise smoke_test.warm_up_seconds in rollout.yml"
_FIX = "fix the scoring script or the expectation, then run the rollout again"
_SLOW = (
    "make run() faster, raise request_settings.request_timeout_ms in deployment.yml, or give it more "
    "smoke_test.warm_up_seconds in rollout.yml"
)
_NOT_YET = {
    404: ("the gateway knows no route yet", _AGAIN),
    408: ("run() took longer than request_timeout_ms", _SLOW),
    409: ("another operation is running", _AGAIN),
    424: ("the container cannot be reached yet", _AGAIN),
    429: ("too many requests", "run the rollout again when the endpoint has less load, or give it more instances"),
}
_REFUSED = {
    401: (
        "the gateway refused the key or token that was just read",
        "check auth_mode in endpoint.yml and that nobody is replacing the keys, then run the rollout again",
    ),
    403: (
        "the gateway denies access",
        "grant the identity the role 'AzureML Data Scientist' on the workspace (it takes minutes to take effect); if "
        "public network access is disabled, run the worker inside the workspace's network",
    ),
}
_REJECTED_REQUEST = (
    "the gateway rejects the request",
    "check smoke_test.request_file in rollout.yml, and the proxies between the worker and the endpoint",
)
_TOO_LARGE = (
    "the request is larger than the gateway allows",
    "send a smaller smoke_test.request_file (rollout.yml), as clients of the endpoint must",
)
# A container that answers with one of these is starting, restarting or overloaded.
_BUSY_CONTAINER = (429, 502, 503, 504)
_BUSY_REASONS = ("model_not_ready", "too_many_pending_request")


class Measurement(Frozen):
    """One answer of the endpoint.

    Attributes:
        latency_seconds: The round trip measured by the client.
        body: Parsed if it is JSON, else the text; in words if it is neither.
        text: The body as text, empty if it is none; stored nowhere.
        size: Of the body, in bytes.
    """

    status: int
    latency_seconds: float
    body: JsonValue
    text: str = Field(default="", exclude=True, repr=False)
    content_type: str = ""
    size: int = 0
    served_by: str | None  # the online deployment that answered, from the gateway's header
    headers: dict[str, str] = {}  # those that explain a failure, with names in lower case


class NoAnswer(Frozen):
    """The endpoint did not answer: `why` is the network's reason."""

    why: str
    is_timeout: bool = False  # connected, and then nothing


class Outcome(StrEnum):
    """Outcomes of one request of a smoke test."""

    PASSED = "passed"
    MODELS_FAULT = "the model's fault"
    NOT_YET = "not yet"  # the same request may be answered soon
    COULD_NOT_MEASURE = "could not measure"  # nothing is known about the model


class Judgement(Frozen):
    """The outcome of a request and its problems in words, without anything of the answer's body."""

    outcome: Outcome
    problems: tuple[str, ...] = ()
    hint: str | None = None
    cause: Cause = Cause.TRANSIENT
    is_run_too_slow: bool = False  # the gateway stopped waiting for run()


class SmokeTestResult(Frozen):
    """The answer of an online deployment and its problems; none if it passed.

    Attributes:
        request: Name of the request; empty if it is the only one.
    """

    request: str = ""
    online_deployment: str
    is_pinned: bool
    measurement: Measurement
    problems: tuple[str, ...] = ()
    hint: str | None = None

    @property
    def has_passed(self) -> bool:
        """True if the answer is as expected."""
        return not self.problems


def judge(
    answer: Measurement | NoAnswer,
    expectation: Expectation,
    online_deployment: str,
    *,
    others_may_answer: bool = False,
    is_warm_up: bool = False,
) -> Judgement:
    """Return whose fault an answer is.

    Args:
        online_deployment: The one under test.
        others_may_answer: True if other online deployments share its traffic. A fault of theirs is not its fault.
        is_warm_up: True for the first request: caches are cold, so its latency does not count.
    """
    if isinstance(answer, NoAnswer):
        return _judge_silence(answer)
    if answer.status in _REFUSED:
        return _could_not_measure(answer, expectation, *_REFUSED[answer.status])
    is_its_own = answer.served_by is not None and answer.served_by.lower() == online_deployment.lower()
    if not others_may_answer:
        if answer.served_by is not None and not is_its_own:
            # Normal just after traffic has moved: the gateway learns it later than Resource Manager.
            problem = f"answered by {answer.served_by!r} instead of {online_deployment!r}"
            return Judgement(outcome=Outcome.NOT_YET, problems=(problem,), hint=_AGAIN)
        is_its_own = True
    if _is_as_expected(answer, expectation.status):
        judged = _judge_content(answer, expectation, is_warm_up)
    else:
        judged = _judge_status(answer, expectation)
    if is_its_own or not (judged.outcome is Outcome.MODELS_FAULT or judged.is_run_too_slow):
        return judged
    who = f"answered by {answer.served_by!r}" if answer.served_by else "no header says who answered"
    return Judgement(outcome=Outcome.NOT_YET, problems=(*judged.problems, who), hint=_AGAIN)


def conclude(judgements: Sequence[Judgement]) -> Judgement:
    """Return the meaning of the last judgement when there is no time for another request.

    Args:
        judgements: Those of all requests, in order.
    """
    last = judgements[-1]
    if last.outcome is not Outcome.NOT_YET:
        return last
    # One 408 may be a cold start, like the latency of a first request. Two in a row are measured slowness: the folder
    # sets the time that run() has, the gateway has measured it, and every client would get the same error.
    is_models_fault = [one.is_run_too_slow for one in judgements[-2:]] == [True, True]
    return last.model_copy(
        update={"outcome": Outcome.MODELS_FAULT if is_models_fault else Outcome.COULD_NOT_MEASURE},
    )


def answer_timeout_seconds(spec: RolloutSpec) -> float:
    """Return how long to wait for an answer: a slow one must come as slow or as the gateway's 408, not as silence."""
    settings = spec.online_deployment.settings.get("request_settings")
    timeout_ms = settings.get("request_timeout_ms") if isinstance(settings, dict) else None
    gateway_seconds = (timeout_ms if isinstance(timeout_ms, int) else _AZURES_TIMEOUT_MS) / 1000
    allowed_seconds = 2 * max((one.expect.max_latency_seconds for one in spec.smoke_requests), default=0)
    longest_seconds = MAX_REQUEST_TIMEOUT_MS / 1000
    return min(max(gateway_seconds, allowed_seconds), longest_seconds) + _NETWORK_SECONDS


def work_seconds(spec: RolloutSpec) -> float:
    """Return how long a smoke test may keep a rollout between two writes, in seconds."""
    test = spec.rollout.smoke_test
    warm_up_seconds = 0.0 if isinstance(test, str) else test.warm_up_seconds
    return warm_up_seconds + sum(one.expect.max_latency_seconds for one in spec.smoke_requests)


def address(scoring_uri: str, route: str | None) -> str:
    """Return the address of a request: the scoring URI, or another path of the endpoint.

    Args:
        scoring_uri: The endpoint's, which ends with `/score`.
        route: Path below the endpoint.
    """
    return scoring_uri if route is None else f"{scoring_uri.rpartition('/')[0]}{route}"


def title(online_deployment: str, request: str) -> str:
    """Return the subject of a sentence about a smoke test.

    Args:
        request: Name of the request; empty if it is the only one.
    """
    return f"the smoke test of {online_deployment!r}" + (f" with {request!r}" if request else "")


def without(answer: Measurement, secrets: Sequence[str]) -> Measurement:
    """Return an answer in whose body the texts are masked."""
    known = [secret for secret in secrets if len(secret) >= _MIN_SECRET_LENGTH]
    return answer.model_copy(update={"body": _masked(answer.body, known)}) if known else answer


def _masked(value: JsonValue, secrets: Sequence[str]) -> JsonValue:
    if isinstance(value, dict):
        return {str(_masked(key, secrets)): _masked(one, secrets) for key, one in value.items()}
    if isinstance(value, list):
        return [_masked(one, secrets) for one in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
    return value


def excerpt(body: JsonValue) -> str:
    """Return the start of an answer in one line, short enough for a report."""
    return _shortened(json_text(body), EXCERPT_LENGTH)


def _judge_silence(answer: NoAnswer) -> Judgement:
    hint = _AGAIN
    if not answer.is_timeout:
        hint = "if public network access is disabled, run the worker inside the workspace's network"
    return Judgement(outcome=Outcome.NOT_YET, problems=(_shortened(answer.why),), hint=hint)


def _is_as_expected(answer: Measurement, status: int) -> bool:
    """Return True if the model answered with a status.

    Azure's gateway answers 424 for all but 200 and names the model's status in a header. Without that header, a status
    of 400 and above may be the gateway's own.
    """
    if status == HTTPStatus.OK:
        return answer.status == HTTPStatus.OK
    if MODEL_STATUS in answer.headers:
        return answer.headers[MODEL_STATUS] == str(status)
    return answer.status == status < HTTPStatus.MULTIPLE_CHOICES


def _judge_status(answer: Measurement, expectation: Expectation) -> Judgement:
    status = _status(answer, expectation)
    if answer.status == HTTPStatus.OK or is_models_error(answer):
        return Judgement(outcome=Outcome.MODELS_FAULT, problems=(status,), hint=_FIX, cause=Cause.PERMANENT)
    if answer.status in _NOT_YET or answer.status >= 500:
        meaning, hint = _NOT_YET.get(answer.status, ("an error of Azure, not of the model", _AGAIN))
        return Judgement(
            outcome=Outcome.NOT_YET,
            problems=(f"{status}: {meaning}",),
            hint=hint,
            is_run_too_slow=answer.status == 408,
        )
    return _could_not_measure(answer, expectation, *(_TOO_LARGE if answer.status == 413 else _REJECTED_REQUEST))


def is_models_error(answer: Measurement) -> bool:
    """Return True if the answer proves that the model's own code, or its server, answered with an error."""
    if answer.headers.get(RUN_FAILED, "").lower() == "true":
        return True
    reason, status = answer.headers.get(REASON, ""), answer.headers.get(MODEL_STATUS, "")
    if answer.status not in (424, 500) or reason in _BUSY_REASONS or status in map(str, _BUSY_CONTAINER):
        return False
    return reason == "model_error" or (status.isdecimal() and status != "200")


def _judge_content(answer: Measurement, expectation: Expectation, is_warm_up: bool) -> Judgement:
    problems = list(_content_problems(answer, expectation))
    if answer.latency_seconds > expectation.max_latency_seconds and not is_warm_up:
        problems.append(f"took {answer.latency_seconds:.2f} s, allowed are {expectation.max_latency_seconds:g} s")
    if not problems:
        return Judgement(outcome=Outcome.PASSED)
    return Judgement(outcome=Outcome.MODELS_FAULT, problems=tuple(problems), hint=_FIX, cause=Cause.PERMANENT)


def _could_not_measure(answer: Measurement, expectation: Expectation, meaning: str, hint: str) -> Judgement:
    return Judgement(
        outcome=Outcome.COULD_NOT_MEASURE,
        problems=(f"{_status(answer, expectation)}: {meaning}",),
        hint=hint,
        cause=Cause.PERMANENT,
    )


def _status(answer: Measurement, expectation: Expectation) -> str:
    own, reason = answer.headers.get(MODEL_STATUS), answer.headers.get(REASON)
    answered = f", the model answered {_shortened(own)}" if own else ""
    is_other = answer.status != expectation.status
    whose = f" instead of {expectation.status}" if is_other else " of the gateway itself"
    return f"status {answer.status}{whose}{answered}" + (f" ({_shortened(reason)})" if reason else "")


def _content_problems(answer: Measurement, expectation: Expectation) -> Iterator[str]:
    found, wanted = media_type_of(answer.content_type), expectation.content_type
    if wanted is not None and found != wanted.lower():
        yield f"content type {_shortened(found) or '(none)'} instead of {wanted}"
    if answer.size < expectation.minimum_bytes:
        yield f"body: {answer.size} bytes, demanded are {expectation.minimum_bytes}"
    for text in expectation.text_contains:
        if text not in answer.text:
            yield f"body: does not contain {_shortened(text)!r}"
    if expectation.body is not None:
        yield from _schema_problems(answer.body, expectation.body)


def _schema_problems(body: JsonValue, schema: dict[str, JsonValue]) -> Iterator[str]:
    errors = sorted(validator_for(schema)(schema).iter_errors(body), key=lambda error: list(map(str, error.path)))
    for error in errors[:MOST_PROBLEMS]:
        yield f"body: {_shortened(_place(error) + _fault(error))}"
    if len(errors) > MOST_PROBLEMS:
        yield f"body: {len(errors) - MOST_PROBLEMS} more problems"


def _place(error: Any) -> str:
    """Return the path of a value, without names that only the answer has: they may be data, such as customers' ids."""
    known = set(error.absolute_schema_path)
    parts = [part if isinstance(part, int) or part in known else "*" for part in error.absolute_path]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return f"${path}: " if path else ""


def _fault(error: Any) -> str:
    """Return the broken rule of the schema; the library's own message often quotes the value."""
    if error.validator == "required":
        return str(error.message)
    if error.validator == "type":
        types = error.validator_value
        return f"is not of type {types if isinstance(types, str) else ' or '.join(types)}"
    return (
        "is not allowed" if error.validator is None else f"breaks {error.validator}: {json_text(error.validator_value)}"
    )


def _shortened(text: str, length: int = _PROBLEM_LENGTH) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[: length - 2]} …"
