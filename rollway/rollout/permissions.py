"""Permissions of a role in Azure, and the actions that they allow."""

import re
from collections.abc import Iterable

from rollway.spec import Frozen


class Permission(Frozen):
    """Actions that one role allows and, of those, the ones that it does not; `*` stands for any text."""

    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()


def is_allowed(permissions: Iterable[Permission], action: str) -> bool:
    """Return True if a permission allows an action such as `Microsoft.Insights/autoscaleSettings/write`.

    The exceptions of one role do not limit another role. Letter case does not count.
    """
    return any(_matches_any(one.actions, action) and not _matches_any(one.not_actions, action) for one in permissions)


def _matches_any(patterns: Iterable[str], action: str) -> bool:
    # learn.microsoft.com, "Understand Azure role definitions": a wildcard also covers the slash.
    return any(
        re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), action, re.IGNORECASE | re.DOTALL) for pattern in patterns
    )
