"""The folders of endpoints: found by the endpoint's name, whatever else is wrong with them."""

from pathlib import Path

import pytest

from rollway.azure.endpoint_folders import EndpointFolder, all_folders, find_endpoint, require_folder
from rollway.errors import NotFound
from tests.support.builders import RolloutFolder


@pytest.fixture(autouse=True)
def deployments(folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`deployments/` with the folder `diabetes`, whose endpoint is `risk`."""
    folder.change("endpoint.yml", name="risk")
    monkeypatch.setenv("ROLLWAY_DEPLOYMENTS", str(folder.path.parent))
    return folder.path.parent


@pytest.mark.parametrize("name", ["risk", "RISK", "diabetes"])
def test_an_endpoint_is_found_by_its_name_and_by_that_of_its_folder(deployments: Path, name: str) -> None:
    assert find_endpoint(name) == EndpointFolder(endpoint="risk", folder=f"{deployments}/diabetes")


def test_the_name_of_an_endpoint_goes_before_that_of_a_folder(deployments: Path) -> None:
    other = deployments / "risk"
    other.mkdir()
    (other / "rollout.yml").touch()
    (other / "endpoint.yml").write_text("name: churn\n")

    assert find_endpoint("risk").folder == f"{deployments}/diabetes"


def test_an_endpoint_without_a_folder_is_known_by_its_name_only() -> None:
    found = find_endpoint("churn")

    assert found == EndpointFolder(endpoint="churn")
    with pytest.raises(NotFound) as caught:
        require_folder(found)
    assert caught.value.what == "no rollout folder describes the endpoint 'churn'"
    assert caught.value.hint == "name one of risk, or the path of its folder"


def test_a_faulty_online_deployment_is_no_reason_not_to_find_the_endpoint(folder: RolloutFolder) -> None:
    folder.write("deployment.yml", "name: [")

    assert find_endpoint("risk").folder == str(folder.path)


def test_the_folders_are_found_by_the_endpoints_name_with_their_rollout_file(folder: RolloutFolder) -> None:
    folder.change("rollout.yml", keep_replaced_seconds=60)

    (found,) = all_folders().items()

    assert (found[0], found[1].folder) == ("risk", str(folder.path))
    assert found[1].rollout is not None
    assert found[1].rollout.keep_replaced_seconds == 60


@pytest.mark.parametrize("text", ["smoke_test: [", "{}", ""])
def test_a_faulty_rollout_file_is_left_out(folder: RolloutFolder, text: str) -> None:
    folder.write("rollout.yml", text)

    assert {name: one.rollout for name, one in all_folders().items()} == {"risk": None}
