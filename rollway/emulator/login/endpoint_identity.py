"""Managed identities of endpoints, in ARM's `identity`: who they are, and which of them a container asks for.

The tenant knows an identity by its client id. A system-assigned one has its object id as client id. A user-assigned one
is the seed's managed identity with the name of its resource as client id, and has that one's rights; if the seed has
none, it gets ids of its own.
"""

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from rollway.emulator.core.errors import Document
from rollway.emulator.core.seed import Seed

SYSTEM, USER = "systemassigned", "userassigned"


def complete_identity(given: Mapping[str, Any] | None, before: Mapping[str, Any] | None, seed: Seed) -> Document:
    """Return the `identity` of an endpoint as ARM shows it: with the ids of its identities.

    Args:
        given: The identity that a client sends. Without one, it is system-assigned, as in Azure.
        before: The identity of the endpoint until now; its ids stay.
    """
    known = before or {}
    identity: Document = dict(given or (known if before else {"type": "SystemAssigned"}))
    kinds = kinds_of(identity)
    if SYSTEM in kinds:
        identity["principalId"] = known.get("principalId") or str(uuid4())
        identity["tenantId"] = seed.tenant_id
    else:
        identity.pop("principalId", None)
        identity.pop("tenantId", None)
    identity.pop("userAssignedIdentities", None)
    if USER in kinds:
        ids = (given or known).get("userAssignedIdentities") or {}
        identity["userAssignedIdentities"] = {one: _user_assigned(one, seed) for one in ids}
    return identity


def kinds_of(identity: Mapping[str, Any]) -> set[str]:
    """Return the kinds of managed identity in an `identity`, such as `{"systemassigned"}`, in lower case."""
    return {one.strip().lower() for one in str(identity.get("type") or "None").split(",")} - {"none"}


def find_identity(identity: Mapping[str, Any], client_id: str | None) -> str | None:
    """Return the client id of the endpoint's identity that a container asks for, or None if it has not got it.

    Without a client id it is the system-assigned identity. If there is none, it is the first user-assigned one, which
    is our choice.
    """
    user_assigned = [str(one["clientId"]) for one in (identity.get("userAssignedIdentities") or {}).values()]
    known = [*([str(identity["principalId"])] if identity.get("principalId") else []), *user_assigned]
    if client_id:
        known = [one for one in known if one.lower() == client_id.lower()]
    return known[0] if known else None


def _user_assigned(resource_id: str, seed: Seed) -> Document:
    principal = seed.principal(resource_id.rstrip("/").rpartition("/")[2])
    if principal is not None and principal.is_managed_identity:
        return {"clientId": principal.client_id, "principalId": principal.client_id}
    client_id, principal_id = (
        str(uuid5(NAMESPACE_URL, f"{resource_id.lower()}/{one}")) for one in ("client", "object")
    )
    return {"clientId": client_id, "principalId": principal_id}
