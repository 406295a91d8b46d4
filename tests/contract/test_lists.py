"""Filters, orders and pages of lists of endpoints and online deployments."""

from typing import Any

import pytest

from rollway.emulator.arm.lists import has_entries, in_order
from rollway.emulator.core.errors import ArmError
from rollway.emulator.core.store import Resource
from tests.contract.conftest import Arm


@pytest.fixture
def names(arm: Arm, name: str) -> dict[str, str]:
    """Three endpoints in a row that differ in tags, properties and compute: `a`, `b` (changed last) and `k`."""
    found = {letter: f"{name}-{letter}" for letter in "abk"}
    settings: dict[str, dict[str, Any]] = {
        "a": {"tags": {"run": name, "team": "ml"}, "properties": {"properties": {"origin": name}}},
        "b": {"tags": {"run": name, "team": "web"}},
        "k": {"tags": {"run": name}, "properties": {"compute": f"{arm.root}/computes/cluster"}},
    }
    for letter, endpoint in found.items():
        body = {"location": "westeurope", **settings[letter]}
        body["properties"] = {"authMode": "Key", **settings[letter].get("properties", {})}
        arm.send("PUT", f"/onlineEndpoints/{endpoint}", body).raise_for_status()
    arm.send("PATCH", f"/onlineEndpoints/{found['b']}", {"tags": {"late": "yes"}}).raise_for_status()
    return found


def listed(arm: Arm, query: str) -> str:
    """The last letters of the endpoints in a list, of all its pages."""
    answer = arm.send("GET", f"/onlineEndpoints?{query}").raise_for_status().json()
    letters = [one["name"][-1] for one in answer["value"]]
    while link := answer.get("nextLink"):
        answer = arm.http.get(link).raise_for_status().json()
        assert len(answer["value"]) == 1
        letters += [one["name"][-1] for one in answer["value"]]
    return "".join(letters)


def test_endpoints_are_listed_by_name_compute_tags_and_properties(arm: Arm, name: str, names: dict[str, str]) -> None:
    queries = {
        f"name={names['a'].upper()}": "a",
        f"name={name}": "",
        f"tags=run={name}": "abk",
        f"tags=run={name}, team": "ab",
        f"tags=TEAM=ml,run={name}": "a",
        f"tags=run={name}&computeType=Managed": "ab",
        f"tags=run={name}&computeType=kubernetes": "k",
        f"tags=run={name}&computeType=AzureMLCompute": "",
        f"properties=origin={name}": "a",
        f"properties=origin,origin={name}&tags=team=web": "",
    }

    assert {query: listed(arm, query) for query in queries} == queries


def test_endpoints_are_listed_in_the_order_that_is_asked_for_and_in_pages(
    arm: Arm, name: str, names: dict[str, str]
) -> None:
    queries = {
        "orderBy=CreatedAtAsc": "abk",
        "orderBy=CreatedAtDesc": "kba",
        "orderBy=UpdatedAtDesc": "bka",
        "orderBy=updatedatasc": "akb",
        "orderBy=CreatedAtDesc&count=1": "kba",
    }

    assert {query: listed(arm, f"tags=run={name}&{query}") for query in queries} == queries
    page = arm.send("GET", f"/onlineEndpoints?tags=run={name}&count=2").json()
    assert [one["name"] for one in page["value"]] == [names["a"], names["b"]]
    assert "%24skip=2" in page["nextLink"]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("orderBy=Name", "orderBy: Name is none of CreatedAtDesc"),
        ("computeType=Cloud", "computeType: Cloud is none of Managed"),
        ("count=0", "count 1 or more"),
        ("count=many", "invalid literal"),
        ("$skip=-1", "$skip must be 0 or more"),
    ],
)
def test_a_list_with_a_parameter_that_means_nothing_is_refused(arm: Arm, query: str, text: str) -> None:
    answer = arm.send("GET", f"/onlineEndpoints?{query}")

    assert answer.status_code == 400
    assert text in answer.json()["error"]["message"]


def a_resource(name: str, sequence: int, modified: str) -> Resource:
    document = {"id": name, "name": name, "properties": {}, "systemData": {"lastModifiedAt": modified}}
    return Resource("x", document, {}, sequence)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (None, "abc"),
        ("", "abc"),
        ("CreatedAtDesc", "cba"),
        ("createdtime desc", "cba"),
        ("createdtime asc", "abc"),
        ("UpdatedAtAsc", "bca"),
        ("UpdatedAtDesc", "acb"),
    ],
)
def test_resources_changed_at_the_same_time_are_in_the_order_of_their_creation(order: str | None, names: str) -> None:
    resources = [a_resource("a", 1, "2"), a_resource("b", 2, "1"), a_resource("c", 3, "1")]

    assert "".join(one.name for one in in_order(resources, order)) == names


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ArmError, match="orderBy: createdtime is none of"):
        in_order([], "createdtime")


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        (None, True),
        ("", True),
        (" , ", True),
        ("team", True),
        ("TEAM = ml", False),
        ("Team=ml", True),
        ("team=ML", False),
        ("team=", False),
        ("empty=", True),
        ("team,absent", False),
    ],
)
def test_entries_are_wanted_by_key_or_by_key_and_value(wanted: str | None, has: bool) -> None:
    assert has_entries({"team": "ml", "empty": ""}, wanted) is has
