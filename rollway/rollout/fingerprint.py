"""The fingerprint: the hash of everything that decides what an online deployment *is*."""

import hashlib
import json
from collections.abc import Mapping

from pydantic import JsonValue

from rollway.spec import OnlineDeploymentSpec

MAX_NAME_LENGTH = 32
SUFFIX_LENGTH = 8


def fingerprint(spec: OnlineDeploymentSpec, model_id: str | None, environment_id: str | None) -> str:
    """64 hex digits over model, environment, code and settings; not over instance count, tags or description.

    Ids compare case-insensitively in Azure, so their case does not count; neither does the order of keys.
    """
    identity: Mapping[str, JsonValue] = {
        "model": (model_id or "").lower(),
        "environment": (environment_id or "").lower(),
        "code": spec.code_sha256,
        "settings": spec.settings,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def online_deployment_name(base: str, digest: str, force: str = "") -> str:
    """`<base, cut>-<first 8 hex digits>`, at most 32 characters, lower case as Azure's traffic maps are.

    `force` gives the same content another name, one for each text.
    """
    suffix = hashlib.sha256(f"{digest} {force}".encode()).hexdigest() if force else digest
    return f"{base[: MAX_NAME_LENGTH - SUFFIX_LENGTH - 1].rstrip('-').lower()}-{suffix[:SUFFIX_LENGTH]}"
