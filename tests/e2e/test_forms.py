"""The forms of deployment.yml that people already use with `az ml online-deployment create`."""

import re
from pathlib import Path

from tests.support.world import FIXTURES, Rollout, World


def test_model_given_by_file(world: World) -> None:
    rollout = world.make_rollout()

    done = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    assert world.rest.score(rollout.name, {"data": [[1.0]]}).json()["answer"] == 42


def test_model_given_by_folder(world: World) -> None:
    folder = world.tmp_path / "weights"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"a")
    (folder / "b.bin").write_bytes(b"b")
    rollout = world.make_rollout(model={"name": "weights", "path": str(folder)})

    done = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    assert world.rest.score(rollout.name, {"data": [[1.0]]}).status_code == 200


def test_mlflow_style_folder_with_a_scoring_script(world: World) -> None:
    rollout = world.make_rollout(
        model={"path": str(FIXTURES / "mlflow_folder" / "model"), "type": "mlflow_model"},
        code_configuration={"code": str(FIXTURES / "mlflow_folder" / "code"), "scoring_script": "score.py"},
    )

    rollout.request = {"data": [1.0]}

    done = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    assert world.rest.score(rollout.name, {"data": [1.0]}).json() == {"predictions": [3.0]}


def test_mlflow_model_without_script_and_environment(world: World) -> None:
    rollout = world.make_rollout(
        model={"path": str(FIXTURES / "mlflow_folder" / "model"), "type": "mlflow_model", "name": "line"},
        code_configuration=None,
        environment=None,
    )
    rollout.online_deployment = {key: value for key, value in rollout.online_deployment.items() if value is not None}
    rollout.request = {"input_data": {"columns": ["x"], "index": [0], "data": [[1.0]]}}
    expect = {"max_latency_seconds": 30, "body": {"type": "array", "items": {"type": "number"}}}
    rollout.rollout["smoke_test"]["expect"] = expect

    done = world.deploy(rollout)
    again = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    assert re.search(r"environment +\(none\)", done.stdout)
    assert world.rest.score(rollout.name, rollout.request).json() == [3.0]
    assert (again.returncode, "nothing to do" in again.stdout.lower()) == (0, True), again.stdout


def test_image_only_environment(world: World) -> None:
    rollout = world.make_rollout(environment={"image": "mcr.microsoft.com/azureml/minimal-py312-inference:latest"})

    done = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    assert world.rest.score(rollout.name, {"data": [[1.0]]}).status_code == 200


def test_environment_referenced_by_name(world: World, live: tuple[str, Rollout]) -> None:
    rollout = world.make_rollout(environment="azureml:fixtures:1")

    done = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    assert "fixtures:1" in done.stdout


def test_identical_environment_is_registered_once(world: World, live: tuple[str, Rollout]) -> None:
    done = world.deploy(world.make_rollout(), "--dry-run")

    assert done.returncode == 0, done.stderr
    assert "environment        fixtures:1" in done.stdout
    versions = world.rest.workspace("environments/fixtures/versions").json()["value"]
    assert [one["name"] for one in versions] == ["1"]


def test_the_shipped_rollout_is_valid(world: World) -> None:
    done = world.rollway("validate", "deployments/diabetes", variables={"PYTHONPATH": str(Path.cwd())})

    assert (done.returncode, done.stdout) == (0, "deployments/diabetes is valid\n")
