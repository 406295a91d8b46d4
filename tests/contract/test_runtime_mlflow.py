"""MLflow models without a scoring script: their environment, and the inputs that their container takes."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from rollway.emulator.runtime.container import Container, ContainerSpec, ContainerState
from rollway.emulator.runtime.images import ImageBuildFailed, ImageRecipe, build_image
from rollway.emulator.runtime.mlflow_model import SCRIPT, conda_file, write_script
from rollway.emulator.state import environment_cache
from tests.contract.conftest import FIXTURES

MODEL = FIXTURES / "mlflow_folder" / "model"
DEADLINE_SECONDS = 180
SPLIT = {"columns": ["x"], "index": [0, 1], "data": [[0.0], [2.5]]}
MAKE_MODELS = """
import sys
from pathlib import Path
import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.types import ParamSchema, ParamSpec
from sklearn.linear_model import LinearRegression

class Describe(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if isinstance(model_input, dict):
            return {name: [type(one).__name__, *one.shape] for name, one in model_input.items()}
        return [type(model_input).__name__, *model_input.shape, *(params or {}).values()]

root, conda = Path(sys.argv[1]), sys.argv[2]
rows, answers = pd.DataFrame({"x": [0.0, 1.0, 2.0]}), [1.0, 3.0, 5.0]
line = LinearRegression().fit(rows, answers)
common = {"conda_env": conda}
mlflow.sklearn.save_model(line, root / "columns", signature=infer_signature(rows, line.predict(rows)), **common)
mlflow.pyfunc.save_model(root / "unknown", python_model=Describe(), **common)
tensor = infer_signature(np.zeros((2, 3), np.float32), np.zeros(2), params={"top": 5})
mlflow.pyfunc.save_model(root / "tensor", python_model=Describe(), signature=tensor, **common)
named = infer_signature({"a": np.zeros((1, 2), np.int64), "b": np.zeros((1, 2))})
mlflow.pyfunc.save_model(root / "named", python_model=Describe(), signature=named, **common)
"""

Score = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of the models' environment."""
    recipe = ImageRecipe(None, conda_file(MODEL))
    return asyncio.run(build_image(recipe, environment_cache(), lambda _: None)) / "bin/python"


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that MLflow has saved, each named by the form of its input."""
    root = tmp_path_factory.mktemp("models")
    command = [str(python), "-W", "ignore", "-c", MAKE_MODELS, str(root), str(MODEL / "conda.yaml")]
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=root)  # where MLflow makes `mlruns`
    return root


@pytest.fixture(scope="module")
def start(models: Path, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Starts the container of a model once, and gives its URL."""
    running: dict[str, Container] = {}

    def run(name: str) -> str:
        if name not in running:
            code = write_script(tmp_path_factory.mktemp("code"))
            root, model = tmp_path_factory.mktemp(name), models / name
            variables = {"MLFLOW_MODEL_FOLDER": name}
            running[name] = Container(ContainerSpec(name, python, root, code, SCRIPT, model, name, "1", variables, 180))
            asyncio.run(settle(running[name]))
        return f"http://127.0.0.1:{running[name].port}"

    yield run
    for container in running.values():
        asyncio.run(container.stop())


@pytest.fixture(scope="module")
def score(start: Callable[[str], str]) -> Score:
    """Sends a request to the container of a model."""

    def send(name: str, body: Any = None, **request: Any) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=DEADLINE_SECONDS) as client:
            return client.post(f"{start(name)}/score", **(request or {"json": body}))

    return send


async def settle(container: Container) -> None:
    await container.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await container.refresh() is ContainerState.STARTING:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)
    assert container.state is ContainerState.READY, container.logs()


def test_a_sklearn_model_takes_a_data_frame_in_the_split_orientation(score: Score) -> None:
    answer = score("columns", {"input_data": SPLIT})

    assert answer.status_code == 200, answer.text
    assert answer.json() == pytest.approx([1.0, 6.0])


def test_the_index_may_be_left_out_if_the_model_has_a_signature(score: Score) -> None:
    answer = score("columns", {"input_data": {"columns": ["x"], "data": [[1]]}})

    assert answer.json() == pytest.approx([3.0])


@pytest.mark.parametrize(
    ("request_", "status", "message"),
    [
        ({"json": SPLIT}, 400, "A value is not provided for the 'input_data' parameter."),
        ({"json": [SPLIT]}, 400, "POST body should be a JSON dictionary."),
        ({"content": "{", "headers": {"Content-Type": "application/json"}}, 400, "could not be decoded as JSON"),
        ({"content": "x=1", "headers": {"Content-Type": "text/csv"}}, 415, "Expects Content-Type"),
        # Azure's documentation: no data frames in the records orientation.
        ({"json": {"input_data": [{"x": 1.0}]}}, 500, "An unexpected error occurred in scoring script."),
        ({"json": {"input_data": {"columns": ["y"], "data": [[1]]}}}, 500, "An unexpected error occurred"),
        ({"json": {"input_data": {"columns": ["x"], "data": [["a"]]}}}, 500, "An unexpected error occurred"),
    ],
    ids=["no input_data", "no object", "no JSON", "no JSON content", "records", "another column", "another type"],
)
def test_what_does_not_fit_the_models_columns_is_refused(
    score: Score, request_: dict[str, Any], status: int, message: str
) -> None:
    answer = score("columns", **request_)

    assert (answer.status_code, message in answer.json()["message"]) == (status, True), answer.text


