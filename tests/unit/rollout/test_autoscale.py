"""Autoscale settings: copies for a candidate, its number of instances, and the preflight's findings."""

import json
import re
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.autoscale import (
    MAX_NAME_LENGTH,
    AutoscaleSetting,
    copied,
    find_problems,
    setting_name,
    setting_of,
    settings_of,
    wanted_instances,
)
from rollway.rollout.permissions import Permission
from rollway.spec import MAX_INSTANCES
from tests.support.builders import WORKSPACE_ID, autoscale_document

ENDPOINT = f"{WORKSPACE_ID}/onlineEndpoints/diabetes"
BLUE, GREEN, RED = (f"{ENDPOINT}/deployments/{name}" for name in ("blue", "green", "red"))
OTHER_BLUE = f"{WORKSPACE_ID}/onlineEndpoints/churn/deployments/blue"
SCALE_SET = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachineScaleSets/blue"

names = st.from_regex(re.compile(r"[a-zA-Z][-_a-zA-Z0-9]{0,30}[a-zA-Z0-9]"), fullmatch=True)
ids = st.builds(lambda endpoint, name: f"{WORKSPACE_ID}/onlineEndpoints/{endpoint}/deployments/{name}", names, names)
counts = st.integers(1, MAX_INSTANCES)


def any_case(text: str) -> st.SearchStrategy[str]:
    """The text in another letter case."""
    return st.sampled_from([text, text.lower(), text.upper(), text.swapcase()])


def a_setting(target: str = BLUE, measured: tuple[str, ...] = (), **properties: Any) -> AutoscaleSetting:
    found = setting_of(autoscale_document(target, measured=measured, **properties))
    assert found is not None
    return found


def a_profile(minimum: int, maximum: int, default: int, **when: Any) -> dict[str, Any]:
    capacity = {"minimum": str(minimum), "maximum": str(maximum), "default": str(default)}
    return {"name": "any", "capacity": capacity, "rules": [], **when}


def triggers(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule["metricTrigger"] for profile in body["properties"]["profiles"] for rule in profile["rules"]]


def a_copy(setting: AutoscaleSetting, target: str = GREEN) -> dict[str, Any]:
    return copied(setting, target, "westeurope", setting_name(target))


def test_a_setting_is_read_with_its_limits_and_its_online_deployment() -> None:
    found = a_setting()

    assert (found.name, found.online_deployment, found.target_id) == ("by-hand", "blue", BLUE)
    assert (found.minimum, found.maximum, found.default) == (2, 5, 3)
    assert (found.is_enabled, found.location, found.tags) == (True, "westeurope", {"team": "ml"})


def test_limits_are_the_widest_and_the_default_that_of_the_usual_profile() -> None:
    night = a_profile(1, 4, 1, recurrence={"frequency": "Week"})
    holiday = a_profile(6, 20, 8, fixedDate={"start": "2026-12-24T00:00:00"})

    found = a_setting(profiles=[night, holiday, a_profile(2, 5, 3)])

    assert (found.minimum, found.maximum, found.default) == (1, 20, 3)


def test_a_setting_without_a_usual_profile_has_the_default_of_its_first() -> None:
    assert a_setting(profiles=[a_profile(1, 4, 2, recurrence={}, fixedDate={"start": "x"})]).default == 2


def test_a_setting_is_disabled_unless_azure_says_otherwise() -> None:
    document = autoscale_document(BLUE)
    del document["properties"]["enabled"]

    found = setting_of(document)

    assert found is not None
    assert not found.is_enabled


@pytest.mark.parametrize("target", [SCALE_SET, ENDPOINT, "", None])
def test_a_setting_that_scales_something_else_is_left_out(target: str | None) -> None:
    assert setting_of(autoscale_document(target or "", targetResourceUri=target)) is None


def test_a_setting_without_profiles_has_nothing_to_copy() -> None:
    assert setting_of(autoscale_document(BLUE, profiles=[])) is None


@given(any_case(BLUE))
def test_the_settings_of_an_online_deployment_are_found_in_any_letter_case(target: str) -> None:
    everything = [a_setting(GREEN), a_setting(target), a_setting(OTHER_BLUE)]

    assert settings_of(everything, ENDPOINT, "blue") == (everything[1],)
    assert settings_of(everything, ENDPOINT.lower(), "BLUE") == (everything[1],)
    assert settings_of(everything, ENDPOINT, "red") == ()


@given(st.data())
def test_rules_that_measure_the_replaced_online_deployment_measure_the_candidate(data: st.DataObject) -> None:
    measured = data.draw(st.lists(st.sampled_from([BLUE, ENDPOINT, RED, OTHER_BLUE, SCALE_SET]), max_size=8))
    written = tuple(data.draw(any_case(one)) for one in measured)
    setting = a_setting(measured=written) if written else a_setting(profiles=[a_profile(1, 2, 1)])

    body = a_copy(setting)

    assert [one["metricResourceUri"] for one in triggers(body)] == [
        GREEN if meant == BLUE else text for meant, text in zip(measured, written, strict=True)
    ]
    assert body["properties"]["targetResourceUri"] == GREEN


def test_a_rule_that_filters_the_endpoints_metric_by_the_replaced_one_filters_by_the_candidate() -> None:
    dimensions = [
        {"DimensionName": "deployment", "Operator": "Equals", "Values": ["BLUE", "red"]},
        {"DimensionName": "statusCode", "Operator": "Equals", "Values": ["blue"]},
    ]
    document = autoscale_document(BLUE, measured=(ENDPOINT, RED))
    for rule in document["properties"]["profiles"][0]["rules"]:
        rule["metricTrigger"]["dimensions"] = deepcopy(dimensions)
    setting = setting_of(document)
    assert setting is not None

    of_endpoint, of_another = triggers(a_copy(setting))

    assert of_endpoint["dimensions"] == [{**dimensions[0], "Values": ["green", "red"]}, dimensions[1]]
    assert of_another["dimensions"] == dimensions


