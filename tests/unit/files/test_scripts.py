"""The scoring script as a part of a rollout folder."""

from typing import Any

import pytest

from rollway.azure.folder import load_folder
from rollway.errors import InvalidRollout
from tests.support.builders import RolloutFolder

DEPLOYMENT = "deployment.yml"
SCRIPT = "code_configuration.scoring_script"
NO_RUN = "def init(): pass\n"
ROUTES = {name: {"path": "/", "port": 8000} for name in ("liveness_route", "readiness_route", "scoring_route")}
OWN_SERVER = {"name": "own", "image": "own.example/server:1", "inference_config": ROUTES}


def problems_of(folder: RolloutFolder) -> list[str]:
    """Return each problem, without the path of the folder."""
    with pytest.raises(InvalidRollout) as caught:
        load_folder(str(folder.path))
    return [str(problem).replace(f"{folder.path}/", "") for problem in caught.value.problems]


def have_script(folder: RolloutFolder, text: str, name: str = "score.py", **changes: Any) -> None:
    folder.write(f"code/{name}", text)
    folder.change(DEPLOYMENT, code_configuration={"code": "code", "scoring_script": name}, **changes)


def test_a_syntax_error_is_named_with_file_and_line(folder: RolloutFolder) -> None:
    have_script(folder, "def init(): pass\ndef run(data:\n")

    (problem,) = problems_of(folder)

    assert problem.startswith(f"{DEPLOYMENT}: {SCRIPT}: code/score.py is not valid Python 3.")
    assert problem.endswith(": '(' was never closed (line 2, column 8)")


@pytest.mark.parametrize(
    ("text", "missing"),
    [("", "init() and no run()"), (NO_RUN, "run()"), ("from .x import run\n", "init()")],
)
def test_missing_functions_are_named(folder: RolloutFolder, text: str, missing: str) -> None:
    have_script(folder, text)

    assert problems_of(folder) == [
        f"{DEPLOYMENT}: {SCRIPT}: code/score.py has no {missing}: the inference server calls init() once and run(data) "
        "per request"
    ]


def test_a_faulty_script_comes_with_all_other_problems(folder: RolloutFolder) -> None:
    have_script(folder, NO_RUN, instance_count=0)
    folder.change("rollout.yml", smoke_test={"request_file": "nope.json"})

    assert [tuple(problem.split(": ")[:2]) for problem in problems_of(folder)] == [
        (DEPLOYMENT, "instance_count"),
        (DEPLOYMENT, SCRIPT),
        ("rollout.yml", "smoke_test.request_file"),
    ]


def test_a_folder_is_no_script(folder: RolloutFolder) -> None:
    (folder.path / "code" / "deep.py").mkdir()
    folder.change(DEPLOYMENT, code_configuration={"code": "code", "scoring_script": "deep.py"})

    assert problems_of(folder) == [f"{DEPLOYMENT}: {SCRIPT}: there is no deep.py in code"]


def test_a_script_for_another_language_is_not_parsed(folder: RolloutFolder) -> None:
    have_script(folder, "library(plumber)\npr() |> pr_run()\n", "plumber.R", environment=OWN_SERVER)

    assert load_folder(str(folder.path)).online_deployment.missing_functions == ()


def test_a_container_with_a_server_of_its_own_needs_no_functions_but_valid_python(folder: RolloutFolder) -> None:
    have_script(folder, "app = object()\n", environment=OWN_SERVER)
    load_folder(str(folder.path))
    have_script(folder, "app = (\n")

    (problem,) = problems_of(folder)
    assert "code/score.py is not valid Python" in problem


@pytest.mark.parametrize("environment", ["azureml:inference:1", {"name": "built", "build": {"path": "context"}}])
@pytest.mark.parametrize(("text", "missing"), [(NO_RUN, ("run",)), ("from x import *\n", ())])
def test_if_the_server_of_the_environment_is_unknown_missing_functions_are_no_problem(
    folder: RolloutFolder, text: str, missing: tuple[str, ...], environment: object
) -> None:
    (folder.path / "context").mkdir()
    folder.write("context/Dockerfile", "FROM own.example/base\n")
    have_script(folder, text, environment=environment)

    assert load_folder(str(folder.path)).online_deployment.missing_functions == missing


def test_without_code_there_is_no_script(folder: RolloutFolder) -> None:
    folder.change(DEPLOYMENT, code_configuration=None)
    load_folder(str(folder.path))
    folder.change(DEPLOYMENT, code_configuration={"code": "azureml:code:1", "scoring_script": "score.py"})

    assert load_folder(str(folder.path)).online_deployment.missing_functions == ()
