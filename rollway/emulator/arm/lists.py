"""Filters and orders of lists of endpoints and online deployments (Online Endpoints - List, Online Deployments - List).

Azure documents the parameters, but not what it answers to values that it does not know: the 400 is our choice.
"""

from collections.abc import Callable, Sequence
from typing import Any

from rollway.emulator.arm.kubernetes import compute_type
from rollway.emulator.arm.resource_manager import Call
from rollway.emulator.core import errors
from rollway.emulator.core.store import Resource

COMPUTE_TYPES = ("Managed", "Kubernetes", "AzureMLCompute")
ORDERS = ("CreatedAtDesc", "CreatedAtAsc", "UpdatedAtDesc", "UpdatedAtAsc")


def select_endpoints(call: Call, endpoints: Sequence[Resource]) -> list[Resource]:
    """Return the endpoints that a list's `name`, `computeType`, `tags` and `properties` select, in its `orderBy`."""
    name, compute = call.query("name"), call.query("computeType")
    if compute and compute.lower() not in _lower(COMPUTE_TYPES):
        raise errors.invalid_content(f"computeType: {compute} is none of {', '.join(COMPUTE_TYPES)}")
    tags, properties = call.query("tags"), call.query("properties")
    selected = [
        one
        for one in endpoints
        if (not name or one.name.lower() == name.lower())
        and (not compute or compute_type(one).lower() == compute.lower())
        and has_entries(one.document["tags"], tags)
        and has_entries(one.properties["properties"], properties)
    ]
    return in_order(selected, call.query("orderBy"))


def has_entries(entries: dict[str, Any], wanted: str | None) -> bool:
    """Return True if `entries` has all that are wanted: a comma-separated list of `key` and `key=value`.

    Keys ignore case, as those of tags do.
    """
    found = {key.lower(): str(value) for key, value in entries.items()}
    for one in (part.strip() for part in (wanted or "").split(",")):
        key, separator, value = one.partition("=")
        if one and (key.lower() not in found or (separator and found[key.lower()] != value)):
            return False
    return True


def in_order(resources: Sequence[Resource], order: str | None) -> list[Resource]:
    """Return resources in the order of `orderBy`, or of their creation without one.

    Those that were changed at the same time are in the order of their creation. `createdtime desc` is the form of lists
    of assets.
    """
    if not order:
        return list(resources)
    word = order.lower().replace("createdtime ", "createdat")
    if word not in _lower(ORDERS):
        raise errors.invalid_content(f"orderBy: {order} is none of {', '.join(ORDERS)}")
    keys: dict[str, Callable[[Resource], Any]] = {
        "created": lambda one: one.sequence,
        "updated": lambda one: (one.document["systemData"]["lastModifiedAt"], one.sequence),
    }
    what, _, direction = word.rpartition("at")
    return sorted(resources, key=keys[what], reverse=direction == "desc")


def _lower(words: Sequence[str]) -> list[str]:
    return [word.lower() for word in words]
