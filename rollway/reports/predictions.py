"""A comparison of the answers of stable and the canary, as Markdown."""

from rollway.reports.layout import cell, code
from rollway.rollout.predictions import Comparison, Difference, Verdict

_HEADLINES = {
    Verdict.AGREES: "The canary agrees with stable",
    Verdict.DISAGREES: "The canary disagrees with stable",
    Verdict.INCONCLUSIVE: "The canary cannot be judged",
}


def markdown(comparison: Comparison) -> str:
    """Return the result in words, and a table of the largest differences."""
    lines = [f"**{_HEADLINES[comparison.verdict]}:** {comparison.sentence}."]
    if comparison.largest:
        lines += [
            "",
            "Largest differences:",
            "",
            "| request | path | stable | canary | times the tolerance |",
            "|---|---|---|---|---|",
            *map(_row, comparison.largest),
        ]
    return "\n".join(lines)


def _row(found: Difference) -> str:
    size = "" if found.size is None else f"{found.size:.3g}"
    values = [cell(code(one)) for one in (found.path, found.stable, found.canary)]
    cells = [str(found.request), *values, size]
    return f"| {' | '.join(cells)} |"
