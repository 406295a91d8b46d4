"""The diabetes model as it is deployed: trained by train.py, served by score.py in the environment of conda.yaml."""

import asyncio
import functools
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.emulator.runtime.container import Container, ContainerSpec, ContainerState
from rollway.emulator.runtime.images import ImageRecipe, build_image
from rollway.emulator.state import environment_cache

SCORING = Path(__file__).parents[2] / "scoring/diabetes"
SAMPLE = json.loads((SCORING / "sample-request.json").read_text())
DEADLINE_SECONDS = 180
NAMES = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
ROW = SAMPLE["data"][0]

Start = Callable[[Path | None, str], Container]


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of the model's environment, which the rollouts of other tests need, too."""
    recipe = ImageRecipe(None, (SCORING / "conda.yaml").read_text())
    return asyncio.run(build_image(recipe, environment_cache(), lambda _: None)) / "bin/python"


@pytest.fixture(scope="module")
def train(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Path, str]]:
    @functools.cache
    def run(version: int) -> tuple[Path, str]:
        output = tmp_path_factory.mktemp("trained")
        command = [str(python), str(SCORING / "train.py"), "--version", str(version), "--output", str(output)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return output / "model.joblib", printed

    return run


@pytest.fixture(scope="module")
def start(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a container with a model; gives it once it is ready or has crashed."""
    started: list[Container] = []

    def run(model: Path | None, version: str) -> Container:
        root = tmp_path_factory.mktemp("container")
        spec = ContainerSpec("diabetes", python, root, SCORING, "score.py", model, "diabetes", version, {}, 180)
        started.append(Container(spec))
        asyncio.run(settle(started[-1]))
        return started[-1]

    yield run
    for container in started:
        asyncio.run(container.stop())


async def settle(container: Container) -> None:
    await container.start()
    async with asyncio.timeout(DEADLINE_SECONDS):
        while await container.refresh() is ContainerState.STARTING:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def linear_model(train: Callable[[int], tuple[Path, str]], start: Start) -> Container:
    container = start(train(2)[0], "2")
    assert container.state is ContainerState.READY, container.logs()
    return container


def score(container: Container, body: Any) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    with httpx.Client(trust_env=False, timeout=DEADLINE_SECONDS) as client:
        return client.post(f"http://127.0.0.1:{container.port}/score", content=content)


def test_the_two_versions_answer_differently_and_say_which_they_are(
    train: Callable[[int], tuple[Path, str]], start: Start, linear_model: Container
) -> None:
    first = score(start(train(1)[0], "1"), SAMPLE).json()
    second = score(linear_model, SAMPLE).json()

    assert (first["model_version"], second["model_version"]) == ("1", "2")
    differences = [abs(a - b) for a, b in zip(first["predictions"], second["predictions"], strict=True)]
    assert len(differences) == 2
    assert min(differences) > 1


def test_training_prints_one_line_with_the_score(train: Callable[[int], tuple[Path, str]]) -> None:
    path, printed = train(2)

    assert printed.startswith("version 2: R2 0.49")
    assert printed.endswith(f"saved to {path}\n")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("columns", [NAMES, list(range(10))])
def test_the_pandas_form_with_its_columns_in_another_order_gives_the_same_predictions(
    linear_model: Container, columns: list[str | int]
) -> None:
    table = {"columns": columns[::-1], "index": [7, 8], "data": [row[::-1] for row in SAMPLE["data"]]}

    response = score(linear_model, {"input_data": table})

    assert response.status_code == 200
    assert response.json() == score(linear_model, SAMPLE).json()


def test_the_pandas_form_may_leave_out_columns_and_index(linear_model: Container) -> None:
    response = score(linear_model, {"input_data": {"data": SAMPLE["data"]}})

    assert response.json() == score(linear_model, SAMPLE).json()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "the body is not JSON"),
        ("[" * 100_000, "the body is not JSON"),
        ("[]", 'with either "data" or "input_data"'),
        ("{}", 'with either "data" or "input_data"'),
        ({"data": [ROW], "input_data": {}}, 'with either "data" or "input_data"'),
        ({"data": []}, '"data" must be a list of at least one row'),
        ({"data": ROW}, '"data[0]" must be a list of 10 numbers'),
        ({"data": [ROW, ROW[1:]]}, '"data[1]" must be a list of 10 numbers (age, sex,'),
        ({"data": [[*ROW, 1]]}, "not 11 values"),
        ({"data": [[*ROW[1:], "1"]]}, '"data[0][9]" must be a finite number, not "1"'),
        ({"data": [[*ROW[1:], None]]}, '"data[0][9]" must be a finite number, not null'),
        ({"data": [[*ROW[1:], True]]}, '"data[0][9]" must be a finite number, not true'),
        ({"data": [[*ROW[1:], float("nan")]]}, '"data[0][9]" must be a finite number, not NaN'),
        ({"data": [[*ROW[1:], 10**400]]}, '"data[0][9]" must be a finite number, not 1000'),
        ({"input_data": [ROW]}, '"input_data" must be an object'),
        ({"input_data": {"data": ROW}}, '"input_data.data[0]" must be a list of 10 numbers'),
        ({"input_data": {"data": [ROW], "index": [1, 2]}}, "one entry for each of the 1 rows"),
        ({"input_data": {"data": [ROW], "index": 1}}, "one entry for each of the 1 rows"),
        ({"input_data": {"data": [ROW], "columns": NAMES[1:]}}, '"input_data.columns" must be age, sex,'),
        ({"input_data": {"data": [ROW], "columns": [*NAMES[1:], "bmi"]}}, '"input_data.columns" must be age, sex,'),
        ({"input_data": {"data": [ROW], "columns": "age"}}, '"input_data.columns" must be age, sex,'),
    ],
)
def test_what_cannot_be_scored_answers_400_with_what_to_change_and_no_traceback(
    linear_model: Container, body: Any, message: str
) -> None:
    response = score(linear_model, body)

    assert response.status_code == 400
    assert message in response.json()["error"]
    assert response.headers["x-ms-run-function-failed"] == "False"
    assert "Traceback" not in response.text + linear_model.logs()


def test_a_model_in_a_folder_is_found(train: Callable[[int], tuple[Path, str]], start: Start) -> None:
    container = start(train(2)[0].parent, "2")

    assert score(container, SAMPLE).status_code == 200


def test_an_error_of_the_model_answers_500_and_its_traceback_is_in_the_logs_only(
    python: Path, start: Start, tmp_path: Path
) -> None:
    code = "import joblib, sys; from sklearn.linear_model import Ridge; m = Ridge(); m.n_features_in_ = 10;"
    subprocess.run([python, "-c", f"{code} joblib.dump(m, sys.argv[1])", tmp_path / "m.joblib"], check=True)
    container = start(tmp_path / "m.joblib", "1")

    response = score(container, SAMPLE)

    assert response.status_code == 500
    assert "coef_" not in response.text
    assert "AttributeError: 'Ridge' object has no attribute 'coef_'" in container.logs().split("Traceback", 1)[1]


@pytest.mark.parametrize("model", [None, SCORING / "sample-request.json"])
def test_without_a_model_the_container_crashes_and_says_where_it_has_looked(start: Start, model: Path | None) -> None:
    container = start(model, "1")

    holds = "nothing" if model is None else "sample-request.json"
    assert container.state is ContainerState.CRASHED
    assert f"expected one .joblib file in AZUREML_MODEL_DIR={container.spec.model_dir}, which holds: {holds}" in (
        container.logs()
    )


def test_a_model_of_other_features_is_refused_at_the_start(python: Path, start: Start, tmp_path: Path) -> None:
    code = "import joblib, sys; from sklearn.linear_model import Ridge;"
    fit = "joblib.dump(Ridge().fit([[1, 2], [3, 4]], [1, 2]), sys.argv[1])"
    subprocess.run([python, "-c", f"{code} {fit}", tmp_path / "m.joblib"], check=True)

    container = start(tmp_path / "m.joblib", "1")

    assert container.state is ContainerState.CRASHED
    assert "needs 2 features, but this script sends 10" in container.logs()
