"""The caller's own permissions on a resource group or a resource (Microsoft.Authorization/permissions, 2022-04-01)."""

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.resource_manager import ArmRoute, Call
from rollway.emulator.core.roles import PERMISSIONS

GROUP_PATH = "/subscriptions/{subscription}/resourceGroups/{group}"
TAIL = "/providers/Microsoft.Authorization/permissions"


def list_permissions(call: Call) -> Response:
    """GET `permissions`: the rights of the caller's roles, which hold in all resource groups. Empty without a role."""
    principal = call.emulator.seed.principal(call.client_id)
    found = () if principal is None else [one for role in principal.role for one in PERMISSIONS[role]]
    permissions = [
        {"actions": one.actions, "notActions": one.not_actions, "dataActions": [], "notDataActions": []}
        for one in found
    ]
    return JSONResponse({"value": permissions})


ROUTES = [
    ArmRoute("GET", GROUP_PATH + TAIL, list_permissions, needs_right=False),
    ArmRoute("GET", f"{GROUP_PATH}/providers/{{resource:path}}{TAIL}", list_permissions, needs_right=False),
]
