"""The `identity` of endpoints: what a client may send, and that it cannot be changed.

The identity of an endpoint is chosen with its creation (how-to-access-resources-from-endpoints-managed-identities).
"""

import re

from rollway.emulator.arm.validation import check_field_types
from rollway.emulator.core import errors
from rollway.emulator.core.errors import Document
from rollway.emulator.core.seed import Seed
from rollway.emulator.login.endpoint_identity import SYSTEM, USER, complete_identity, kinds_of

SPELLED = {SYSTEM: "SystemAssigned", USER: "UserAssigned"}
FIELD_TYPES: dict[str, type] = {
    "identity": dict,
    "identity.type": str,
    "identity.userAssignedIdentities": dict,
}
USER_ASSIGNED_ID = re.compile(
    r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+",
    re.IGNORECASE,
)


def new_identity(body: Document, seed: Seed) -> Document:
    """Return the identity of a new endpoint: system-assigned unless the body says otherwise.

    Only a system-assigned identity has a `principalId` of its own. Each user-assigned one has its ids under its
    resource id, spelled as the client sent it. Raises the 400.
    """
    check_field_types(body, FIELD_TYPES)
    given: Document = body.get("identity") or {}
    if not given.get("type"):
        given = {**given, "type": SPELLED[SYSTEM]}
    kinds, ids = _read(given)
    if (USER in kinds) != bool(ids):
        text = f"{SPELLED[USER]} needs resource ids in userAssignedIdentities, and they need {SPELLED[USER]}."
        raise errors.invalid_request({"Identity": [text]})
    type_ = ",".join(SPELLED[one] for one in sorted(kinds)) or "None"
    return complete_identity({"type": type_, "userAssignedIdentities": ids}, None, seed)


def kept_identity(body: Document, before: Document) -> Document:
    """Return the identity of an endpoint after a PUT or PATCH. Raises the 400 if it would change."""
    check_field_types(body, FIELD_TYPES)
    given = {name: value for name, value in (body.get("identity") or {}).items() if value is not None}
    wanted = {"type": before["type"], "userAssignedIdentities": before.get("userAssignedIdentities"), **given}
    if _comparable(wanted) != _comparable(before):
        raise errors.invalid_request({"Identity": ["The identity of an endpoint cannot be changed."]})
    return before


def _read(identity: Document) -> tuple[set[str], Document]:
    """Return the kinds of an identity, and its user-assigned identities. Raises the 400 for unknown kinds and ids."""
    kinds, ids = kinds_of(identity), identity.get("userAssignedIdentities") or {}
    if not kinds <= SPELLED.keys():
        words = ", ".join(("None", *SPELLED.values(), ",".join(SPELLED.values())))
        raise errors.invalid_request({"Identity.Type": [f"must be one of {words}."]})
    for id_ in ids:
        if not USER_ASSIGNED_ID.fullmatch(id_):
            raise errors.invalid_identity_id(id_)
    return kinds, ids


def _comparable(identity: Document) -> tuple[set[str], set[str]]:
    kinds, ids = _read(identity)
    return kinds, {id_.lower() for id_ in ids}
