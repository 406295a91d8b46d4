"""Scoring script of MLflow models that have none. It runs inside the container; the emulator never imports it.

It takes the same inputs, converts them the same way and fails at the same ones as the script that Azure generates
(Azure/azureml-assets, environments/mlflow-py312-inference). A request is `{"input_data": ..., "params": {...}}`. The
form of `input_data` depends on the model's input example, or else on its signature:

- columns: a data frame in the split orientation, `{"columns": [...], "index": [...], "data": [...]}`;
- a tensor: nested lists. Named tensors: an object of nested lists;
- unknown: nested lists, a data frame with `columns`, `index` and `data`, or named tensors.

It runs on Python 3.8 and later, because the model's environment chooses the version.
"""

from __future__ import annotations

import inspect
import io
import json
import logging
import os
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from azureml.ai.monitoring import Collector
from inference_schema.parameter_types.abstract_parameter_type import AbstractParameterType
from inference_schema.parameter_types.numpy_parameter_type import NumpyParameterType
from inference_schema.parameter_types.pandas_parameter_type import PandasParameterType
from inference_schema.parameter_types.standard_py_parameter_type import StandardPythonParameterType
from inference_schema.schema_decorators import input_schema, output_schema
from mlflow.models import Model

log = logging.getLogger("azmlinfsrv.mlflow")

FOLDER = Path(os.environ["AZUREML_MODEL_DIR"], os.environ["MLFLOW_MODEL_FOLDER"])


class AnyParameterType(AbstractParameterType):  # type: ignore[misc] # inference_schema has no types
    """A parameter whose form is unknown. It is passed on as it is."""

    def __init__(self) -> None:
        super().__init__(None)

    def deserialize_input(self, input_data: Any) -> Any:
        return input_data

    def input_to_swagger(self) -> dict[str, Any]:
        return {"type": "object", "example": {}}


def read_example(description: Model) -> Any:
    """Return the input example that was saved with the model, as arrays or a data frame, or None."""
    try:
        information = description.saved_input_example_info
        if not information:
            return None
        content = json.loads((FOLDER / information["artifact_path"]).read_text())
        if information["type"] == "dataframe":
            return read_frame(content, "split" if "columns" in content else "values")
        if information["type"] == "ndarray":
            tensors = content["inputs"]
            return to_arrays(tensors) if isinstance(tensors, dict) else np.asarray(tensors)
    except Exception as error:  # noqa: BLE001 - a broken example is not needed
        log.warning("the model's input example cannot be used: %s", error)
        return None
    return content


def sample_of(schema: Any) -> Any:
    """Return a value of the form that a signature's schema describes: an array, named arrays, or a data frame."""
    if schema.is_tensor_spec():
        arrays = {}
        for number, spec in enumerate(schema.inputs):
            first, *others = spec.shape or (1,)
            # -1 as the first size stands for any number of rows.
            arrays[spec.name or number] = np.zeros((1 if first == -1 else first, *others), dtype=spec.type)
        return arrays if schema.has_input_names() else arrays[0]
    names = schema.input_names()
    types = dict(zip(names, schema.pandas_types()))  # noqa: B905 - `strict` is Python 3.10
    return pd.DataFrame(columns=names).astype(types)


def parameter_type(sample: Any, orient: str) -> AbstractParameterType:
    """Return the type that converts a parameter to the form of `sample`. `orient` is that of data frames."""
    if isinstance(sample, np.ndarray):
        return NumpyParameterType(sample, enforce_shape=False)
    if isinstance(sample, pd.DataFrame):
        return PandasParameterType(sample, enforce_shape=False, orient=orient)
    if isinstance(sample, dict):
        arrays = {name: NumpyParameterType(array, enforce_shape=False) for name, array in sample.items()}
        return StandardPythonParameterType(arrays)
    return AnyParameterType()


def params_type(signature: Any) -> AbstractParameterType:
    """Return the type of the request's `params`, with the defaults of the signature as example."""
    schema = getattr(signature, "params", None)  # since MLflow 2.6
    if not schema:
        return AnyParameterType()
    return StandardPythonParameterType({one.name: one.default for one in schema.params})


def to_arrays(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return named tensors as arrays."""
    return {name: np.asarray(tensor) for name, tensor in tensors.items()}


def read_frame(content: Any, orient: str) -> pd.DataFrame:
    """Return the data frame in a JSON value."""
    return pd.read_json(io.StringIO(json.dumps(content)), orient=orient, dtype=False)


def guess_form(value: Any) -> Any:
    """Return the input of a model whose input has no known form."""
    if isinstance(value, str):
        value = json.loads(value)
    if "input_data" in value:
        value = value["input_data"]
    if isinstance(value, list):
        return np.asarray(value)
    if {"columns", "index", "data"} <= value.keys():
        return read_frame(value, "split")
    return to_arrays(value)


def to_json(result: Any) -> Any:
    """Return a prediction as a value that can be JSON; data frames become lists of records."""
    if isinstance(result, np.ndarray):
        return result.tolist()
    if isinstance(result, pd.Series):
        result = pd.DataFrame(result)
    return result.to_dict(orient="records") if isinstance(result, pd.DataFrame) else result


def open_collector(name: str) -> Collector | None:
    """Return the data collector of a collection, or None if the online deployment does not collect it."""
    try:
        return Collector(name=name)
    except Exception as error:  # noqa: BLE001 - the package raises Exception itself
        log.info("%s are not collected: %s", name, error)
        return None


def collect(collector: Collector | None, data: Any, context: Any = None) -> Any:
    """Collect a data frame and return the context that relates inputs and outputs. A failure is only logged."""
    if collector is None:
        return context
    try:
        return collector.collect(data, context)
    except Exception as error:  # noqa: BLE001 - the prediction matters more
        log.error("the data collector failed: %s", error)
        return context


description = Model.load(str(FOLDER))
signature = description.signature
example = read_example(description)
if example is None and signature is not None:
    example = sample_of(signature.inputs)
output_sample = sample_of(signature.outputs) if signature is not None and signature.outputs else None
model = mlflow.pyfunc.load_model(str(FOLDER))
takes_params = "params" in inspect.signature(model.predict).parameters  # since MLflow 2.6
collectors: dict[str, Collector | None] = {}


def init() -> None:
    """Start the data collector."""
    for name in ("model_inputs", "model_outputs"):
        collectors[name] = open_collector(name)


@input_schema("input_data", parameter_type(example, "split"))  # type: ignore[untyped-decorator]
@input_schema("params", params_type(signature), optional=True)  # type: ignore[untyped-decorator]
@output_schema(parameter_type(output_sample, "records"))  # type: ignore[untyped-decorator]
def run(input_data: Any, params: Any = None) -> Any:
    """Return the model's prediction."""
    is_tensors = isinstance(input_data, dict) and any(isinstance(one, np.ndarray) for one in input_data.values())
    if not is_tensors and not isinstance(input_data, (np.ndarray, pd.DataFrame)):
        input_data = guess_form(input_data)
    context = collect(collectors["model_inputs"], input_data)
    result = model.predict(input_data, params=params) if takes_params else model.predict(input_data)
    collect(collectors["model_outputs"], pd.DataFrame(result), context)
    return to_json(result)
