"""The watcher's look at folders that follow many models: lists of models replace lists of versions."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from azure.core.exceptions import HttpResponseError

from rollway.rollout.watch import Verdict
from tests.support.builders import RolloutFolder
from tests.unit.azure.test_watching import FIRST, FakeWorkspace, folders, verdicts

NAMES = tuple(f"mod{number}" for number in range(8))
INTERVAL = 24 * 3600 // len(NAMES)  # as many looks a day as endpoints


def looks_of_a_day() -> list[datetime]:
    return [FIRST.replace(hour=0) + timedelta(seconds=number * INTERVAL) for number in range(len(NAMES))]


@pytest.fixture
def watched() -> FakeWorkspace:
    """A workspace in which each endpoint serves version 1 of a model of its own name, the only version."""
    watched = FakeWorkspace()
    for name in NAMES:
        watched.have("1", name=name)
        watched.serve("1", name, model=name)
    return watched


@pytest.fixture
def following(tmp_path: Path) -> list[RolloutFolder]:
    return [one for name in NAMES for one in folders(tmp_path, name, model=f"azureml:{name}@latest")]


def test_a_quiet_workspace_costs_two_lists_however_many_models_are_followed(
    watched: FakeWorkspace, following: list[RolloutFolder]
) -> None:
    looks = watched.look(*following)

    assert verdicts(looks) == dict.fromkeys(NAMES, Verdict.UP_TO_DATE)
    assert {one.finding.reason for one in looks if one.finding} == {"1 is live, the newest version"}
    assert sorted(watched.calls) == ["endpoints", "models"]


def test_the_versions_are_listed_of_the_models_that_have_a_new_one(
    watched: FakeWorkspace, following: list[RolloutFolder]
) -> None:
    watched.have("2", 1, name="mod3")

    found = verdicts(watched.look(*following))

    assert found == {**dict.fromkeys(NAMES, Verdict.UP_TO_DATE), "mod3": Verdict.START}
    assert sorted(watched.calls) == ["behind mod3", "endpoints", "models", "versions of mod3"]


def test_a_model_that_several_folders_follow_is_listed_once(
    watched: FakeWorkspace, following: list[RolloutFolder], tmp_path: Path
) -> None:
    more = folders(tmp_path, "a", "b", model="azureml:mod3@latest")
    watched.have("2", 1, name="mod3")
    for one in ("a", "b"):
        watched.serve("2", one, model="mod3")

    found = verdicts(watched.look(*following, *more))

    assert [name for name, verdict in found.items() if verdict is Verdict.START] == ["mod3"]
    assert watched.calls.count("versions of mod3") == 1


def test_rules_that_the_latest_version_does_not_meet_are_checked_with_each_look(
    watched: FakeWorkspace, following: list[RolloutFolder]
) -> None:
    following[3].change("rollout.yml", follow={"tags": {"approved": "yes"}})
    watched.have("2", 1, name="mod3")
    watched.have("3", 2, name="mod3", tags={"approved": "no"})

    before = verdicts(watched.look(*following))
    watched.versions[-2].tags = {"approved": "yes"}  # which no list of models tells
    after = verdicts(watched.look(*following))

    assert (before["mod3"], after["mod3"]) == (Verdict.UP_TO_DATE, Verdict.START)


def test_everything_is_read_of_each_folder_once_a_day(watched: FakeWorkspace, following: list[RolloutFolder]) -> None:
    requests = []
    for now in looks_of_a_day():
        before = len(watched.calls)
        watched.look(*following, now=now, interval_seconds=INTERVAL)
        requests.append(len(watched.calls) - before)

    assert requests == [4] * len(NAMES)
    for name in NAMES:
        assert (watched.calls.count(f"versions of {name}"), watched.calls.count(f"behind {name}")) == (1, 1)


def test_a_version_that_is_newer_than_the_one_that_azure_calls_the_latest_is_found_within_a_day(
    watched: FakeWorkspace, following: list[RolloutFolder]
) -> None:
    watched.have("0", 1, name="mod3")
    watched.versions.insert(0, watched.versions.pop())  # the list of models still says 1

    found = [verdicts(watched.look(*following, now=now, interval_seconds=INTERVAL))["mod3"] for now in looks_of_a_day()]

    assert found.count(Verdict.START) == 1


def test_models_that_the_pages_do_not_reach_are_listed_by_themselves(
    watched: FakeWorkspace, following: list[RolloutFolder]
) -> None:
    watched.page = 1
    watched.have("2", 1, name="mod7")

    found = verdicts(watched.look(*following))

    assert found == {**dict.fromkeys(NAMES, Verdict.UP_TO_DATE), "mod7": Verdict.START}
    assert watched.calls.count("models") == len(NAMES) // 2
    assert sum(call.startswith("versions of") for call in watched.calls) == len(NAMES) // 2


def test_an_identity_that_may_not_list_models_lists_the_versions_of_each(
    watched: FakeWorkspace, following: list[RolloutFolder]
) -> None:
    watched.trouble["models"] = HttpResponseError("no")

    found = verdicts(watched.look(*following))

    assert found == dict.fromkeys(NAMES, Verdict.UP_TO_DATE)
    assert sum(call.startswith("versions of") for call in watched.calls) == len(NAMES)


def test_the_models_of_a_registry_are_listed_there(watched: FakeWorkspace, following: list[RolloutFolder]) -> None:
    for one, name in zip(following, NAMES, strict=True):
        one.change("deployment.yml", model=f"azureml://registries/team/models/{name}/labels/latest")
    watched.have("2", 1, name="mod3")

    found = verdicts(watched.look(*following))

    assert found == {**dict.fromkeys(NAMES, Verdict.UP_TO_DATE), "mod3": Verdict.START}
    assert [call for call in watched.calls if call.startswith("versions of")] == ["versions of mod3"]
