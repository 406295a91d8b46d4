"""The files around the diabetes scoring script agree with each other and with Azure's own reader."""

import re
import tomllib
from pathlib import Path

import yaml
from azure.ai.ml import load_online_deployment, load_online_endpoint
from azure.ai.ml._utils._asset_utils import get_ignore_file, get_upload_files_from_folder

ROOT = Path(__file__).parents[3]
SCORING = ROOT / "scoring/diabetes"
DEPLOYMENT = ROOT / "deployments/diabetes"


def test_training_is_pinned_to_the_versions_that_the_container_installs() -> None:
    script = (SCORING / "train.py").read_text()
    block = re.search(r"^# /// script\n((?:# .*\n)+)# ///$", script, re.MULTILINE)
    assert block is not None
    metadata = tomllib.loads(re.sub(r"^# ", "", block[1], flags=re.MULTILINE))
    conda = yaml.safe_load((SCORING / "conda.yaml").read_text())
    installed = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))

    pinned = {requirement for requirement in installed if "==" in requirement}

    assert set(metadata["dependencies"]) == pinned
    assert {requirement.split("==")[0] for requirement in pinned} == {"joblib", "numpy", "scikit-learn"}


def test_the_code_upload_carries_the_scoring_script_only() -> None:
    uploaded = get_upload_files_from_folder(SCORING, ignore_file=get_ignore_file(SCORING))

    assert {str(entry[1]) for entry in uploaded} == {"score.py"}


def test_the_endpoint_and_the_online_deployment_load_with_the_sdk() -> None:
    endpoint = load_online_endpoint(DEPLOYMENT / "endpoint.yml")
    deployment = load_online_deployment(DEPLOYMENT / "deployment.yml")

    assert (endpoint.name, endpoint.auth_mode) == ("diabetes", "key")
    assert deployment.endpoint_name == endpoint.name
    code = deployment.code_configuration
    assert code is not None
    assert code.scoring_script == "score.py"
    assert (DEPLOYMENT / str(code.code) / "score.py").resolve() == SCORING / "score.py"
    assert deployment.request_settings is not None
    assert deployment.request_settings.max_concurrent_requests_per_instance == int(
        deployment.environment_variables["WORKER_COUNT"]
    )
