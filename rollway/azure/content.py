"""The content of an online deployment: its settings, environment variables and files.

Settings have the names and units of Azure's YAML, whether they come from deployment.yml or from Azure.
"""

import hashlib
import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from azure.ai.ml._utils._asset_utils import (  # no public names; uploads use them
    get_ignore_file,
    get_upload_files_from_folder,
)
from azure.ai.ml.entities import Environment, Model, OnlineDeployment
from pydantic import JsonValue

from rollway.azure.entities import tags_of
from rollway.spec import AssetSpec, HiddenText, OnlineDeploymentSpec, is_remote

# Keys of deployment.yml that are not settings: they are outside the fingerprint, or enter it as resolved ids.
_NOT_SETTINGS = frozenset(
    {
        "$schema",
        "name",
        "endpoint_name",
        "model",
        "environment",
        "environment_variables",
        "instance_count",
        "tags",
        "properties",
        "description",
        "id",
        "provisioning_state",
    }
)
_NOT_DEFINITION = frozenset({"name", "version", "tags", "properties", "description", "conda_file"})
_CACHES = (
    "__pycache__",
    "*.pyc",
    ".DS_Store",
    ".ipynb_checkpoints",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".git",
    "Thumbs.db",
)
_SALT = b"rollway environment variables"


def spec_of(entity: OnlineDeployment, said: Mapping[str, Any], folder: Path) -> OnlineDeploymentSpec:
    """Return what deployment.yml and the files that it names say.

    Args:
        entity: The SDK's entity for the file.
        said: Content of the file.
        folder: The folder to which its paths are relative.
    """
    code = str(entity.code_configuration.code) if entity.code_configuration and entity.code_configuration.code else None
    environment, variables = _asset(entity.environment), variables_of(entity)
    if isinstance(entity.environment, Environment) and environment is not None:
        digest = _definition_sha256(said["environment"], entity.environment, folder)
        environment = environment.model_copy(update={"sha256": digest})
    return OnlineDeploymentSpec(
        name=entity.name,
        model=_asset(entity.model),
        environment=environment,
        code_sha256=_code_sha256(folder, code) if code else None,
        instance_count=entity.instance_count or 1,
        tags=tags_of(entity),
        settings=settings_of(entity, said),
        environment_variables=hidden(variables),
        variables_digest=_variables_digest(variables),
    )


def settings_of(entity: OnlineDeployment, said: Mapping[str, Any] | None = None) -> dict[str, JsonValue]:
    """Return the settings, without assets, code and environment variables.

    Args:
        said: Content of deployment.yml. Only its keys are returned, so that a default which a later SDK adds is no
            change. Default: all keys.
    """
    settings = _dumped(entity)
    if said is not None:
        settings = _said({key: value for key, value in said.items() if key not in _NOT_SETTINGS}, settings)
    if "code_configuration" in settings:
        settings["code_configuration"] = dict(_code_settings(settings["code_configuration"]))
    return settings


def variables_of(entity: OnlineDeployment) -> dict[str, str]:
    """Return the environment variables as the text that containers see, whatever type YAML gives them."""
    return {
        str(name): _text(value) for name, value in (entity.environment_variables or {}).items() if value is not None
    }


def hidden(variables: Mapping[str, str]) -> dict[str, HiddenText]:
    """Return the environment variables without their values."""
    return {name: HiddenText.of(value) for name, value in variables.items()}


def _asset(value: str | Model | Environment | None) -> AssetSpec | None:
    if value is None:
        return None
    if isinstance(value, str):
        return AssetSpec(reference=value)
    return AssetSpec(name=value.name, version=value.version)


def _code_sha256(folder: Path, code: str) -> str:
    return hashlib.sha256(code.lower().encode()).hexdigest() if is_remote(code) else _files_sha256(folder / code)


def _variables_digest(variables: Mapping[str, str]) -> str | None:
    """Return a hash of all environment variables together, the same on every machine; None if there are none.

    It is slow on purpose: the name of an online deployment shows a part of the fingerprint, and must not help to guess
    a short password.
    """
    if not variables:
        return None
    text = json.dumps(variables, sort_keys=True).encode()
    return hashlib.scrypt(text, salt=_SALT, n=2**12, r=8, p=1, dklen=32).hex()


def _files_sha256(path: Path) -> str:
    """Return a hash of the names and contents of the files that the SDK uploads from a folder, without caches."""
    digest = hashlib.sha256()
    for name, file in sorted(_files(path)):
        digest.update(f"{name}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _definition_sha256(said: Mapping[str, Any], environment: Environment, folder: Path) -> str:
    """Return a hash of the inline definition of an environment: its keys and the contents of its files."""
    definition = {key: value for key, value in said.items() if key not in _NOT_DEFINITION}
    definition["conda"] = _with_text_keys(environment.conda_file)
    build = definition.get("build")
    if build and build.get("path") and not is_remote(build["path"]):
        definition["build"] = {**build, "path": _files_sha256(folder / build["path"])}
    return hashlib.sha256(json.dumps(definition, sort_keys=True, default=str).encode()).hexdigest()


def _with_text_keys(value: Any) -> Any:
    """Return a YAML value whose keys can be sorted: `ON` and `yes` are booleans in YAML 1.1."""
    if isinstance(value, dict):
        return {str(key): _with_text_keys(one) for key, one in value.items()}
    return [_with_text_keys(one) for one in value] if isinstance(value, list) else value


def _dumped(entity: OnlineDeployment) -> dict[str, Any]:
    # The public `dump` writes the same to a file as YAML, several times slower.
    settings = {key: value for key, value in entity._to_dict().items() if key not in _NOT_SETTINGS}
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def _said(said: Any, dumped: Any) -> Any:
    """Return the SDK's values of the keys that the user wrote; the SDK converts types and letter case."""
    if isinstance(said, dict) and isinstance(dumped, dict):
        return {key: _said(value, dumped.get(key, value)) for key, value in said.items() if value not in (None, {})}
    if isinstance(said, list) and isinstance(dumped, list) and len(said) == len(dumped):
        return [_said(one, value) for one, value in zip(said, dumped, strict=True)]
    return dumped


def _code_settings(configuration: Mapping[str, Any]) -> Iterator[tuple[str, JsonValue]]:
    if script := configuration.get("scoring_script"):
        yield "scoring_script", posixpath.normpath(script)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield path.name, path
        return
    # With the SDK's own walk, the ignore rules and links mean the same here and in the upload.
    found: Any = get_upload_files_from_folder(os.fspath(path), ignore_file=get_ignore_file(os.fspath(path)))
    for file, name in found:
        if not any(fnmatch(part, cache) for part in name.split("/") for cache in _CACHES):
            yield name, Path(file)
