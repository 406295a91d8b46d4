"""The local files that deployment.yml names; paths are relative to it, as for Azure's CLI."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from rollway.files.scripts import check_script, needs_functions
from rollway.files.yaml_files import parse_yaml, yaml_fault
from rollway.spec import Problem, did_you_mean, is_remote

CONDA_FILE = "environment.conda_file"
_CONDA_KEYS = ("name", "channels", "dependencies", "variables", "prefix", "platforms")
_SERVERS = ("azureml-inference-server-http", "azureml-defaults")  # packages that bring Microsoft's inference server
_PACKAGE = re.compile(r"\s*(?:[\w./-]+::)?([A-Za-z0-9][\w.-]*)")


def absent(path: Path) -> str:
    """Return the words for a file or folder that is not there."""
    return f"there is no {path}{neighbour(path)}"


def neighbour(path: Path) -> str:
    """Return a hint to a file or folder beside one that is not there, or an empty text."""
    return did_you_mean(path.name, [one.name for one in path.parent.iterdir()]) if path.parent.is_dir() else ""


def nested(raw: Any, field: str) -> Any:
    """Return the value at a dotted path; None if there is none."""
    for key in field.split("."):
        if isinstance(raw, list) and key.isdecimal() and int(key) < len(raw):
            raw = raw[int(key)]
        else:
            raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def check_local_files(path: Path, raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield problems of the local files that a deployment.yml names.

    Args:
        path: The deployment.yml.
        raw: Its content.
    """
    for field in ("model.path", "environment.build.path", "code_configuration.code"):
        value = nested(raw, field)
        if isinstance(value, str) and not is_remote(value) and not (path.parent / value).exists():
            yield Problem(file=str(path), field=field, message=absent(path.parent / value))
    code = nested(raw, "code_configuration.code")
    if isinstance(code, str) and (path.parent / code).is_file():
        message = f"{path.parent / code} is a file: name the folder that holds the scoring script"
        yield Problem(file=str(path), field="code_configuration.code", message=message)
    for message in _conda_faults(path.parent, raw):
        yield Problem(file=str(path), field=CONDA_FILE, message=message)
    build, dockerfile = nested(raw, "environment.build.path"), nested(raw, "environment.build.dockerfile_path")
    if isinstance(build, str) and not is_remote(build) and (path.parent / build).is_dir():
        wanted = path.parent / build / (dockerfile if isinstance(dockerfile, str) else "Dockerfile")
        if not wanted.is_file():
            yield Problem(file=str(path), field="environment.build.dockerfile_path", message=absent(wanted))
    yield from check_script(path, raw)


def lacks_server(folder: Path, raw: Mapping[str, Any]) -> bool:
    """Return True if the conda file names no package that brings the server which the scoring script needs.

    Another package may bring it, so this is no proof.

    Args:
        folder: The folder to which paths in deployment.yml are relative.
        raw: Content of a deployment.yml without problems.
    """
    given = nested(raw, CONDA_FILE)
    if not raw.get("code_configuration") or needs_functions(raw.get("environment")) is not True or given is None:
        return False
    document = given if isinstance(given, dict) else parse_yaml((folder / given).read_text(encoding="utf-8"))
    dependencies = document.get("dependencies") if isinstance(document, dict) else None
    lines = list(_lines(dependencies))
    is_open = any(line.lstrip().startswith(("-", "git+", "http", ".", "/")) for line in lines)  # another file, or a URL
    names = {match[1].lower().replace("_", "-") for line in lines if (match := _PACKAGE.match(line))}
    return not is_open and not names.intersection(_SERVERS)


def _lines(dependencies: object) -> Iterator[str]:
    """Yield the packages of a conda file, those of pip included."""
    for one in dependencies if isinstance(dependencies, list) else []:
        if isinstance(one, dict):
            for inner in one.values():
                yield from _lines(inner)
        else:
            yield str(one)


def _conda_faults(folder: Path, raw: Mapping[str, Any]) -> Iterator[str]:
    given = nested(raw, CONDA_FILE)
    if not isinstance(given, str):
        return
    file = folder / given
    if not file.is_file():
        yield f"{file} is a folder" if file.is_dir() else absent(file)
        return
    try:
        document = parse_yaml(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        yield f"{file} {yaml_fault(error)}"
        return
    except (OSError, ValueError) as error:
        yield f"{file} cannot be read: {error}"
        return
    keys = [str(key) for key in document] if isinstance(document, dict) else []
    misspelt = [(key, hint) for key in keys if key not in _CONDA_KEYS and (hint := did_you_mean(key, _CONDA_KEYS))]
    for key, hint in misspelt:  # conda ignores a key that it does not know
        yield f"{file}: {key}: unknown key{hint}"
    if not isinstance(document, dict) or (not misspelt and not isinstance(document.get("dependencies"), list)):
        yield f"{file} is no conda file: it has no list of dependencies, such as dependencies: [python=3.11]"
