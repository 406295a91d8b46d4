"""The folder is read again just before an online deployment is created from it."""

from typing import Any

import pytest

from rollway.azure.folder import load_folder, load_unchanged
from rollway.errors import ConfigurationError
from rollway.spec import RolloutSpec
from tests.support.builders import RolloutFolder

DEPLOYMENT = "deployment.yml"


def refused(spec: RolloutSpec) -> str:
    """Return the reason why nothing is created."""
    with pytest.raises(ConfigurationError) as caught:
        load_unchanged(spec)
    assert (caught.value.what, caught.value.exit_code) == ("the folder changed since the plan", 2)
    assert caught.value.where == f"{spec.folder}/{DEPLOYMENT}"
    assert caught.value.hint == "run the rollout again, and leave the files as they are while it runs"
    return (caught.value.why or "").replace(f"{spec.folder}/", "")


@pytest.fixture
def spec(folder: RolloutFolder) -> RolloutSpec:
    """The folder as it was planned."""
    folder.change(DEPLOYMENT, environment_variables={"PASSWORD": "one"})
    return load_folder(str(folder.path))


def test_an_unchanged_folder_gives_the_entity_that_is_created(folder: RolloutFolder, spec: RolloutSpec) -> None:
    folder.write("code/score.pyc", "a cache")
    folder.write(DEPLOYMENT, f"# a comment\n{(folder.path / DEPLOYMENT).read_text()}")

    entity = load_unchanged(spec)

    assert (entity.name, entity.endpoint_name, entity.instance_count) == ("main", "diabetes", 1)
    assert entity.environment_variables == {"PASSWORD": "one"}


def test_a_spec_that_was_stored_as_json_is_compared_too(folder: RolloutFolder, spec: RolloutSpec) -> None:
    stored = RolloutSpec.model_validate_json(spec.model_dump_json())

    assert load_unchanged(stored).name == "main"
    folder.change(DEPLOYMENT, environment_variables={"PASSWORD": "two"})
    assert refused(stored) == "different now: environment_variables"


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"environment_variables": {"PASSWORD": "two"}}, "environment_variables"),
        ({"environment_variables": {"USER": "one"}}, "environment_variables"),
        ({"instance_type": "Standard_DS4_v2"}, "settings"),
        ({"instance_count": 2, "tags": {"a": "b"}}, "instance_count, tags"),
        ({"model": "azureml:diabetes:2"}, "model"),
        ({"environment": "azureml:inference:2"}, "environment"),
        ({"name": "other"}, "name"),
    ],
    ids=["value", "variable", "setting", "count and tags", "model", "environment", "name"],
)
def test_a_changed_file_stops_the_creation(
    folder: RolloutFolder, spec: RolloutSpec, changes: dict[str, Any], fields: str
) -> None:
    folder.change(DEPLOYMENT, **changes)

    assert refused(spec) == f"different now: {fields}"


def test_changed_code_and_packages_stop_the_creation(folder: RolloutFolder, spec: RolloutSpec) -> None:
    folder.write("code/score.py", "def init(): ...\n\n\ndef run(data): ...\n")
    folder.write("conda.yaml", "dependencies: [python=3.12]\n")

    assert refused(spec) == "different now: environment, code"


def test_a_file_that_became_invalid_or_is_gone_stops_the_creation(folder: RolloutFolder, spec: RolloutSpec) -> None:
    folder.change(DEPLOYMENT, instance_count=0)
    assert refused(spec) == f"{DEPLOYMENT}: instance_count: 0 is out of range, allowed is 1 to 50"

    (folder.path / DEPLOYMENT).unlink()
    assert refused(spec).startswith(f"{DEPLOYMENT}: the file is missing")
