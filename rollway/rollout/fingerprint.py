"""The fingerprint: a hash of everything that decides what an online deployment *is*."""

import hashlib
import json
from collections.abc import Mapping

from pydantic import JsonValue

from rollway.spec import OnlineDeploymentSpec

MAX_NAME_LENGTH = 32
SUFFIX_LENGTH = 8


def fingerprint(spec: OnlineDeploymentSpec, model_id: str | None, environment_id: str | None) -> str:
    """Return 64 hex digits over model, environment, code and settings, but not instance count, tags or description.

    The case of ids does not count, because Azure ignores it, nor does the order of keys.
    """
    identity: Mapping[str, JsonValue] = {
        "model": (model_id or "").lower(),
        "environment": (environment_id or "").lower(),
        "code": spec.code_sha256,
        "settings": spec.settings,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_same_content(
    recorded: str, spec: OnlineDeploymentSpec, model_id: str | None, environment_id: str | None
) -> bool:
    """Return True if a recorded fingerprint is that of this content."""
    return recorded == fingerprint(spec, model_id, environment_id)


def digest_of(text: str) -> str:
    """Return 8 hex digits over a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_digest(spec: OnlineDeploymentSpec) -> str:
    """Return 8 hex digits over everything in the folder that decides what it is, except the model version."""
    return fingerprint(spec, None, None)[:8]


def online_deployment_name(base: str, digest: str, force: str = "") -> str:
    """Return `<base>-<first 8 hex digits>` in lower case, with the base cut so that it has at most 32 characters.

    Azure lower-cases names in traffic maps.

    Args:
        base: Name in deployment.yml.
        digest: The fingerprint.
        force: If not empty, a text that gives the same content another name.
    """
    suffix = hashlib.sha256(f"{digest} {force}".encode()).hexdigest() if force else digest
    return f"{base[: MAX_NAME_LENGTH - SUFFIX_LENGTH - 1].rstrip('-').lower()}-{suffix[:SUFFIX_LENGTH]}"
