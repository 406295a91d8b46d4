"""The content of an online deployment: the keys of deployment.yml and the contents of its files, and nothing else."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from azure.ai.ml.entities import ManagedOnlineDeployment

from rollway.azure.content import settings_of, variables_of
from rollway.azure.folder import load_folder, load_online_deployment_entity
from rollway.rollout.fingerprint import fingerprint, folder_digest, is_same_content
from rollway.spec import HiddenText, OnlineDeploymentSpec
from tests.support.builders import WORKSPACE_ID, RolloutFolder

DEPLOYMENT = "deployment.yml"
CODE_ID = f"{WORKSPACE_ID}/codes/mine/versions/1"


def load(folder: RolloutFolder) -> OnlineDeploymentSpec:
    return load_folder(str(folder.path)).online_deployment


def fingerprint_of(folder: RolloutFolder, **changes: Any) -> str:
    folder.change(DEPLOYMENT, **changes)
    return fingerprint(load(folder), "model id", "environment id")


def test_settings_are_the_keys_that_the_file_has(folder: RolloutFolder) -> None:
    folder.change(
        DEPLOYMENT,
        liveness_probe={"initial_delay": 9},
        request_settings={},
        app_insights_enabled="true",
        egress_public_network_access="Disabled",
        **{"$schema": "https://example.com/schema.json"},
    )

    assert load(folder).settings == {
        "instance_type": "Standard_DS3_v2",
        "code_configuration": {"scoring_script": "score.py"},
        "liveness_probe": {"initial_delay": 9},
        "app_insights_enabled": True,
        "egress_public_network_access": "disabled",
    }


def test_all_settings_are_what_the_sdk_writes_to_a_file(folder: RolloutFolder, tmp_path: Path) -> None:
    folder.change(
        DEPLOYMENT,
        liveness_probe={"initial_delay": 9, "period": 10, "timeout": 2},
        request_settings={"request_timeout_ms": 90_000, "max_concurrent_requests_per_instance": 3},
        scale_settings={"type": "default"},
        model_mount_path="/var/azureml-app/models",
        environment_variables={"EMPTY": "", "NUMBER": "1e3", "TRUE": "yes"},
    )
    entity = load_online_deployment_entity(str(folder.path))

    entity.dump(tmp_path / "dumped.yml")

    dumped = yaml.safe_load((tmp_path / "dumped.yml").read_text())
    settings = settings_of(entity)
    assert {"liveness_probe", "request_settings", "model_mount_path"} <= settings.keys()
    shared = settings.keys() - {"code_configuration"}  # of which only the script is a setting
    assert {key: settings[key] for key in shared} == {key: dumped[key] for key in shared}


def test_a_date_among_the_environment_variables_is_text(folder: RolloutFolder) -> None:
    folder.change(DEPLOYMENT, environment_variables={"SINCE": date(2026, 11, 30)})

    assert load(folder).environment_variables["SINCE"] == HiddenText.of("2026-11-30")


def later_sdk(entity: Any, said_before: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    return {**said_before(entity), "new_setting": "new default"}


def test_a_default_that_a_later_sdk_adds_changes_no_fingerprint(
    folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint_of(folder, request_settings={"request_timeout_ms": 5000})
    dump = ManagedOnlineDeployment._to_dict
    monkeypatch.setattr(ManagedOnlineDeployment, "_to_dict", lambda entity: later_sdk(entity, dump))

    assert settings_of(load_online_deployment_entity(str(folder.path)))["new_setting"] == "new default"
    assert fingerprint_of(folder) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"PORT": 5000}, {"PORT": "5000"}),
        ({"QUIET": True}, {"QUIET": "true"}),
        ({"A": "1", "B": "2"}, {"B": "2", "A": "1"}),
        ({"A": "1", "B": None}, {"A": "1"}),
        ({}, None),
    ],
    ids=["number", "boolean", "order", "null", "nothing"],
)
def test_environment_variables_that_mean_the_same_have_the_same_fingerprint(
    folder: RolloutFolder, one: Any, other: Any
) -> None:
    assert fingerprint_of(folder, environment_variables=one) == fingerprint_of(folder, environment_variables=other)


@pytest.mark.parametrize("variables", [None, {"PORT": "5001"}, {"port": "5000"}, {"PORT": "5000", "A": ""}], ids=str)
def test_names_and_values_of_environment_variables_count(folder: RolloutFolder, variables: Any) -> None:
    before = fingerprint_of(folder, environment_variables={"PORT": "5000"})

    assert fingerprint_of(folder, environment_variables=variables) != before


def test_the_order_of_keys_and_the_type_of_numbers_do_not_count(folder: RolloutFolder) -> None:
    folder.change(DEPLOYMENT, request_settings={"request_timeout_ms": 5000})
    before = fingerprint_of(folder)
    content = {**folder.read(DEPLOYMENT), "request_settings": {"request_timeout_ms": "5000"}}
    folder.write(DEPLOYMENT, yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))

    assert fingerprint_of(folder) == before


def test_the_same_scoring_script_may_be_written_in_two_ways(folder: RolloutFolder) -> None:
    before = fingerprint_of(folder)

    assert fingerprint_of(folder, code_configuration={"code": "./code", "scoring_script": "./score.py"}) == before


def test_files_may_move_and_the_content_stays(folder: RolloutFolder) -> None:
    before, digest = fingerprint_of(folder), folder_digest(load(folder))
    (folder.path / "code").rename(folder.path / "scoring")
    (folder.path / "conda.yaml").rename(folder.path / "packages.yaml")
    folder.change(
        DEPLOYMENT,
        code_configuration={"code": "scoring", "scoring_script": "score.py"},
        environment={"name": "inference", "image": "mcr.microsoft.com/base", "conda_file": "packages.yaml"},
    )

    assert fingerprint_of(folder) == before
    assert folder_digest(load(folder)) == digest


def write(root: Path, name: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


@pytest.mark.parametrize(
    "name",
    [
        "__pycache__/score.cpython-311.pyc",
        "package/__pycache__/helper.cpython-311.pyc",
        "helper.pyc",
        ".DS_Store",
        "package/.DS_Store",
        ".ipynb_checkpoints/score-checkpoint.py",
        ".pytest_cache/README.md",
        ".mypy_cache/3.11/score.data.json",
        ".ruff_cache/CACHEDIR.TAG",
        ".git/HEAD",
        "Thumbs.db",
    ],
)
def test_caches_are_no_code(folder: RolloutFolder, name: str) -> None:
    before = load(folder).code_sha256
    write(folder.path / "code", name)

    assert load(folder).code_sha256 == before


@pytest.mark.parametrize("name", ["helper.py", "package/data.csv", ".hidden", "pycache/x"])
def test_every_other_file_is_code(folder: RolloutFolder, name: str) -> None:
    before = load(folder).code_sha256
    write(folder.path / "code", name)

    assert before is not None
    assert load(folder).code_sha256 != before


def test_the_name_of_a_file_counts_and_its_time_does_not(folder: RolloutFolder) -> None:
    before, path = load(folder).code_sha256, folder.path / "code" / "score.py"
    path.write_bytes(path.read_bytes())
    assert load(folder).code_sha256 == before

    write(folder.path / "code", "a.txt")
    named_a = load(folder).code_sha256
    (folder.path / "code" / "a.txt").rename(folder.path / "code" / "b.txt")
    assert load(folder).code_sha256 != named_a


@pytest.mark.parametrize("file", [".amlignore", ".gitignore"])
def test_files_that_are_not_uploaded_are_no_code(folder: RolloutFolder, file: str) -> None:
    folder.write(f"code/{file}", f"train.py\n{file}\n")
    before = load(folder).code_sha256
    folder.write("code/train.py", "X = 1\n")

    assert load(folder).code_sha256 == before


def test_registered_code_is_known_by_its_id_without_case(folder: RolloutFolder) -> None:
    def code(value: str) -> str | None:
        folder.change(DEPLOYMENT, code_configuration={"code": value, "scoring_script": "score.py"})
        return load(folder).code_sha256

    assert code(f"azureml:{CODE_ID}") == code(f"azureml:{CODE_ID.upper()}")
    assert code(f"azureml:{CODE_ID}") != code(f"azureml:{CODE_ID[:-1]}2")


CONDA = {"name": "inference", "dependencies": ["python=3.11", {"pip": ["azureml-inference-server-http"]}]}
INLINE: dict[str, Any] = {"name": "inference", "image": "mcr.microsoft.com/base", "conda_file": "conda.yaml"}


@pytest.mark.parametrize(
    "environment",
    [
        {**INLINE, "image": "other"},
        {**INLINE, "conda_file": {"dependencies": ["python=3.12"]}},
        {**INLINE, "version": "2"},
        {"name": "inference", "build": {"path": "code"}},
        {"image": INLINE["image"], "conda_file": "conda.yaml"},
    ],
    ids=["image", "conda file", "version", "build context", "no name"],
)
def test_the_definition_of_the_environment_decides_the_folder_digest(folder: RolloutFolder, environment: Any) -> None:
    folder.write("code/Dockerfile", "FROM a\n")
    before = folder_digest(load(folder))
    folder.change(DEPLOYMENT, environment=environment)

    assert folder_digest(load(folder)) != before


def test_a_conda_file_may_have_a_key_that_yaml_reads_as_a_boolean(folder: RolloutFolder) -> None:
    folder.write("conda.yaml", "dependencies: [python=3.11]\nvariables: {ON: 1, A: 2}\n")
    folder.change(DEPLOYMENT, environment=INLINE)
    before = folder_digest(load(folder))
    folder.write("conda.yaml", "dependencies: [python=3.11]\nvariables: {ON: 2, A: 2}\n")

    assert folder_digest(load(folder)) != before


def test_the_packages_decide_the_folder_digest_and_how_they_are_written_does_not(folder: RolloutFolder) -> None:
    before = folder_digest(load(folder))
    folder.change(DEPLOYMENT, environment={**INLINE, "conda_file": CONDA})
    assert folder_digest(load(folder)) == before

    folder.write("conda.yaml", "dependencies: [python=3.12]\n")
    folder.change(DEPLOYMENT, environment=INLINE)
    assert folder_digest(load(folder)) != before


def test_a_file_of_the_build_context_decides_the_folder_digest(folder: RolloutFolder) -> None:
    folder.change(DEPLOYMENT, environment={"name": "own", "build": {"path": "code"}}, code_configuration=None)
    folder.write("code/Dockerfile", "FROM a\n")
    before = folder_digest(load(folder))
    folder.write("code/Dockerfile", "FROM b\n")

    assert folder_digest(load(folder)) != before


def test_another_version_of_the_model_has_the_same_folder_digest_and_another_fingerprint(folder: RolloutFolder) -> None:
    first = load(folder)
    folder.change(DEPLOYMENT, model="azureml:diabetes@latest")
    second = load(folder)

    assert folder_digest(first) == folder_digest(second)
    assert not is_same_content(fingerprint(first, "m/1", "e"), second, "m/2", "e")


def test_azure_has_text_where_yaml_has_a_number() -> None:
    as_read: dict[str, Any] = {"A": 1, "B": False, "C": None, "D": "x"}

    assert variables_of(ManagedOnlineDeployment(name="main", environment_variables=as_read)) == {
        "A": "1",
        "B": "false",
        "D": "x",
    }
