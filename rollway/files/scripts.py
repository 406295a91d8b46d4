"""The scoring script that deployment.yml names, checked before anything is created.

azure-ai-ml parses it too, but later, as Python whatever it is, and with an error that hides the reason. So the creation
skips that check (`rollway.azure.online_deployments`).
"""

import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rollway.spec import Problem, did_you_mean, is_remote, missing_functions

FIELD = "code_configuration.scoring_script"


def check_script(path: Path, raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the problem of the scoring script: it is missing, no valid Python, or lacks a function that is needed.

    Args:
        path: The deployment.yml; paths in it are relative to it.
        raw: Its content.
    """
    root, script = _script_of(path.parent, raw)
    if root is None or script is None:
        return
    file = root / script
    if posixpath.isabs(script) or posixpath.normpath(script).startswith(".."):
        message = f"{script!r} is outside of {root}, and only that folder is uploaded: move it there"
        yield Problem(file=str(path), field=FIELD, message=message)
        return
    if not file.is_file():
        scripts = [str(found.relative_to(root)) for found in root.rglob("*.py") if found.is_file()]
        message = f"there is no {script} in {root}{did_you_mean(script, scripts)}"
        yield Problem(file=str(path), field=FIELD, message=message)
        return
    try:
        missing = _missing_in(file)
    except (OSError, ValueError) as error:
        message = f"{file} {error}" if isinstance(error, ValueError) else f"{file} cannot be read: {error}"
        yield Problem(file=str(path), field=FIELD, message=message)
        return
    if missing and needs_functions(raw.get("environment")) is True:
        message = f"{file} has no {_calls(missing)}: the inference server calls init() once and run(data) per request"
        yield Problem(file=str(path), field=FIELD, message=message)


def possibly_missing(folder: Path, raw: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the functions that the script lacks, if the file does not tell whether its environment needs them.

    Args:
        folder: The folder to which paths in deployment.yml are relative.
        raw: Content of a deployment.yml without problems.
    """
    root, script = _script_of(folder, raw)
    if root is None or script is None or needs_functions(raw.get("environment")) is not None:
        return ()
    return _missing_in(root / script)


def _calls(functions: tuple[str, ...]) -> str:
    return " and no ".join(f"{name}()" for name in functions)


def _script_of(folder: Path, raw: Mapping[str, Any]) -> tuple[Path | None, str | None]:
    """Return the code folder and the script in it, None if they are not there to be read."""
    configuration = raw.get("code_configuration")
    if not isinstance(configuration, Mapping):
        return None, None
    code, script = configuration.get("code"), configuration.get("scoring_script")
    if not isinstance(code, str) or not isinstance(script, str) or is_remote(code):
        return None, None
    return (folder / code, script) if (folder / code).is_dir() else (None, None)


def _missing_in(file: Path) -> tuple[str, ...]:
    return missing_functions(file.read_bytes()) if file.suffix == ".py" else ()  # plumber.R is for another server


def needs_functions(environment: object) -> bool | None:
    """Return True if Microsoft's inference server runs the script: the image has no routes of its own.

    None if that is unknown: only Azure knows an environment by its name, and a Dockerfile may start anything.
    """
    if not isinstance(environment, Mapping):
        return None
    if environment.get("inference_config"):
        return False
    return None if environment.get("build") else True
