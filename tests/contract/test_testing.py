"""The emulator as a product: the fixtures and the seed of docs/test-your-pipeline.md, run as they are printed there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.emulator_process import REPOSITORY, own_environment, running_emulator
from tests.support.plain_rest import PlainRest

PAGE = REPOSITORY / "docs" / "test-your-pipeline.md"


def read_blocks() -> dict[str, str]:
    """The files that the page shows, by the name in their first line."""
    blocks = re.findall(r"```(?:python|yaml)\n(# ([\w.]+)[^\n]*\n.*?)```", PAGE.read_text(), re.DOTALL)
    return {name: text for text, name in blocks}


def test_the_example_of_the_documentation_runs_in_a_project_of_its_own(tmp_path: Path) -> None:
    blocks = read_blocks()
    for name in ("conftest.py", "test_pipeline.py"):
        (tmp_path / name).write_text(blocks[name])

    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command, env=own_environment(), cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b4 passed", done.stdout), done.stdout


def seed_with_models(folder: Path) -> str:
    """The seed of the page, and the files that it names."""
    (folder / "models" / "churn" / "parts").mkdir(parents=True)
    (folder / "models" / "churn" / "parts" / "weights").write_text("1 2 3")
    (folder / "models" / "scaler.pkl").write_text("scaler")
    (folder / "seed.yaml").write_text(read_blocks()["seed.yaml"])
    return str(folder / "seed.yaml")


def test_models_of_the_seed_can_be_downloaded(tmp_path: Path) -> None:
    script = """
import os, sys
from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential
v = os.environ
client = MLClient(DefaultAzureCredential(disable_instance_discovery=True), v["AZURE_SUBSCRIPTION_ID"],
                  v["AZURE_RESOURCE_GROUP"], v["AZUREML_WORKSPACE"])
print(client.models.get("churn", label="latest").version, client.models.get("scaler", "1").tags)
client.models.download("churn", "3", sys.argv[1])
client.models.download("scaler", "1", sys.argv[1])
"""
    with running_emulator(tmp_path / "state", "--seed", seed_with_models(tmp_path)) as emulator:
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "out")],
            env={**own_environment(), **emulator.environment},
            capture_output=True,
            text=True,
            check=False,
        )

    assert done.returncode == 0, done.stderr
    assert "3 {'team': 'a'}" in done.stdout
    files = {path.name: path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"weights": "1 2 3", "scaler.pkl": "scaler"}


def test_models_of_the_seed_are_there_again_after_a_reset_and_a_restart(tmp_path: Path) -> None:
    seed = seed_with_models(tmp_path)
    with running_emulator(tmp_path / "state", "--seed", seed) as first:
        first.reset()
        after_reset = PlainRest(first).send("GET", "/models/churn/versions/3").status_code
    with running_emulator(tmp_path / "state") as second:
        after_restart = PlainRest(second).send("GET", "/models/churn/versions/3").status_code

    assert (after_reset, after_restart) == (200, 200)


@pytest.mark.parametrize(
    ("models", "problem"),
    [("[{name: m, path: gone}]", "gone does not exist"), ("[{name: ../m, path: .}]", "models.0.name")],
)
def test_a_seed_with_a_model_that_cannot_be_is_refused(tmp_path: Path, models: str, problem: str) -> None:
    (tmp_path / "seed.yaml").write_text(f"models: {models}")
    command = [sys.executable, "-m", "rollway.emulator", "up", "--state", str(tmp_path / "state")]

    done = subprocess.run(
        [*command, "--seed", str(tmp_path / "seed.yaml")],
        env=own_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert (done.returncode, problem in done.stderr) == (2, True), done.stderr
