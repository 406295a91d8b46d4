"""Azure's built-in roles: the actions that each allows, with wildcards (built-in-roles of Azure RBAC)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from rollway.emulator.core.seed import Role

WORKSPACES = "Microsoft.MachineLearningServices/workspaces"


@dataclass(frozen=True)
class Permission:
    """Patterns of actions that a role allows, except those in `not_actions`. Patterns ignore case."""

    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        return any(_matches(one, action) for one in self.actions) and not any(
            _matches(one, action) for one in self.not_actions
        )


PERMISSIONS: dict[Role, tuple[Permission, ...]] = {
    Role.CONTRIBUTOR: (
        Permission(
            ("*",),
            (
                "Microsoft.Authorization/*/Delete",
                "Microsoft.Authorization/*/Write",
                "Microsoft.Authorization/elevateAccess/Action",
                "Microsoft.Blueprint/blueprintAssignments/write",
                "Microsoft.Blueprint/blueprintAssignments/delete",
                "Microsoft.Compute/galleries/share/action",
            ),
        ),
    ),
    # AzureML Data Scientist. It has no rights on autoscale settings and metrics, which are another resource provider's.
    Role.DATA_SCIENTIST: (
        Permission(
            tuple(f"{WORKSPACES}/*/{verb}" for verb in ("read", "action", "delete", "write")),
            (
                f"{WORKSPACES}/delete",
                f"{WORKSPACES}/write",
                f"{WORKSPACES}/computes/*/write",
                f"{WORKSPACES}/computes/*/delete",
                f"{WORKSPACES}/computes/listKeys/action",
                f"{WORKSPACES}/listKeys/action",
            ),
        ),
    ),
    Role.READER: (Permission(("*/read",)),),
    Role.MONITORING_READER: (
        Permission(("*/read", "Microsoft.OperationalInsights/workspaces/search/action", "Microsoft.Support/*")),
    ),
    Role.NONE: (),
}


def is_allowed(roles: Iterable[Role], action: str) -> bool:
    """Return True if one of the roles has the right to an action such as `Microsoft.Insights/metrics/read`."""
    return any(one.allows(action) for role in roles for one in PERMISSIONS[role])


def _matches(pattern: str, action: str) -> bool:
    return _compile(pattern).fullmatch(action) is not None


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    # `workspaces/*/write` includes `workspaces/write`; otherwise Data Scientist would not have to exclude that action.
    text = re.escape(pattern).replace(r"/\*/", "/(.+/)?").replace(r"\*", ".*")
    return re.compile(text, re.IGNORECASE)
