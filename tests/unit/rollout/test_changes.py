"""Differences between Azure and the folder: only keys of the file count, and no value of a variable is shown."""

from typing import Any

import pytest

from rollway.rollout.changes import content_changes, endpoint_changes, in_place_changes
from rollway.rollout.moves import Change
from rollway.rollout.state import EndpointState, OnlineDeploymentState, ResolvedAsset
from rollway.spec import EndpointSpec, HiddenText
from tests.support.builders import asset, online_deployment_spec

ADDED_BY_AZURE = {
    "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/diabetes/1",
    "AZUREML_ENTRY_SCRIPT": "score.py",
    "AML_APP_ROOT": "/var/azureml-app/onlinescoring",
}


def changes(today: dict[str, Any], wanted: dict[str, Any]) -> list[Change]:
    state = OnlineDeploymentState(name="blue", provisioning_state="Succeeded", instance_count=1, **today)
    return list(content_changes(online_deployment_spec(**wanted), None, None, state))


def variable_changes(today: dict[str, str], wanted: dict[str, str]) -> list[Change]:
    return changes({"environment_variables": today}, {"environment_variables": wanted, "settings": {}})


def test_only_the_keys_of_the_file_are_compared() -> None:
    probe = {"initial_delay": 9, "period": 10, "timeout": 2}
    today = {"instance_type": "small", "liveness_probe": probe, "app_insights_enabled": False}

    assert changes({"settings": today}, {"settings": {"liveness_probe": {"initial_delay": 9}}}) == []
    assert changes({"settings": today}, {"settings": {"liveness_probe": {"initial_delay": 8, "period": 10}}}) == [
        Change(field="liveness_probe.initial_delay", today="9", wanted="8")
    ]


def test_variables_that_azure_adds_are_no_difference() -> None:
    assert variable_changes({"A": "1", **ADDED_BY_AZURE}, {"A": "1"}) == []


@pytest.mark.parametrize(
    ("today", "expected"),
    [
        ({"A": "1"}, None),
        ({"A": "2"}, ("(hidden)", "(hidden), changed")),
        ({"B": "1"}, ("(not set)", "(hidden)")),
    ],
    ids=["same", "other value", "not there"],
)
def test_a_changed_variable_shows_its_name_and_no_value(
    today: dict[str, str], expected: tuple[str, str] | None
) -> None:
    found = variable_changes(today, {"A": "1"})

    assert [(one.field, one.today, one.wanted) for one in found] == (
        [("environment_variables.A", *expected)] if expected else []
    )


def test_a_value_that_was_read_from_json_is_unknown_and_no_difference() -> None:
    assert variable_changes({"A": "1"}, {"A": HiddenText.HIDDEN}) == []


def test_a_change_of_model_or_environment_is_told_by_name_and_version() -> None:
    state = OnlineDeploymentState(
        name="blue", provisioning_state="Succeeded", instance_count=1, model=asset("model", "diabetes").id
    )
    unregistered = ResolvedAsset(id=None, name="inference", version=None)

    found = content_changes(online_deployment_spec(settings={}), asset("model", "diabetes", "2"), unregistered, state)

    assert found == (
        Change(field="model", today="diabetes:1", wanted="diabetes:2"),
        Change(field="environment", today="(not set)", wanted="inference:(next version)"),
    )


def test_instances_and_tags_that_the_file_names_change_in_place() -> None:
    today = OnlineDeploymentState(
        name="blue", provisioning_state="Succeeded", instance_count=1, tags={"team": "ml", "theirs": "1"}
    )

    found = in_place_changes(today, online_deployment_spec(tags={"team": "data", "new": ""}), 2)

    assert found == (
        Change(field="instance_count", today="1", wanted="2"),
        Change(field="tags.team", today="ml", wanted="data"),
        Change(field="tags.new", today="(not set)", wanted=""),
    )
    assert in_place_changes(today, online_deployment_spec(), 1) == ()


def test_an_endpoint_differs_only_in_what_the_file_says() -> None:
    today = EndpointState(name="diabetes", description="by hand", tags={"theirs": "1"})

    assert endpoint_changes(EndpointSpec(name="diabetes"), today) == ()
    changed = EndpointSpec(
        name="diabetes",
        auth_mode="aad_token",
        public_network_access="disabled",
        description="new",
        tags={"team": "ml"},
    )
    assert [(one.field, one.today, one.wanted) for one in endpoint_changes(changed, today)] == [
        ("auth_mode", "key", "aad_token"),
        ("public_network_access", "enabled", "disabled"),
        ("description", "by hand", "new"),
        ("tags.team", "(not set)", "ml"),
    ]