def test_everything_else_is_copied_and_the_original_stays_as_it_is() -> None:
    holiday = a_profile(6, 20, 8, fixedDate={"timeZone": "UTC", "start": "2026-12-24T00:00:00"})
    setting = a_setting(
        measured=(BLUE, ENDPOINT),
        enabled=False,
        notifications=[{"operation": "Scale", "webhooks": []}],
        targetResourceLocation="westeurope",
        profiles=[holiday, *autoscale_document(BLUE)["properties"]["profiles"]],
        predictiveAutoscalePolicy={"scaleMode": "Disabled"},
    )
    before = setting.model_dump_json()

    body = a_copy(setting)

    assert setting.model_dump_json() == before
    assert (body["location"], body["tags"], body["properties"]["name"]) == (
        "westeurope",
        {"team": "ml"},
        setting_name(GREEN),
    )
    back = json.loads(json.dumps(body["properties"]).replace(GREEN, BLUE)) | {"name": "by-hand"}
    assert back == setting.properties


@given(ids, ids)
def test_a_copy_of_a_copy_is_the_copy_of_the_original(first: str, second: str) -> None:
    original = a_setting(measured=(BLUE, ENDPOINT))

    between = setting_of({**autoscale_document(first), **a_copy(original, first)})

    assert between is not None
    assert a_copy(between, second) == a_copy(original, second)


@given(st.data(), ids)
def test_the_name_of_a_setting_is_stable_and_valid(data: st.DataObject, target: str) -> None:
    name = setting_name(target)

    assert setting_name(data.draw(any_case(target))) == name
    assert re.fullmatch(r"[-_a-z0-9]{1,80}", name)
    assert name.startswith("-".join(target.lower().split("/")[-3::2]))


@given(ids, ids)
def test_online_deployments_share_no_name_of_a_setting(one: str, other: str) -> None:
    assert (setting_name(one) == setting_name(other)) is (one.lower() == other.lower())


def test_a_name_is_never_longer_than_azure_allows() -> None:
    assert len(setting_name(f"{ENDPOINT}/deployments/{'x' * 500}")) == MAX_NAME_LENGTH


def test_only_an_online_deployment_can_get_a_setting() -> None:
    with pytest.raises(ValueError, match=f"^not the id of an online deployment: {SCALE_SET}$"):
        setting_name(SCALE_SET)


@given(counts, counts, st.tuples(counts, counts, counts).map(sorted), st.booleans())
def test_a_candidate_starts_with_no_fewer_instances_than_what_it_replaces(
    file_count: int, replaced: int, limits: list[int], is_enabled: bool
) -> None:
    minimum, default, maximum = limits
    setting = a_setting(profiles=[a_profile(minimum, maximum, default)], enabled=is_enabled)

    wanted = wanted_instances(file_count, replaced, setting)

    assert wanted >= replaced
    if is_enabled:
        assert minimum <= wanted <= max(maximum, replaced)
    else:
        assert wanted == wanted_instances(file_count, replaced, None) == max(file_count, replaced)


@pytest.mark.parametrize(
    ("file_count", "replaced", "wanted"),
    [(1, 1, 2), (1, 4, 4), (4, 3, 4), (9, 3, 5), (1, 7, 7)],
    ids=["the minimum", "as many as today", "more in the file", "the maximum", "more than the maximum today"],
)
def test_a_setting_limits_the_number_in_the_file(file_count: int, replaced: int, wanted: int) -> None:
    assert wanted_instances(file_count, replaced, a_setting()) == wanted


CONTRIBUTOR = Permission(actions=("*",), not_actions=("Microsoft.Authorization/*/Write",))
READER = Permission(actions=("*/read",))
WRITER = Permission(actions=("Microsoft.Insights/autoscaleSettings/write",))


@pytest.mark.parametrize(
    ("permissions", "severity", "message"),
    [
        (None, "warning", "by-hand: the permissions of the identity cannot be read, so copying it may fail"),
        (
            (READER,),
            "blocker",
            "by-hand scales the replaced online deployment, and the identity may not write a copy: "
            "Microsoft.Insights/autoscaleSettings/write",
        ),
        (
            (READER, WRITER),
            "warning",
            "by-hand remains without an online deployment, because the identity may not delete it: "
            "Microsoft.Insights/autoscaleSettings/delete",
        ),
    ],
    ids=["unknown", "may not write", "may not delete"],
)
def test_missing_permissions_are_found_before_anything_is_written(
    permissions: tuple[Permission, ...] | None, severity: str, message: str
) -> None:
    (finding,) = find_problems([a_setting()], permissions)

    assert (finding.severity.value, finding.field, finding.message) == (severity, "autoscale settings", message)
    assert finding.hint == "give the identity of Rollway the role Monitoring Contributor on the resource group"


def test_settings_that_may_not_be_read_are_a_warning() -> None:
    (finding,) = find_problems(None, None)

    assert finding.severity.value == "warning"
    assert finding.message == "they may not be read; rules of the replaced online deployment are not copied"


def test_nothing_is_found_if_everything_is_allowed_or_there_is_nothing_to_copy() -> None:
    assert find_problems([a_setting()], (CONTRIBUTOR,)) == ()
    assert find_problems([], (READER,)) == ()
    assert find_problems([], None) == ()
