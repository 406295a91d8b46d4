"""Autoscale settings, through azure-mgmt-monitor."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.contract.conftest import Arm
from tests.support.builders import autoscale_rule
from tests.support.other_clients import ClientError, OtherClient

Settings = Callable[..., Any]
WEEKEND: dict[str, Any] = {
    "frequency": "Week",
    "schedule": {
        "timeZone": "Pacific Standard Time",
        "days": ["Saturday", "Sunday"],
        "hours": [0],
        "minutes": [0],
    },
}


@pytest.fixture
def settings(monitor: OtherClient) -> Settings:
    """Calls an operation on autoscale settings in the resource group."""
    return lambda operation, *arguments: monitor(f"autoscale_settings.{operation}", "rollway", *arguments)


@pytest.fixture
def wanted(arm: Arm, name: str) -> dict[str, Any]:
    """A setting that scales an online deployment out and in by its CPU; nothing asks whether there is one."""
    target = f"{arm.root}/onlineEndpoints/{name}/deployments/blue"
    profile = {
        "name": "default",
        "capacity": {"minimum": "2", "maximum": "5", "default": "2"},
        "rules": [autoscale_rule(target), autoscale_rule(target, "LessThan", 30, "Decrease")],
    }
    properties = {"enabled": True, "targetResourceUri": target, "profiles": [profile]}
    return {"location": "westeurope", "properties": properties}


def test_an_autoscale_setting_is_created_read_listed_and_deleted(
    settings: Settings, wanted: dict[str, Any], name: str
) -> None:
    created = settings("create_or_update", name, wanted)
    found = settings("get", name)
    listed = [one["name"] for one in settings("list_by_resource_group")]
    settings("delete", name)
    settings("delete", name)

    assert found == created
    assert found["properties"]["profiles"] == wanted["properties"]["profiles"]
    assert name in listed
    with pytest.raises(ClientError) as caught:
        settings("get", name)
    assert caught.value.status == 404


def test_an_autoscale_setting_is_disabled_unless_it_says_otherwise(
    settings: Settings, wanted: dict[str, Any], name: str
) -> None:
    del wanted["properties"]["enabled"]

    assert settings("create_or_update", name, wanted)["properties"]["enabled"] is False


def test_a_patch_switches_an_autoscale_setting_off_and_keeps_its_rules(
    settings: Settings, wanted: dict[str, Any], name: str
) -> None:
    settings("create_or_update", name, wanted)

    patched = settings("update", name, {"tags": {"why": "night"}, "properties": {"enabled": False, "profiles": None}})

    assert (patched["properties"]["enabled"], patched["tags"]) == (False, {"why": "night"})
    assert len(patched["properties"]["profiles"][0]["rules"]) == 2


def test_the_settings_of_a_resource_group_are_listed_and_those_of_another_are_not(
    settings: Settings, monitor: OtherClient, wanted: dict[str, Any], name: str
) -> None:
    elsewhere = deepcopy(wanted)
    elsewhere["properties"]["targetResourceUri"] += "-elsewhere"
    settings("create_or_update", name, wanted)
    monitor("autoscale_settings.create_or_update", "others", name, elsewhere)

    listed = [one for one in monitor("autoscale_settings.list_by_resource_group", "ROLLWAY") if one["name"] == name]

    assert [one["properties"]["targetResourceUri"] for one in listed] == [wanted["properties"]["targetResourceUri"]]
    assert "/resourceGroups/rollway/" in listed[0]["id"]


@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_targets_are_compared_without_case(
    settings: Settings, wanted: dict[str, Any], name: str, change: Callable[[str], str]
) -> None:
    settings("create_or_update", name, wanted)
    again = deepcopy(wanted)
    again["properties"]["targetResourceUri"] = change(wanted["properties"]["targetResourceUri"])

    with pytest.raises(ClientError, match=f"has an autoscale setting already: {name}"):
        settings("create_or_update", f"{name}-2", again)

    assert settings("get", name)["properties"]["targetResourceUri"] == wanted["properties"]["targetResourceUri"]


def test_a_target_has_one_autoscale_setting(settings: Settings, wanted: dict[str, Any], name: str) -> None:
    settings("create_or_update", name, wanted)
    settings("create_or_update", name, wanted)

    with pytest.raises(ClientError, match=f"has an autoscale setting already: {name}") as caught:
        settings("create_or_update", f"{name}-2", wanted)

    assert caught.value.status == 409


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("capacity",), {"minimum": "3", "maximum": "2", "default": "3"}, "must be in this order"),
        (("capacity", "minimum"), "few", "must be whole numbers as strings"),
        (("rules", 0, "scaleAction", "cooldown"), "PT5S", "cooldown must be between PT1M and P7D"),
        (("rules", 1, "scaleAction", "direction"), "Sideways", "direction must be one of None, Increase, Decrease"),
        (("rules", 1, "metricTrigger", "operator"), "About", "operator must be one of Equals"),
        (("rules",), 11, "there can be at most 10"),
        (("rules", 0, "metricTrigger", "timeGrain"), "PT30S", "timeGrain must be between PT1M and PT12H"),
        (("rules", 0, "metricTrigger", "timeWindow"), "PT1M", "timeWindow must be between PT5M and PT12H"),
        (("rules", 0, "metricTrigger", "timeWindow"), "P1D", "timeWindow must be between PT5M and PT12H"),
        (("rules", 0, "scaleAction", "value"), "0", "value must be a whole number as a string, and 1 or more"),
        (
            ("rules", 0, "metricTrigger", "dimensions"),
            [{"DimensionName": "deployment", "Operator": "Like", "Values": ["blue"]}],
            "Operator must be one of Equals, NotEquals",
        ),
        (("recurrence",), {**WEEKEND, "frequency": "Weekend"}, "frequency must be one of None, Second"),
        (
            ("recurrence",),
            {**WEEKEND, "schedule": {**WEEKEND["schedule"], "hours": [24]}},
            "hours must be a list of whole numbers from 0 to 23",
        ),
    ],
)
def test_a_wrong_autoscale_setting_is_refused(
    settings: Settings, wanted: dict[str, Any], name: str, path: tuple[Any, ...], value: Any, text: str
) -> None:
    target: Any = wanted["properties"]["profiles"][0]
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = [deepcopy(target["rules"][0]) for _ in range(value)] if path == ("rules",) else value

    with pytest.raises(ClientError, match=text) as caught:
        settings("create_or_update", name, wanted)

    assert (caught.value.status, caught.value.code) == (400, "BadRequest")


def test_an_autoscale_setting_is_answered_as_azure_monitor_documents_it(
    arm: Arm, wanted: dict[str, Any], name: str
) -> None:
    group = arm.root.partition("/providers/")[0]
    path = f"{group}/providers/microsoft.insights/autoscalesettings/{name}"
    properties = wanted["properties"]
    rule = properties["profiles"][0]["rules"][0]["metricTrigger"]
    rule["dimensions"] = [{"DimensionName": "deployment", "Operator": "Equals", "Values": ["blue"]}]
    properties["profiles"].append({**properties["profiles"][0], "name": "weekend", "rules": [], "recurrence": WEEKEND})
    properties["notifications"] = [{"operation": "Scale", "email": {"customEmails": ["a@b.example"]}, "webhooks": []}]
    properties["predictiveAutoscalePolicy"] = {"scaleMode": "ForecastOnly"}

    first, again = (arm.http.put(f"{arm.url}{path}?api-version=2022-10-01", json=wanted) for _ in range(2))

    assert (first.status_code, again.status_code) == (201, 200)
    answer = again.json()
    del answer["systemData"]
    assert answer == {
        "id": path,
        "name": name,
        "type": "Microsoft.Insights/autoscaleSettings",
        "location": "westeurope",
        "tags": {},
        "properties": {
            **properties,
            "name": name,
            "predictiveAutoscalePolicy": {"scaleMode": "ForecastOnly", "scaleLookAheadTime": None},
        },
    }


def test_a_rule_can_measure_the_endpoint_by_the_id_among_its_properties(
    settings: Settings, arm: Arm, wanted: dict[str, Any], name: str
) -> None:
    body = {"location": "westeurope", "properties": {"authMode": "Key"}}
    endpoint = arm.send("PUT", f"/onlineEndpoints/{name}", body).raise_for_status().json()
    resource = endpoint["properties"]["properties"]["azureml.onlineendpointid"]
    wanted["properties"]["profiles"][0]["rules"] = [autoscale_rule(resource)]

    made = settings("create_or_update", name, wanted)

    measured = made["properties"]["profiles"][0]["rules"][0]["metricTrigger"]["metricResourceUri"]
    assert measured == endpoint["id"].lower()
    assert arm.http.get(f"{arm.url}{measured}?api-version=2023-04-01").json()["name"] == name
