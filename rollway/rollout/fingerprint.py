"""The fingerprint: a hash of everything that decides what an online deployment *is*.

It names its scheme, as in `1:<64 hex digits>`. What Rollway made with an earlier scheme is still recognised.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from pydantic import JsonValue

from rollway.spec import AssetSpec, OnlineDeploymentSpec

MAX_NAME_LENGTH = 32
SUFFIX_LENGTH = 8
# The place of a name while a model or an environment has no id yet. No online deployment can have it.
NAME_AFTER_REGISTRATION = "(known after registration)"

_VERSION = re.compile(r"(/(versions|labels)/[^/]+|[:@][^:@/]+)$", re.IGNORECASE)


def fingerprint(spec: OnlineDeploymentSpec, model_id: str | None, environment_id: str | None) -> str:
    """Return the fingerprint over model, environment, code and settings, but not instance count, tags or description.

    The case of ids does not count, because Azure ignores it, nor does the order of keys.
    """
    current = max(SCHEMES)
    return f"{current}:{SCHEMES[current](spec, model_id, environment_id)}"


def is_same_content(
    recorded: str, spec: OnlineDeploymentSpec, model_id: str | None, environment_id: str | None
) -> bool:
    """Return True if a recorded fingerprint, of any known scheme, is the one of this content."""
    number, _, digits = recorded.rpartition(":")
    scheme = {str(one): scheme for one, scheme in SCHEMES.items()}.get(number)
    return scheme is not None and scheme(spec, model_id, environment_id) == digits


def folder_digest(spec: OnlineDeploymentSpec) -> str:
    """Return 8 hex digits over everything in a folder that decides what its online deployment is, except the version
    of the model.
    """
    model = spec.model
    name = _VERSION.sub("", model.reference) if model and model.reference else model and model.name
    return _sha256({"model": (name or "").lower(), "environment": _definition(spec.environment), **_files(spec)})[
        :SUFFIX_LENGTH
    ]


def digest_of(text: str) -> str:
    """Return 8 hex digits over a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def online_deployment_name(base: str, digest: str, force: str = "") -> str:
    """Return `<base>-<first 8 hex digits>` in lower case, with the base cut so that it has at most 32 characters.

    Azure lower-cases names in traffic maps.

    Args:
        base: Name in deployment.yml.
        digest: The fingerprint.
        force: If not empty, a text that gives the same content another name.
    """
    digits = digest.rpartition(":")[2]
    suffix = hashlib.sha256(f"{digits} {force}".encode()).hexdigest() if force else digits
    return f"{base[: MAX_NAME_LENGTH - SUFFIX_LENGTH - 1].rstrip('-').lower()}-{suffix[:SUFFIX_LENGTH]}"


def _first(spec: OnlineDeploymentSpec, model_id: str | None, environment_id: str | None) -> str:
    """The keys that deployment.yml has, and the contents of the files that it names."""
    return _sha256({**_ids(model_id, environment_id), **_files(spec)})


Scheme: TypeAlias = Callable[[OnlineDeploymentSpec, str | None, str | None], str]
# A new scheme gets the next number. An earlier one never changes: Azure holds what it made.
SCHEMES: Mapping[int, Scheme] = {1: _first}


def _ids(model_id: str | None, environment_id: str | None) -> dict[str, JsonValue]:
    return {"model": (model_id or "").lower(), "environment": (environment_id or "").lower()}


def _files(spec: OnlineDeploymentSpec) -> dict[str, JsonValue]:
    return {
        "code": spec.code_sha256,
        "settings": _without_case_of_ids(spec.settings),
        "environment_variables": spec.variables_digest,
    }


def _definition(environment: AssetSpec | None) -> JsonValue:
    if environment is None:
        return None
    texts = (environment.reference, environment.name, environment.version, environment.sha256)
    return [text.lower() if text else None for text in texts]


def _without_case_of_ids(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _without_case_of_ids(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_case_of_ids(one) for one in value]
    is_id = isinstance(value, str) and value.lower().startswith(("/subscriptions/", "azureml:"))
    return str(value).lower() if is_id else value


def _sha256(content: Mapping[str, JsonValue]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
