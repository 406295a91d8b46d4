"""A comparison of the answers of stable and the canary, as Markdown."""

from rollway.reports.layout import cell
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
    cells = [str(found.request), _code(found.path), _code(found.stable), _code(found.canary), size]
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    text = text.replace("`", "'")  # which would end it
    return f"`{cell(text)}`"