def test_a_tensor_is_an_array_of_the_signatures_type_and_params_have_their_defaults(score: Score) -> None:
    rows = [[1, 2, 3]] * 2

    assert score("tensor", {"input_data": rows}).json() == ["ndarray", 2, 3, 5]
    assert score("tensor", {"input_data": rows, "params": {"top": 7}}).json() == ["ndarray", 2, 3, 7]


def test_named_tensors_are_named_arrays(score: Score) -> None:
    answer = score("named", {"input_data": {"a": [[1, 2]], "b": [[0.5, 1]]}})

    assert answer.json() == {"a": ["ndarray", 1, 2], "b": ["ndarray", 1, 2]}


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ([[1, 2], [3, 4]], ["ndarray", 2, 2]),
        (SPLIT, ["DataFrame", 2, 1]),
        ({"tokens": [[1, 2]], "mask": [[0, 1]]}, {"tokens": ["ndarray", 1, 2], "mask": ["ndarray", 1, 2]}),
    ],
    ids=["tensor", "split", "named tensors"],
)
def test_a_model_without_a_signature_takes_each_documented_form(score: Score, value: Any, form: Any) -> None:
    assert score("unknown", {"input_data": value}).json() == form


def test_the_swagger_document_describes_the_input_by_the_signature(start: Callable[[str], str]) -> None:
    with httpx.Client(trust_env=False, timeout=DEADLINE_SECONDS) as client:
        document = client.get(f"{start('columns')}/swagger.json").json()

    described = document["definitions"]["ServiceInput"]["properties"]["input_data"]
    assert set(described["properties"]) == {"columns", "index", "data"}
    assert described["format"] == "pandas.DataFrame:split"


def write_model(folder: Path, flavor: dict[str, Any], **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": flavor}}))
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


def test_the_environment_is_the_models_own_with_what_serves_it(tmp_path: Path) -> None:
    own = "dependencies: [python=3.11, pip, {pip: ['mlflow==2.9.2', 'scikit-learn==1.2.2']}]"
    model = write_model(tmp_path, {"env": "own.yaml"}, own__yaml=own)

    assert yaml.safe_load(conda_file(model))["dependencies"] == [
        "python=3.11",
        "pip",
        {"pip": ["mlflow==2.9.2", "scikit-learn==1.2.2"]},
        {"pip": ["azureml-inference-server-http", "azureml-ai-monitoring", "pandas"]},
    ]


def test_what_the_model_names_itself_is_not_added(tmp_path: Path) -> None:
    own = """
dependencies:
  - conda-forge::pandas=2.2
  - pip:
      - mlflow-skinny[databricks]>=2
      - azureml-inference-server-http~=1.4
      - azureml-ai-monitoring
"""
    model = write_model(tmp_path, {"env": {"conda": "conda.yaml"}}, conda__yaml=own)

    assert yaml.safe_load(conda_file(model)) == yaml.safe_load(own)


def test_a_model_without_a_conda_file_has_the_packages_of_its_requirements(tmp_path: Path) -> None:
    model = write_model(tmp_path, {"python_version": "3.10.4"}, requirements__txt="# made by hand\nxgboost==2.0\n\n")

    assert yaml.safe_load(conda_file(model))["dependencies"] == [
        "python=3.10.4",
        {"pip": ["xgboost==2.0"]},
        {"pip": ["azureml-inference-server-http", "azureml-ai-monitoring", "pandas", "mlflow-skinny"]},
    ]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "it has no file MLmodel in its folder"),
        ({"MLmodel": "flavors: {sklearn: {}}"}, "it has no python_function flavor"),
        ({"MLmodel": "flavors: ["}, "MLmodel cannot be read"),
        ({"MLmodel": "flavors: {python_function: {}}"}, "it has neither a conda file nor a requirements.txt"),
        ({"MLmodel": "flavors: {python_function: {}}", "conda.yaml": "name: x"}, "has no list of `dependencies`"),
    ],
    ids=["no MLmodel", "another flavor", "no YAML", "no packages", "no dependencies"],
)
def test_a_model_that_cannot_be_served_without_a_script_is_a_bad_argument(
    tmp_path: Path, files: dict[str, str], reason: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    with pytest.raises(ImageBuildFailed, match="cannot be served without a scoring script") as caught:
        conda_file(tmp_path)

    assert caught.value.code == "BadArgument"
    assert reason in caught.value.log
