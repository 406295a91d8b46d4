"""Scoring script of a diabetes model on an Azure ML online endpoint: `init()` per worker, `run()` per request.

The answer is `{"predictions": [float, ...], "model_version": "..."}`; a prediction is the disease progression after one
year. The answer to invalid input is 400 with `{"error": "..."}`. All other errors are left to the inference server,
which answers 500 and logs the traceback.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import joblib
from azureml_inference_server_http.api.aml_response import AMLResponse

FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")

model: Any = None
model_version = ""


def init() -> None:
    """Load the model; raise, so that the container does not start, if it is missing or needs other features."""
    global model, model_version  # noqa: PLW0603 - the inference server's contract: init() prepares what run() uses
    model_dir = Path(os.environ["AZUREML_MODEL_DIR"])
    model_version = model_dir.name  # .../azureml-models/<name>/<version>
    path = find_model(model_dir)
    model = joblib.load(path)
    if model.n_features_in_ != len(FEATURES):
        raise ValueError(f"{path} needs {model.n_features_in_} features, but this script sends {len(FEATURES)}")
    print(f"Loaded {path}, model version {model_version}")


def find_model(model_dir: Path) -> Path:
    """Return the only .joblib file below `model_dir`: at its top for a file model, deeper for a folder model."""
    files = sorted(model_dir.rglob("*.joblib"))
    if len(files) != 1:
        there = ", ".join(str(path.relative_to(model_dir)) for path in sorted(model_dir.rglob("*"))) or "nothing"
        raise FileNotFoundError(f"expected one .joblib file in AZUREML_MODEL_DIR={model_dir}, which holds: {there}")
    return files[0]


def run(raw_data: str) -> Any:
    """Return the predictions for the rows of a JSON request body."""
    try:
        rows = parse(raw_data)
    except BadInput as exc:
        return AMLResponse({"error": str(exc)}, 400, json_str=True)
    return {"predictions": [float(value) for value in model.predict(rows)], "model_version": model_version}


class BadInput(ValueError):
    """The request cannot be scored; the text tells the client what to change."""


def parse(text: str) -> list[list[float]]:
    """Return rows of finite floats in the order of FEATURES; raise BadInput if the body is invalid.

    There are two forms: `{"data": [[...], ...]}`, with the values in the order of FEATURES, and pandas' split form
    `{"input_data": {"columns": [...], "index": [...], "data": [[...], ...]}}`. Its columns are the names of the
    features in any order, or 0 to 9. Columns and index are optional.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError) as exc:  # RecursionError: nested too deeply
        raise BadInput(f"the body is not JSON: {exc}") from exc
    if not isinstance(body, dict) or len(body.keys() & {"data", "input_data"}) != 1:
        raise BadInput('the body must be an object with either "data" or "input_data"')
    if "data" in body:
        return _rows(body["data"], "data")
    table = body["input_data"]
    if not isinstance(table, dict) or "data" not in table:
        raise BadInput('"input_data" must be an object with "columns", "index" and "data"')
    rows = _rows(table["data"], "input_data.data")
    index = table.get("index", rows)
    if not isinstance(index, list) or len(index) != len(rows):
        raise BadInput(f'"input_data.index" must be a list with one entry for each of the {len(rows)} rows')
    order = _order(table.get("columns", list(FEATURES)))
    return [[row[position] for position in order] for row in rows]


def _order(columns: Any) -> list[int]:
    """Return the position of each of FEATURES in a row."""
    for names in (list(FEATURES), list(range(len(FEATURES)))):
        if isinstance(columns, list) and len(columns) == len(names) and all(name in columns for name in names):
            return [columns.index(name) for name in names]
    raise BadInput(f'"input_data.columns" must be {", ".join(FEATURES)}, each once, or 0 to {len(FEATURES) - 1}')


def _rows(data: Any, where: str) -> list[list[float]]:
    if not isinstance(data, list) or not data:
        raise BadInput(f'"{where}" must be a list of at least one row')
    return [_row(row, f"{where}[{number}]") for number, row in enumerate(data)]


def _row(row: Any, where: str) -> list[float]:
    if not isinstance(row, list) or len(row) != len(FEATURES):
        count = f"{len(row)} values" if isinstance(row, list) else json.dumps(row)[:40]
        raise BadInput(f'"{where}" must be a list of {len(FEATURES)} numbers ({", ".join(FEATURES)}), not {count}')
    return [_number(value, f"{where}[{position}]") for position, value in enumerate(row)]


def _number(value: Any, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise BadInput(f'"{where}" must be a finite number, not {json.dumps(value)[:40]}')
