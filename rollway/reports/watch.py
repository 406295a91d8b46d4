"""The watcher's findings as a table."""

from collections.abc import Sequence

from rollway.rollout.watch import Look

COLUMNS = ("rollout", "verdict", "reason", "model", "live", "newest eligible", "skipped", "flow run")


def watch_table(looks: Sequence[Look]) -> list[dict[str, str]]:
    """Return one row per rollout that follows a model or could not be read."""
    return [_row(one) for one in looks if one.finding is not None or one.error is not None]


def _row(look: Look) -> dict[str, str]:
    finding = look.finding
    if finding is None:  # a table has the columns of its first row
        error = str(look.error).partition("\n")[0]
        return {**dict.fromkeys(COLUMNS, ""), "rollout": look.rollout, "verdict": "error", "reason": error}
    skipped = "; ".join(f"{one.version}: {one.reason}" for one in finding.skipped)
    cells = (
        finding.rollout,
        finding.verdict.value,
        finding.reason,
        finding.model,
        finding.live_version,
        finding.version,
        skipped,
        finding.run,
    )
    return {column: cell or "" for column, cell in zip(COLUMNS, cells, strict=True)}
