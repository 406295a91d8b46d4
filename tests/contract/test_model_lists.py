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
