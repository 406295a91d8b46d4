"""Online deployments without scoring script and environment: Azure makes them for MLflow and Triton models only."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rollway.spec import Problem, is_remote

FLAVOR = "python_function"


def check_no_code(path: Path, raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problem of a script without an environment, or of a model that cannot be served without both.

    The type of a registered model is known to Azure only.

    Args:
        path: The deployment.yml; paths in it are relative to it.
        raw: Its content.
    """
    code, environment, model = (raw.get(key) for key in ("code_configuration", "environment", "model"))
    if code and environment is None:
        message = "is missing: Azure provides one only for MLflow models without code_configuration"
        yield Problem(file=str(path), field="environment", message=message)
    if code or environment is not None or isinstance(model, str):
        return
    kind = model.get("type", "custom_model") if isinstance(model, Mapping) else "custom_model"
    if kind == "custom_model":
        message = "is missing, and so is environment: only a model with `type: mlflow_model` is served without both"
        yield Problem(file=str(path), field="code_configuration", message=message)
    elif kind == "mlflow_model" and isinstance(model, Mapping):
        yield from _check_folder(path, model.get("path"))


def _check_folder(path: Path, given: object) -> Iterator[Problem]:
    """Yield the problem of a local folder without an MLflow model that Azure can serve."""
    if not isinstance(given, str) or is_remote(given) or not (path.parent / given).exists():
        return
    file = path.parent / given / "MLmodel"
    try:
        description = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        message = f"{path.parent / given} is no MLflow model: it has no file MLmodel"
        yield Problem(file=str(path), field="model.path", message=message)
        return
    except (OSError, ValueError, yaml.YAMLError):
        yield Problem(file=str(path), field="model.path", message=f"{file} cannot be read as YAML")
        return
    flavors = description.get("flavors") if isinstance(description, dict) else None
    if not isinstance(flavors, dict) or FLAVOR not in flavors:
        message = f"{file} has no {FLAVOR} flavor: give the model a scoring script and an environment"
        yield Problem(file=str(path), field="model.path", message=message)
