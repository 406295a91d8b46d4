"""Smoke tests: the result of one scored request, and what is wrong with it."""

from typing import Any

from jsonschema.validators import validator_for
from pydantic import JsonValue

from rollway.spec import Expectation, Frozen

EXCERPT_LENGTH = 500


class Measurement(Frozen):
    """One answer of the endpoint; `latency_seconds` is the round trip measured by the client."""

    status: int
    latency_seconds: float
    body: JsonValue  # parsed if it is JSON, else the text
    served_by: str | None  # the online deployment that answered, from the gateway's header
    headers: dict[str, str] = {}  # those that explain a failure


class SmokeTestResult(Frozen):
    """The answer of an online deployment and its problems; none if it passed."""

    online_deployment: str
    is_pinned: bool
    measurement: Measurement
    problems: tuple[str, ...] = ()

    @property
    def has_passed(self) -> bool:
        """True if the answer is as expected."""
        return not self.problems


def judge(measurement: Measurement, expectation: Expectation, online_deployment: str | None) -> tuple[str, ...]:
    """Return every difference between the answer and the expectation, in words.

    Args:
        online_deployment: The online deployment that must have answered; None if any may.
    """
    problems = []
    if measurement.status != 200:
        reasons = "".join(f", {name}: {value}" for name, value in sorted(measurement.headers.items()))
        problems.append(f"status {measurement.status} instead of 200{reasons}; answer: {excerpt(measurement.body)}")
    elif expectation.body is not None:
        problems += [
            f"body: {_place(error)}{error.message}"[:EXCERPT_LENGTH]
            for error in _schema_errors(measurement, expectation.body)
        ]
    if measurement.latency_seconds > expectation.max_latency_seconds:
        problems.append(f"took {measurement.latency_seconds:.2f} s, allowed are {expectation.max_latency_seconds:g} s")
    served_by = measurement.served_by
    if None not in (served_by, online_deployment) and str(served_by).lower() != str(online_deployment).lower():
        problems.append(f"answered by {served_by!r} instead of {online_deployment!r}")
    return tuple(problems)


def excerpt(body: JsonValue) -> str:
    """Return the start of an answer, short enough for a log line."""
    text = str(body)
    return text if len(text) <= EXCERPT_LENGTH else f"{text[:EXCERPT_LENGTH]} …"


def _schema_errors(measurement: Measurement, schema: dict[str, JsonValue]) -> list[Any]:
    return sorted(
        validator_for(schema)(schema).iter_errors(measurement.body), key=lambda error: list(map(str, error.path))
    )


def _place(error: Any) -> str:
    return f"{error.json_path}: " if error.path else ""
