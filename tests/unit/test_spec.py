"""The checks that need only the text of the files."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rollway.spec import (
    Expectation,
    Problem,
    RolloutFile,
    SmokeTest,
    check_name,
    check_online_deployment,
    check_range,
    did_you_mean,
    parse_rollout_file,
)
from tests.support.builders import rollout_spec

VALID = {"smoke_test": {"request_file": "request.json"}}


def problems_of(raw: object) -> list[str]:
    parsed = parse_rollout_file(raw, "rollout.yml")
    assert isinstance(parsed, list)
    return [str(problem) for problem in parsed]


def online_deployment_problems(raw: dict[str, Any], endpoint_name: object = "diabetes") -> list[str]:
    return [str(problem) for problem in check_online_deployment(raw, endpoint_name, "deployment.yml")]


@given(st.from_regex(r"[a-zA-Z][-a-zA-Z0-9]{1,30}[a-zA-Z0-9]", fullmatch=True))
def test_every_legal_azure_name_is_accepted(name: str) -> None:
    assert not list(check_name(name, "endpoint.yml", "name"))


@pytest.mark.parametrize(
    "name", ["ab", "a" * 33, "9lives", "-abc", "abc-", "a_b", "a b", "", "naïve", "abc\n", 9, True]
)
def test_an_illegal_name_is_refused_with_the_rule(name: object) -> None:
    problems = list(check_name(name, "endpoint.yml", "name"))

    rule = "3 to 32 letters, digits and '-', a letter first, no '-' last"
    assert [str(problem) for problem in problems] == [f"endpoint.yml: name: {name!r} is not a valid name: {rule}"]


def test_a_missing_name_is_called_missing() -> None:
    assert "name: is missing: 3 to 32 letters" in str(next(check_name(None, "endpoint.yml", "name")))


@given(st.integers(), st.integers(), st.integers())
def test_both_ends_of_a_range_are_checked(low: int, high: int, value: int) -> None:
    problems = list(check_range({"a": {"b": value}}, "a.b", low, high, "f"))

    assert bool(problems) is not (low <= value <= high)


@pytest.mark.parametrize("raw", [{}, {"a": None}, {"a": {"b": "7"}}, {"a": {"b": True}}, {"a": [7]}])
def test_absent_values_and_other_types_pass_the_range_check(raw: dict[str, Any]) -> None:
    assert not list(check_range(raw, "a.b", 100, 200, "f"))


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"name": "9x"}, "name: '9x' is not a valid name"),
        ({"endpoint_name": "other"}, "endpoint_name: 'other' is not the endpoint of endpoint.yml, 'diabetes'"),
        ({"instance_count": 0}, "instance_count: 0 is out of range, allowed is 1 to 50"),
        ({"instance_count": 51}, "instance_count: 51 is out of range, allowed is 1 to 50"),
        (
            {"request_settings": {"request_timeout_ms": 180_001}},
            "request_settings.request_timeout_ms: 180001 is out of range, allowed is 1 to 180000",
        ),
        (
            {"request_settings": {"max_concurrent_requests_per_instance": 0}},
            "request_settings.max_concurrent_requests_per_instance: 0 is out of range",
        ),
        ({"liveness_probe": {"period": 0}}, "liveness_probe.period: 0 is out of range, allowed is 1 to 3600"),
        ({"readiness_probe": {"failure_threshold": -1}}, "readiness_probe.failure_threshold: -1 is out of range"),
        ({"code_configuration": {"code": "src"}}, "code_configuration.scoring_script: is missing"),
        ({"environment": {"name": "x", "conda_file": "c.yml"}}, "environment: has neither image nor build"),
    ],
)
def test_values_that_azure_refuses_are_problems(raw: dict[str, Any], problem: str) -> None:
    found = online_deployment_problems(raw)

    assert len(found) == 1
    assert found[0].startswith(f"deployment.yml: {problem}")


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "blue", "endpoint_name": "diabetes", "instance_count": 50},
        {"request_settings": {"request_timeout_ms": 180_000, "max_concurrent_requests_per_instance": 1}},
        {"liveness_probe": {"initial_delay": 0, "period": 1}},
        {"code_configuration": {"code": "src", "scoring_script": "score.py"}},
        {"environment": {"image": "x"}},
        {"environment": {"build": {"path": "."}}},
        {"environment": "azureml:inference:1"},
        {},
    ],
)
def test_values_that_azure_accepts_are_no_problems(raw: dict[str, Any]) -> None:
    assert online_deployment_problems(raw) == []


def test_the_endpoint_is_not_compared_if_endpoint_yml_has_no_name() -> None:
    assert online_deployment_problems({"endpoint_name": "diabetes"}, endpoint_name=None) == []


def test_the_smallest_rollout_file_has_safe_defaults() -> None:
    parsed = parse_rollout_file(VALID, "rollout.yml")

    assert isinstance(parsed, RolloutFile)
    assert (parsed.strategy, parsed.keep_replaced_seconds, parsed.ready_timeout_seconds) == ("blue_green", 3600, 1800)
    assert (parsed.failed, parsed.adopt) == ("delete", False)
    assert isinstance(parsed.smoke_test, SmokeTest)
    assert (parsed.smoke_test.expect.max_latency_seconds, parsed.smoke_test.expect.body) == (5.0, None)


def test_an_editors_schema_key_is_ignored() -> None:
    assert isinstance(parse_rollout_file({**VALID, "$schema": "../schema.json"}, "rollout.yml"), RolloutFile)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (None, "rollout.yml: is empty; it must hold at least smoke_test.request_file"),
        ([1], "rollout.yml: is not a YAML mapping; it must hold at least smoke_test.request_file"),
        ("text", "rollout.yml: is not a YAML mapping; it must hold at least smoke_test.request_file"),
        ({}, "rollout.yml: smoke_test: is missing: what the online deployment must answer"),
        ({**VALID, "strategi": 1}, "rollout.yml: strategi: unknown key, did you mean 'strategy'?"),
        ({**VALID, "zzz": 1}, "rollout.yml: zzz: unknown key"),
        (
            {**VALID, "strategy": "yolo"},
            "rollout.yml: strategy: 'yolo' is not allowed: write 'blue_green' or 'progressive'",
        ),
        ({**VALID, "failed": "drop"}, "rollout.yml: failed: 'drop' is not allowed: write 'delete' or 'keep'"),
        ({**VALID, "replaced": "keep"}, "rollout.yml: replaced: unknown key"),
        (
            {**VALID, "keep_replaced_seconds": -1},
            "rollout.yml: keep_replaced_seconds: -1 is too small, allowed is 0 or more",
        ),
        (
            {**VALID, "ready_timeout_seconds": 0},
            "rollout.yml: ready_timeout_seconds: 0 is too small, allowed is 1 or more",
        ),
        (
            {"smoke_test": {"request_file": "r", "warm_up": 3}},
            "rollout.yml: smoke_test.warm_up: unknown key, did you mean 'warm_up_seconds'?",
        ),
        (
            {"smoke_test": {"request_file": "r", "expect": {"max_latency": 3}}},
            "rollout.yml: smoke_test.expect.max_latency: unknown key, did you mean 'max_latency_seconds'?",
        ),
        (
            {"smoke_test": {"request_file": "r", "expect": {"max_latency_seconds": 301}}},
            "rollout.yml: smoke_test.expect.max_latency_seconds: 301 is too large, allowed is 300 or less",
        ),
        (
            {"smoke_test": {"request_file": "r", "expect": {"body": {"type": "objct"}}}},
            "rollout.yml: smoke_test.expect.body: is not a valid JSON Schema: type: 'objct' is not allowed: write "
            "'array', 'boolean', 'integer', 'null', 'number', 'object' or 'string', did you mean 'object'?",
        ),
    ],
)
def test_a_fault_in_the_rollout_file_is_named_with_its_path(raw: object, problem: str) -> None:
    found = problems_of(raw)

    assert len(found) == 1
    assert found[0].startswith(problem)
    assert ("did you mean" in found[0]) is ("did you mean" in problem)


def test_all_faults_of_the_rollout_file_come_at_once() -> None:
    assert len(problems_of({"strategi": 1, "failed": "x", "smoke_test": {"expect": {"max_latency_seconds": 0}}})) == 4


@given(st.text(), st.lists(st.text()))
def test_a_suggestion_is_always_one_of_the_known_words(word: str, known: list[str]) -> None:
    hint = did_you_mean(word, known)

    assert hint == "" or any(hint == f", did you mean {one!r}?" for one in known)


@pytest.mark.parametrize(
    ("folder", "name"), [("deployments/diabetes", "diabetes"), ("deployments/diabetes/", "diabetes"), ("x", "x")]
)
def test_a_rollout_has_the_name_of_its_folder(folder: str, name: str) -> None:
    assert rollout_spec().model_copy(update={"folder": folder}).name == name


def test_values_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Problem(file="a", message="b").message = "c"  # type: ignore[misc]


def test_a_schema_of_any_supported_draft_is_accepted() -> None:
    draft_4 = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True}

    assert Expectation(body=draft_4).body == draft_4
