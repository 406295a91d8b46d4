"""What the SDK's endpoints say that Azure never changes, read alike from a file and from Azure."""

from enum import Enum
from typing import Literal

from azure.ai.ml.entities import KubernetesOnlineEndpoint, OnlineEndpoint


def kind_of(entity: OnlineEndpoint) -> Literal["managed", "kubernetes"]:
    """Who runs the online deployments."""
    return "kubernetes" if isinstance(entity, KubernetesOnlineEndpoint) else "managed"


def identities_of(entity: OnlineEndpoint) -> tuple[str, ...]:
    """`system_assigned`, or the ARM ids of the user-assigned identities in lower case; empty when not all are known."""
    if entity.identity is None:
        return ()
    assigned = entity.identity.user_assigned_identities or []
    ids = [one.resource_id.lower() for one in assigned if one.resource_id]
    if len(ids) < len(assigned):  # an identity may also be given by its client id
        return ()
    is_system_assigned = str(entity.identity.type).lower().startswith("system")
    return (*(["system_assigned"] if is_system_assigned else []), *sorted(ids))


def word(value: object) -> str:
    """A state as Azure spells it. The SDK's enumerations are strings, but `str()` of one is `Class.MEMBER`."""
    return str(value.value if isinstance(value, Enum) else value)
