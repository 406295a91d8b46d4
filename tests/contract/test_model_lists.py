"""Lists of model names: pages, the version created last, archived versions, and new versions that show late."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.emulator_process import EmulatorProcess
from tests.support.plain_rest import PlainRest

LAG = 300  # seconds: longer than any test takes


@pytest.fixture
def rest(own: EmulatorProcess) -> Iterator[PlainRest]:
    own.reset()
    yield PlainRest(own)
    own.delete_faults()


def register(rest: PlainRest, name: str, *versions: str, **properties: Any) -> None:
    for version in versions:
        body = {"properties": {"modelUri": f"azureml://x/{uuid.uuid4().hex}", **properties}}
        rest.send("PUT", f"/models/{name}/versions/{version}", body).raise_for_status()


def archive(rest: PlainRest, name: str, version: str) -> None:
    path = f"/models/{name}/versions/{version}"
    properties = rest.send("GET", path).json()["properties"]
    rest.send("PUT", path, {"properties": {**properties, "isArchived": True}}).raise_for_status()


def versions(rest: PlainRest, query: str) -> list[str]:
    """The versions of the model `a` in a list, from all its pages."""
    answer = rest.send("GET", f"/models/a/versions?{query}").raise_for_status().json()
    found = [one["name"] for one in answer["value"]]
    while link := answer.get("nextLink"):
        answer = rest.http.get(link).raise_for_status().json()
        found += [one["name"] for one in answer["value"]]
    return found


def latest(rest: PlainRest, query: str = "") -> dict[str, str]:
    """The latest version of each model, from all pages of the list."""
    answer = rest.send("GET", f"/models{query}").raise_for_status().json()
    found = {one["name"]: one["properties"]["latestVersion"] for one in answer["value"]}
    while link := answer.get("nextLink"):
        answer = rest.http.get(link).raise_for_status().json()
        found |= {one["name"]: one["properties"]["latestVersion"] for one in answer["value"]}
    return found


def test_a_list_of_models_has_the_version_of_each_that_was_created_last(rest: PlainRest) -> None:
    register(rest, "a", "10", "9")
    register(rest, "b", "1")
    register(rest, "hidden", "1", isAnonymous=True)

    assert latest(rest) == {"a": "9", "b": "1"}


def test_a_list_of_models_has_pages_of_the_size_that_is_asked_for(rest: PlainRest) -> None:
    for number in range(5):
        register(rest, f"m{number}", "1")

    first = rest.send("GET", "/models?count=2").json()

    assert [one["name"] for one in first["value"]] == ["m0", "m1"]
    assert "%24skip=2" in first["nextLink"]
    assert list(latest(rest, "?count=2")) == [f"m{number}" for number in range(5)]
    assert rest.send("GET", "/models?count=0").status_code == 400


def test_a_list_of_models_does_not_count_archived_versions(rest: PlainRest) -> None:
    register(rest, "a", "1", "2")
    register(rest, "gone", "1")
    archive(rest, "a", "2")
    archive(rest, "gone", "1")

    assert latest(rest) == {"a": "1"}
    assert latest(rest, "?listViewType=All") == {"a": "2", "gone": "1"}


def test_a_list_of_models_shows_a_new_version_late_and_the_list_of_versions_at_once(
    own: EmulatorProcess, rest: PlainRest
) -> None:
    register(rest, "a", "1")
    own.fail(method="PUT", path="/models/", lag_seconds={"lists": LAG}, count=None)
    register(rest, "a", "2")
    register(rest, "b", "1")

    early = latest(rest)
    versions = rest.send("GET", "/models/a/versions").json()["value"]
    own.advance_clock(LAG)

    assert early == {"a": "1"}
    assert [one["name"] for one in versions] == ["2", "1"]
    assert latest(rest) == {"a": "2", "b": "1"}


def test_versions_are_listed_by_stage_tags_and_properties(rest: PlainRest) -> None:
    register(rest, "a", "1", stage="Production", tags={"team": "ml"}, properties={"origin": "x"})
    register(rest, "a", "2", stage="Development", tags={"team": "web", "late": ""})
    register(rest, "a", "3", tags={"team": "ml", "late": "yes"}, properties={"origin": "y"})

    queries = {
        "stage=Production": ["1"],
        "stage=development": ["2"],
        "stage=Logged": ["3"],
        "stage=Archived": [],
        "tags=team=ml": ["3", "1"],
        "tags=team=ml,late": ["3"],
        "tags=absent=b": [],
        "properties=origin": ["3", "1"],
        "properties=origin=y": ["3"],
        "properties=zz": [],
        "tags=team=ml&stage=Production&properties=origin=x": ["1"],
        "version=2&stage=Production": [],
    }
    assert {query: versions(rest, query) for query in queries} == queries


def test_a_list_of_versions_skips_as_many_as_it_is_told(rest: PlainRest) -> None:
    register(rest, "a", "1", "2", "3", "4")

    queries = {
        "$skip=1": ["3", "2", "1"],
        "offset=3": ["1"],
        "offset=9": [],
        "offset=1&$top=1": ["3", "2", "1"],
        "$orderBy=createdtime asc&$skip=2": ["3", "4"],
    }
    assert {query: versions(rest, query) for query in queries} == queries
    assert rest.send("GET", "/models/a/versions?offset=-1").status_code == 400


@pytest.mark.parametrize("name", ["description", "feed"])
def test_a_filter_of_versions_that_is_not_documented_is_not_emulated(rest: PlainRest, name: str) -> None:
    register(rest, "a", "1")

    answer = rest.send("GET", f"/models/a/versions?{name}=q")

    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotEmulated")
    assert f"/models/a/versions?{name}=" in answer.json()["error"]["message"]


@pytest.mark.parametrize(("kind", "status"), [("models", 200), ("environments", 201)])
def test_a_container_is_changed_as_recorded(rest: PlainRest, kind: str, status: int) -> None:
    content = {"modelUri": "azureml://x", "image": "x", "description": "of the version"}
    rest.send("PUT", f"/{kind}/a/versions/1", {"properties": content}).raise_for_status()
    before = rest.send("GET", f"/{kind}/a").json()

    archived = {"description": "", "properties": {}, "tags": {"team": "ml"}, "isArchived": True}
    answer = rest.send("PUT", f"/{kind}/a", {"properties": archived})

    assert before["properties"] == {
        "description": "",
        "tags": {},
        "properties": {},
        "isArchived": False,
        "latestVersion": "1",
        "nextVersion": "2",
        "provisioningState": "Succeeded",
    }
    assert answer.status_code == status
    assert answer.json() == {**before, "properties": {**before["properties"], **archived}}
    assert rest.send("GET", f"/{kind}/a").json() == answer.json()
    assert status == 200 or rest.http.get(answer.headers["location"]).json() == answer.json()


def test_a_container_without_versions_and_one_of_wrong_types_are_refused(rest: PlainRest) -> None:
    register(rest, "a", "1")

    absent = rest.send("PUT", "/models/b", {"properties": {}})
    wrong = rest.send("PUT", "/models/a", {"properties": {"isArchived": "yes"}})

    assert (absent.status_code, absent.json()["error"]["code"]) == (501, "NotEmulated")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "InvalidRequestContent")
