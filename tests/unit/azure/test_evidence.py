"""The preflight of a progressive rollout: its metrics can be read, and there are enough requests."""

from collections.abc import Sequence
from typing import Any

import pytest

from rollway.azure import evidence
from rollway.azure.errors.known import READ_METRICS
from rollway.azure.evidence import check_evidence, judge_read
from rollway.errors import AccessDenied, AzureUnavailable, NotFound, RequestRefused, RollwayError
from rollway.rollout.entries import Underway
from rollway.rollout.evidence import Minute, Verdict
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.state import EndpointState
from rollway.spec import Judge, Progression, Step
from tests.support.fake_azure import FakeAzure, run
from tests.unit.rollout.examples import ABSENT, endpoint, hand_made, spec_with

THERE = endpoint(hand_made("blue"))


def check(
    monkeypatch: pytest.MonkeyPatch, hourly: float | Exception, state: EndpointState = THERE, **judge: Any
) -> tuple[Finding, ...]:
    async def read(_session: object, name: str) -> float:
        assert name == "diabetes"
        if isinstance(hourly, Exception):
            raise hourly
        return hourly

    monkeypatch.setattr(evidence, "requests_of_last_hour", read)
    steps = (Step(weight=5), Step(weight=100))
    spec = spec_with({"strategy": "progressive", "steps": steps, "judge": Judge.model_validate(judge)})
    return run(check_evidence(FakeAzure().session, spec, state))


def test_enough_requests_are_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, 60_000) == ()


def test_too_few_requests_are_a_warning_that_says_how_long_a_step_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = check(monkeypatch, 40)

    assert (found.severity, found.message) == (
        Severity.WARNING,
        "at 5 % of 40 requests/h this step needs 150 h for 300",
    )
    assert "judge.source to both" in found.hint


def test_no_requests_are_a_warning_too(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = check(monkeypatch, 0)

    assert found.message == "at 5 % of 0 requests/h this step never ends: it needs requests for 300"


def test_metrics_that_may_not_be_read_are_a_blocker_that_names_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = check(monkeypatch, AccessDenied("cannot read the metrics of 'diabetes'", why="no authorization"))

    assert (found.severity, found.message, found.hint) == (Severity.BLOCKER, "no authorization", READ_METRICS)


@pytest.mark.parametrize("kind", [AzureUnavailable, NotFound])
def test_metrics_that_cannot_be_read_now_are_a_warning(
    monkeypatch: pytest.MonkeyPatch, kind: type[RollwayError]
) -> None:
    (found,) = check(monkeypatch, kind("cannot read the metrics of 'diabetes'", why="503"))

    assert (found.severity, found.message) == (Severity.WARNING, "the metrics could not be read: 503")


@pytest.mark.parametrize("source", ["probes", "both"])
def test_probes_need_no_requests_of_clients(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    assert check(monkeypatch, 0, source=source) == ()


def test_a_first_rollout_has_no_metrics_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(monkeypatch, AssertionError("nothing is read"), ABSENT) == ()


@pytest.mark.parametrize("kind", [AccessDenied, AzureUnavailable, NotFound, RequestRefused])
def test_a_look_that_azure_monitor_does_not_answer_is_no_verdict_about_the_canary(kind: type[RollwayError]) -> None:
    async def read() -> Sequence[Minute]:
        raise kind("cannot read the metrics of 'diabetes'", why="it says no")

    found = Underway(run="run", canary="green", until="later", since=("2026-01-02T03:04:05+00:00",))
    progression = Progression(steps=(Step(weight=5), Step(weight=100)), judge=Judge())

    judged = run(judge_read(found, progression, read())).judgement

    assert (judged.verdict, judged.sentence) == (
        Verdict.ERROR,
        "could not measure: cannot read the metrics of 'diabetes': it says no",
    )
