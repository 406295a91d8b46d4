"""Values that the forms offer and that Python accepts."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from rollway.prefect.parameters import BlockName, ModelVersion, RolloutName, Weight
from rollway.settings import known_rollouts


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of rollouts that ROLLWAY_DEPLOYMENTS names: two, and one folder that is none."""
    for name in ("wine", "diabetes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rollout.yml").touch()
    (tmp_path / "schema").mkdir()
    monkeypatch.setenv("ROLLWAY_DEPLOYMENTS", str(tmp_path))
    return tmp_path


def test_the_form_offers_the_folders_that_hold_a_rollout(folders: Path) -> None:
    assert known_rollouts() == ["diabetes", "wine"]
    assert TypeAdapter(RolloutName).json_schema() == {"type": "string", "enum": ["diabetes", "wine"]}


def test_python_takes_a_path_as_well(folders: Path) -> None:
    assert TypeAdapter(RolloutName).validate_python("/somewhere/else") == "/somewhere/else"


def test_without_any_folder_the_form_takes_any_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert TypeAdapter(RolloutName).json_schema() == {"type": "string"}


@pytest.mark.parametrize("version", ["7", "2026.11.22", "v1_rc-2"])
def test_a_model_version_as_azure_takes_it(version: str) -> None:
    assert TypeAdapter(ModelVersion).validate_python(version) == version


@pytest.mark.parametrize("version", ["", "azureml:diabetes:7", "diabetes@latest", "7 ", "-7", "7\n"])
def test_what_is_no_model_version_is_refused(version: str) -> None:
    with pytest.raises(ValidationError, match="String should match pattern"):
        TypeAdapter(ModelVersion).validate_python(version)


@pytest.mark.parametrize(("weight", "reason"), [(0, "greater than or equal to 1"), (101, "less than or equal to 100")])
def test_a_weight_is_a_percentage_above_nothing(weight: int, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TypeAdapter(Weight).validate_python(weight)


def test_a_block_is_given_by_its_name_alone() -> None:
    assert TypeAdapter(BlockName).validate_python("production-eu") == "production-eu"
    with pytest.raises(ValidationError, match="String should match pattern"):
        TypeAdapter(BlockName).validate_python("azureml-workspace/production")
