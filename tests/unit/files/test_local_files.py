"""The conda file of a scoring script: does it name the server that runs the script."""

import pytest
import yaml

from rollway.azure.folder import load_folder
from tests.support.builders import RolloutFolder

SERVER = "azureml-inference-server-http"
ROUTES = {f"{kind}_route": {"path": "/", "port": 8000} for kind in ("liveness", "readiness", "scoring")}


@pytest.mark.parametrize(
    ("dependencies", "lacks"),
    [
        (["python=3.11"], True),
        (["python=3.11", {"pip": ["scikit-learn", "joblib>=1"]}], True),
        ([{"pip": [SERVER]}], False),
        ([{"pip": ["AzureML_Inference_Server_HTTP>=1.5,<2"]}], False),
        ([{"pip": ["azureml-defaults"]}], False),
        ([f"conda-forge::{SERVER}=1.5"], False),
        ([{"pip": [f"{SERVER}-extras"]}], True),
        ([{"pip": ["-r requirements.txt"]}], False),
        ([{"pip": ["git+https://example.com/serving"]}], False),
    ],
)
def test_a_conda_file_without_the_server_is_noticed_unless_something_else_may_bring_it(
    folder: RolloutFolder, dependencies: list[object], lacks: bool
) -> None:
    folder.write("conda.yaml", yaml.safe_dump({"dependencies": dependencies}))

    assert load_folder(str(folder.path)).online_deployment.lacks_server is lacks


@pytest.mark.parametrize(
    "environment",
    [
        "azureml:inference:1",
        {"image": "mcr.microsoft.com/azureml/minimal-py312-inference"},
        {"image": "own/server", "conda_file": "conda.yaml", "inference_config": ROUTES},
        {"build": {"path": "code"}},
    ],
    ids=["by reference", "an image alone", "an own server", "a Dockerfile"],
)
def test_another_environment_needs_no_server_in_a_conda_file(folder: RolloutFolder, environment: object) -> None:
    folder.write("conda.yaml", "dependencies: [python=3.11]\n")
    folder.write("code/Dockerfile", "FROM a\n")
    folder.change("deployment.yml", environment=environment)

    assert not load_folder(str(folder.path)).online_deployment.lacks_server
