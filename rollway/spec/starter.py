"""The files of a new rollout folder, as texts."""

import json
import re

import yaml

from rollway.errors import ConfigurationError
from rollway.spec.folder import NAME_LIMITS, NAME_RULE
from rollway.spec.values import Frozen

INSTANCE_TYPE = "Standard_D2as_v4"
_SCHEMAS = "https://azuremlschemas.azureedge.net/latest"
_LONGEST_NAME = 32
_PREFIX = "azureml:"
_REFERENCE = re.compile(r"[A-Za-z0-9][\w.-]*[:@][A-Za-z0-9][\w.-]*")  # name:version or name@label


class Starter(Frozen):
    """The choices of a new folder. All paths are relative to it.

    Attributes:
        model: Reference of a registered model, such as azureml:churn:1; None if it is a local file or folder.
        model_path: The local file or folder of a model that is registered by its first rollout.
        code: The folder of an existing scoring script; None for a new script.
        script: Name of the scoring script.
        is_mlflow: Azure serves the model without a script and an environment.
        conda_file: An existing conda file; None for a new one.
        request_file: An existing request; None for a new one.
        schema_file: The JSON Schema of rollout.yml for editors, if there is one.
    """

    name: str
    model: str | None = None
    model_path: str | None = None
    code: str | None = None
    script: str = "score.py"
    is_mlflow: bool = False
    conda_file: str | None = None
    request_file: str | None = None
    instance_type: str = INSTANCE_TYPE
    instance_count: int = 1
    schema_file: str | None = None


def as_reference(text: str) -> str | None:
    """Return a text such as churn:1, churn@latest or azureml:churn:1 as deployment.yml takes it, or None."""
    named = text.removeprefix(_PREFIX)
    is_id = text.startswith(f"{_PREFIX}/")  # of a resource, or of an asset in a registry
    return f"{_PREFIX}{named}" if is_id or _REFERENCE.fullmatch(named) else None


def require_name(name: str) -> None:
    """Raise ConfigurationError, with a name that is close, unless an endpoint can have the name."""
    if NAME_RULE.fullmatch(name) is None:
        close = close_name(name)
        raise ConfigurationError(
            f"{name!r} cannot be the name of an endpoint",
            where="the name of the folder, which is the name of the endpoint, too",
            why=f"Azure allows {NAME_LIMITS}",
            hint=f"use {close}" if close else "choose another one, such as churn",
        )


def close_name(name: str) -> str | None:
    """Return a valid name of an endpoint that is close to `name`, or None."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", name)
    close = re.sub(r"^[^A-Za-z]+", "", words)[:_LONGEST_NAME].rstrip("-")
    return close if NAME_RULE.fullmatch(close) else None


def texts(starter: Starter) -> dict[str, str]:
    """Return the text of each file by its path in the folder."""
    files = {"endpoint.yml": _endpoint(starter), "deployment.yml": _online_deployment(starter)}
    if not starter.is_mlflow:
        if starter.code is None:
            files["code/score.py"] = _SCRIPT
        if starter.conda_file is None:
            files["conda.yaml"] = _conda(starter)
    if starter.request_file is None:
        example = {"input_data": {"columns": ["x"], "index": [0], "data": [[0.0]]}}
        files["request.json"] = json.dumps(example if starter.is_mlflow else {"data": [[0.0]]}) + "\n"
    return {**files, "rollout.yml": _rollout(starter)}


def scalar(text: str) -> str:
    """Return a text as it is written in YAML, with quotes where YAML would read something else."""
    try:
        is_plain = yaml.safe_load(f"key: {text}") == {"key": text} and yaml.safe_load(f"[{text}]") == [text]
    except yaml.YAMLError:
        is_plain = False
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _endpoint(starter: Starter) -> str:
    return f"""\
$schema: {_SCHEMAS}/managedOnlineEndpoint.schema.json
name: {scalar(starter.name)} # unique in the region
auth_mode: key
"""


def _online_deployment(starter: Starter) -> str:
    lines = [
        f"$schema: {_SCHEMAS}/managedOnlineDeployment.schema.json",
        f"name: {scalar(starter.name)}",
        f"endpoint_name: {scalar(starter.name)}",
        *_model(starter),
    ]
    if not starter.is_mlflow:
        lines += [
            "code_configuration:",
            f"  code: {scalar(starter.code or 'code')} # the whole folder is uploaded",
            f"  scoring_script: {scalar(starter.script)}",
            "environment:",
            f"  name: {starter.name}-inference",
            "  image: mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
            f"  conda_file: {scalar(starter.conda_file or 'conda.yaml')}",
        ]
    lines += [
        f"instance_type: {scalar(starter.instance_type)}",
        f"instance_count: {starter.instance_count}",
        "request_settings:",
        "  request_timeout_ms: 5000",
        "  max_concurrent_requests_per_instance: 1 # more, if WORKER_COUNT in environment_variables is more",
    ]
    return "".join(f"{line}\n" for line in lines)


def _model(starter: Starter) -> list[str]:
    if starter.model_path is None:
        return [f"model: {scalar(starter.model or '')}"]
    kind = ["  type: mlflow_model"] if starter.is_mlflow else []
    return [
        "model: # the first rollout registers it",
        f"  name: {scalar(starter.name)}",
        f"  path: {scalar(starter.model_path)}",
        *kind,
    ]


def _conda(starter: Starter) -> str:
    own = _SKLEARN if starter.code is None else ["# the packages that the scoring script imports"]
    lines = [
        "# Packages of the endpoint's container. A pickled model needs the versions with which it was saved.",
        f"name: {starter.name}-inference",
        "channels:",
        "  - conda-forge",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        "      - azureml-inference-server-http>=1.5,<2",
        *(f"      {line}" for line in own),
    ]
    return "".join(f"{line}\n" for line in lines)


def _rollout(starter: Starter) -> str:
    schema = [f"# yaml-language-server: $schema={starter.schema_file}"] if starter.schema_file else []
    is_known = starter.code is None and not starter.is_mlflow
    body = "body: {type: object, required: [predictions]}" if is_known else "# body: {type: object, required: [...]}"
    lines = [
        *schema,
        "strategy: blue_green # create at weight 0, smoke-test, move all traffic, smoke-test again",
        "smoke_test:",
        f"  request_file: {scalar(starter.request_file or 'request.json')}",
        "  expect:",
        "    max_latency_seconds: 5",
        f"    {body} # a JSON Schema of the answer",
        "keep_replaced_seconds: 3600 # what was replaced stays for an hour, to go back to in one write",
    ]
    return "".join(f"{line}\n" for line in lines)


_SKLEARN = ["- joblib==1.6.0", "- numpy==2.4.6", "- scikit-learn==1.9.1"]  # those of scoring/diabetes

_SCRIPT = '''\
"""Scoring script: the inference server calls `init()` once per worker and `run()` for each request."""

import json
import os
from pathlib import Path

import joblib

model = None


def init():
    """Load the model. If this raises, the online deployment does not become ready, and gets no traffic."""
    global model
    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".joblib", ".pkl")]
    if len(files) != 1:
        raise FileNotFoundError(f"expected one .joblib or .pkl file in {folder}, found {files}")
    model = joblib.load(files[0])


def run(raw_data):
    """Return the predictions for a body such as {"data": [[1.0, 2.0], [3.0, 4.0]]}, a row of features for each."""
    rows = json.loads(raw_data)["data"]
    return {"predictions": model.predict(rows).tolist()}
'''
