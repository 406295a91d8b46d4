"""Helpers for the SDK's entities, for those from files and from Azure alike."""

from enum import Enum
from typing import Literal

from azure.ai.ml.entities import KubernetesOnlineEndpoint, Model, OnlineDeployment, OnlineEndpoint


def kind_of(entity: OnlineEndpoint) -> Literal["managed", "kubernetes"]:
    """Return the kind of an endpoint, by who runs its online deployments."""
    return "kubernetes" if isinstance(entity, KubernetesOnlineEndpoint) else "managed"


def identities_of(entity: OnlineEndpoint) -> tuple[str, ...]:
    """Return `system_assigned`, or the ARM ids of user-assigned identities in lower case; empty if one is unknown."""
    if entity.identity is None:
        return ()
    assigned = entity.identity.user_assigned_identities or []
    ids = [one.resource_id.lower() for one in assigned if one.resource_id]
    if len(ids) < len(assigned):  # an identity may also be given by its client id
        return ()
    is_system_assigned = str(entity.identity.type).lower().startswith("system")
    return (*(["system_assigned"] if is_system_assigned else []), *sorted(ids))


def tags_of(entity: OnlineEndpoint | OnlineDeployment | Model) -> dict[str, str]:
    """Return the tags of an entity; those from files may have numbers as values."""
    return {str(key): str(value) for key, value in (entity.tags or {}).items()}


def text_of(value: object) -> str:
    """Return a state as Azure spells it: `str()` of one of the SDK's enumerations is `Class.MEMBER`."""
    return str(value.value if isinstance(value, Enum) else value)
