"""The fingerprint changes with what an online deployment is, and with nothing else."""

import hashlib
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.fingerprint import (
    SCHEMES,
    fingerprint,
    folder_digest,
    is_same_content,
    online_deployment_name,
)
from rollway.spec import NAME_RULE, AssetSpec, OnlineDeploymentSpec
from tests.support.builders import WORKSPACE_ID, online_deployment_spec

MODEL = f"{WORKSPACE_ID}/models/diabetes/versions/1"
ENVIRONMENT = f"{WORKSPACE_ID}/environments/inference/versions/1"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def of(model: str | None = MODEL, environment: str | None = ENVIRONMENT, **changes: Any) -> str:
    return fingerprint(online_deployment_spec(**changes), model, environment)


def is_same(recorded: str, **changes: Any) -> bool:
    return is_same_content(recorded, online_deployment_spec(**changes), MODEL, ENVIRONMENT)


def digest_of(**changes: Any) -> str:
    return folder_digest(online_deployment_spec(**changes))


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_the_order_of_keys_does_not_count(settings: dict[str, Any]) -> None:
    assert of(settings=settings) == of(settings=dict(reversed(settings.items())))


def test_the_case_of_ids_does_not_count() -> None:
    assert of(MODEL.upper(), ENVIRONMENT.lower()) == of()


@given(st.integers(1, 50), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3))
def test_instance_count_tags_and_name_do_not_count(instances: int, tags: dict[str, str]) -> None:
    assert of(instance_count=instances, tags=tags, name="other") == of()


@pytest.mark.parametrize(
    "other",
    [
        of(MODEL.replace("versions/1", "versions/2")),
        of(None),
        of(environment=ENVIRONMENT.replace("versions/1", "versions/2")),
        of(environment=None),
        of(code_sha256="beef" * 16),
        of(code_sha256=None),
        of(settings={"instance_type": "Standard_DS4_v2"}),
        of(settings={}),
        of(variables_digest="d1"),
    ],
    ids=[
        "model",
        "no model",
        "environment",
        "no environment",
        "code",
        "no code",
        "instance type",
        "no settings",
        "variables",
    ],
)
def test_everything_that_decides_what_runs_counts(other: str) -> None:
    assert other != of()


def test_a_fingerprint_is_the_number_of_its_scheme_and_64_hex_digits() -> None:
    assert re.fullmatch("1:[0-9a-f]{64}", of())


def test_a_recorded_fingerprint_is_recognised() -> None:
    assert is_same(of())
    assert is_same(of(MODEL.upper()))
    assert not is_same(of(None))


@pytest.mark.parametrize(
    "recorded",
    ["", "1:", ":", "2:" + of()[2:], "x:" + of()[2:], "-1:" + of()[2:], of()[2:], "¹:" + of()[2:]],
    ids=["nothing", "no digits", "nothing at all", "newer", "no number", "negative", "no scheme", "other digits"],
)
def test_a_text_of_an_unknown_scheme_is_not_the_same_content(recorded: str) -> None:
    assert not is_same(recorded)


def test_what_an_earlier_scheme_made_is_recognised_by_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made_before = of()

    def second(spec: OnlineDeploymentSpec, model: str | None, environment: str | None) -> str:
        return hashlib.sha256(f"{spec.code_sha256} {model} {environment}".encode()).hexdigest()

    monkeypatch.setattr("rollway.rollout.fingerprint.SCHEMES", {**SCHEMES, 2: second})

    assert of().startswith("2:")
    assert is_same(of())
    assert is_same(made_before)
    assert not is_same(made_before, settings={})


DATA_ID = f"{WORKSPACE_ID}/data/calls/versions/1"


def test_the_case_of_ids_in_settings_does_not_count_and_that_of_other_texts_does() -> None:
    assert of(settings={"data": [{"id": DATA_ID}]}) == of(settings={"data": [{"id": DATA_ID.upper()}]})
    assert of(settings={"data": "a"}) != of(settings={"data": "A"})


@pytest.mark.parametrize(
    "reference",
    ["diabetes:7", "diabetes@latest", "Diabetes@stable", "diabetes"],
)
def test_the_folder_digest_is_the_same_for_every_version_of_the_model(reference: str) -> None:
    assert digest_of(model=AssetSpec(reference=reference)) == digest_of()


def test_the_folder_digest_leaves_out_the_version_in_an_id_too() -> None:
    first, second = (
        AssetSpec(reference=f"azureml://registries/r/models/m/{end}") for end in ("versions/1", "labels/x")
    )

    assert digest_of(model=first) == digest_of(model=second) != digest_of()


def test_the_folder_digest_is_eight_hex_digits_and_survives_json() -> None:
    spec = online_deployment_spec(environment_variables={"A": "1"}, variables_digest="d1")

    assert re.fullmatch("[0-9a-f]{8}", folder_digest(spec))
    assert folder_digest(OnlineDeploymentSpec.model_validate_json(spec.model_dump_json())) == folder_digest(spec)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": AssetSpec(reference="other@latest")},
        {"model": None},
        {"environment": AssetSpec(name="inference", sha256="e1")},
        {"environment": AssetSpec(reference="inference:2")},
        {"environment": None},
        {"code_sha256": None},
        {"settings": {}},
        {"variables_digest": "d1"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_folder_digest_changes_with_everything_else(changes: dict[str, Any]) -> None:
    assert digest_of(**changes) != digest_of()


@given(st.from_regex(NAME_RULE, fullmatch=True), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_the_name_is_always_a_legal_azure_name_with_the_fingerprint_in_it(base: str, digest: str) -> None:
    name = online_deployment_name(base, f"1:{digest}")

    assert NAME_RULE.fullmatch(name)
    assert len(name) <= 32
    assert name == name.lower()
    assert name.endswith(f"-{digest[:8]}")


def test_a_long_name_is_cut_and_a_short_one_is_kept() -> None:
    assert online_deployment_name("Main", "0123456789") == "main-01234567"
    assert online_deployment_name("a" * 22 + "-bcdefghi", "0123456789") == "a" * 22 + "-01234567"


@given(st.from_regex(NAME_RULE, fullmatch=True), st.text(min_size=1, max_size=40))
def test_a_forced_name_is_legal_too_and_the_same_for_the_same_text(base: str, force: str) -> None:
    digest = of()
    name = online_deployment_name(base, digest, force)

    assert NAME_RULE.fullmatch(name)
    assert len(name) <= 32
    assert name == online_deployment_name(base, digest, force)


def test_forcing_gives_the_same_content_another_name_for_each_run() -> None:
    names = {online_deployment_name("main", of(), force) for force in ("", "run 1", "run 2")}

    assert len(names) == 3


def test_a_forced_name_still_depends_on_the_content() -> None:
    assert online_deployment_name("main", of(), "run") != online_deployment_name("main", of(None), "run")
