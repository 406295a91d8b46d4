"""Small pieces of text and Markdown that all reports use."""

from collections.abc import Sequence


def aligned(facts: Sequence[tuple[str, str]]) -> list[str]:
    """Return `name  value` lines with the values in one column."""
    width = max(len(name) for name, _ in facts)
    return [f"  {name:<{width}}  {value}" for name, value in facts]


def cell(value: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return value.replace("|", "\\|").replace("\n", " ")


def asset_text(asset: object) -> str:
    """Return `<name>:<version>` of a model or environment, or `(none)`."""
    return str(asset) if asset is not None else "(none)"
