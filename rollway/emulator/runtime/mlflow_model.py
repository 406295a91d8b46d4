"""MLflow models without a scoring script: what is needed to serve them, from the files of the model's folder."""

import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from rollway.emulator.runtime.images import ImageBuildFailed

SCRIPT = "mlflow_score_script.py"
# What Azure adds to the model's own environment (how-to-deploy-mlflow-models-online-endpoints); the data collector is
# what its script imports. pandas: requests are data frames, and mlflow-skinny does not need it.
ADDED_PACKAGES = ("azureml-inference-server-http", "azureml-ai-monitoring", "pandas")
MLFLOW_PACKAGES = ("mlflow", "mlflow-skinny")
_NAME = re.compile(r"(?:[\w./-]+::)?([A-Za-z0-9][\w.-]*)")


def conda_file(model: Path) -> str:
    """Return the conda file of the environment that serves an MLflow model: the model's own, with what Azure adds.

    A model without a conda file has the packages of its requirements.txt, which is our choice. Raises ImageBuildFailed
    with code BadArgument if Azure cannot serve the model without a script.
    """
    flavor = _read_flavor(model)
    environment = flavor.get("env")  # a file name; since MLflow 2.0, a file name per tool
    name = environment.get("conda") if isinstance(environment, dict) else environment
    document = _read_yaml(model / Path(str(name or "conda.yaml")).name)
    if document is None:
        document = {"dependencies": _read_requirements(model, flavor)}
    dependencies = document.get("dependencies")
    if not isinstance(dependencies, list):
        raise _refused(f"{name} has no list of `dependencies`")
    lines = [line for one in dependencies for line in (one.get("pip") or [] if isinstance(one, dict) else [one])]
    names = {found[1].lower() for line in lines if (found := _NAME.match(str(line)))}
    added = [one for one in ADDED_PACKAGES if one not in names]
    if not names & set(MLFLOW_PACKAGES):
        added.append("mlflow-skinny")
    if added:
        dependencies = [*dependencies, {"pip": added}]
    return yaml.safe_dump({**document, "dependencies": dependencies}, sort_keys=False)


def write_script(folder: Path) -> Path:
    """Write the scoring script into the folder `mlflow_resources`, which is then the code, and return that folder."""
    code = folder / "mlflow_resources"
    code.mkdir(exist_ok=True)
    shutil.copyfile(Path(__file__).with_name(SCRIPT), code / SCRIPT)
    return code


def _read_flavor(model: Path) -> dict[str, Any]:
    """Return the python_function flavor, the only one that Azure serves without a script."""
    description = _read_yaml(model / "MLmodel")
    if description is None:
        raise _refused("it has no file MLmodel in its folder")
    flavors = description.get("flavors")
    flavor = flavors.get("python_function") if isinstance(flavors, dict) else None
    if not isinstance(flavor, dict):
        raise _refused("it has no python_function flavor; give it a scoring script and an environment")
    return flavor


def _read_requirements(model: Path, flavor: dict[str, Any]) -> list[Any]:
    path = model / "requirements.txt"
    if not path.is_file():
        raise _refused("it has neither a conda file nor a requirements.txt")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    python = flavor.get("python_version")
    return [*([f"python={python}"] if python else []), {"pip": wanted}]


def _read_yaml(path: Path) -> dict[str, Any] | None:
    """Return the mapping in a YAML file, or None if there is no such file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, yaml.YAMLError) as exc:
        raise _refused(f"{path.name} cannot be read: {exc}") from exc
    if not isinstance(content, dict):
        raise _refused(f"{path.name} is not a mapping")
    return content


def _refused(reason: str) -> ImageBuildFailed:
    text = f"The MLflow model cannot be served without a scoring script: {reason}."
    return ImageBuildFailed(text, text, "BadArgument")
