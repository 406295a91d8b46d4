"""The watcher's findings as a table."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rollway.rollout.watch import Look

COLUMNS = ("rollout", "verdict", "reason", "model", "live", "version", "skipped", "flow run")
ERROR = "error"
# What differs between two errors that are the same: ids, times and other numbers.
_VARIES = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


def watch_table(looks: Sequence[Look]) -> list[dict[str, str]]:
    """Return one row per rollout."""
    return [_row(one) for one in looks]


def newly_broken(looks: Sequence[Look], last_table: Sequence[Mapping[str, Any]]) -> tuple[Look, ...]:
    """Return the looks at broken folders whose error is not in the last table; other numbers make no other error."""
    known = {(row.get("rollout"), _same(row.get("reason"))) for row in last_table if row.get("verdict") == ERROR}
    return tuple(
        one
        for one in looks
        if one.finding is None and not one.is_unreadable and (one.rollout, _same(one.error)) not in known
    )


def _row(look: Look) -> dict[str, str]:
    finding = look.finding
    if finding is None:  # a table has the columns of its first row
        return {**dict.fromkeys(COLUMNS, ""), "rollout": look.rollout, "verdict": ERROR, "reason": str(look.error)}
    cells = (
        finding.rollout,
        finding.verdict.value,
        finding.reason,
        finding.model,
        finding.live_version,
        finding.version,
        "; ".join(f"{one.version}: {one.reason}" for one in finding.skipped),
        finding.run,
    )
    return {column: cell or "" for column, cell in zip(COLUMNS, cells, strict=True)}


def _same(error: object) -> str:
    return _VARIES.sub("#", str(error).lower())
