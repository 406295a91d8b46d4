"""The caller's own permissions, as Azure Resource Manager lists them."""

from typing import Any

from azure.core.exceptions import AzureError

from rollway.azure.session import Session
from rollway.azure.threads import in_thread
from rollway.rollout.permissions import Permission

API_VERSION = "2022-04-01"  # Permissions - List For Resource Group, List For Resource


async def read_permissions(session: Session, resource_id: str | None = None) -> tuple[Permission, ...] | None:
    """Return the caller's permissions on a resource, or None if they cannot be read.

    They only predict what Azure will refuse. Therefore no error here stops a rollout.

    Args:
        resource_id: Default: the workspace's resource group.
    """
    scope = f"{session.arm_url}{resource_id or session.workspace.group_id}"
    url: str | None = f"{scope}/providers/Microsoft.Authorization/permissions?api-version={API_VERSION}"
    found: list[dict[str, Any]] = []
    try:
        while url:
            page = await in_thread(session.read_arm, url)
            found += page.get("value") or []
            url = page.get("nextLink")
    except AzureError:
        return None
    return tuple(Permission(actions=one.get("actions") or (), not_actions=one.get("notActions") or ()) for one in found)
