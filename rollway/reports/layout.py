"""Small pieces of text and Markdown that all reports use."""

from collections.abc import Sequence


def aligned(facts: Sequence[tuple[str, str]]) -> list[str]:
    """Return `name  value` lines with the values in one column."""
    width = max(len(name) for name, _ in facts)
    return [f"  {name:<{width}}  {value}" for name, value in facts]


def listed(facts: Sequence[tuple[str, str]]) -> list[str]:
    """Return the lines of a Markdown list of names and values, which are Markdown; a table would not fit a phone."""
    return [f"- **{name}**: {value}" for name, value in facts]


def code(value: str) -> str:
    """Return a text as code inside a line of Markdown, so that nothing of it is Markdown or a link."""
    line = value.replace("\n", " ").replace("`", "'")  # a backtick would end it
    return f"`{line}`"


def block(value: str) -> str:
    """Return a text as a block of code inside a list: it scrolls where a phone has no room for it."""
    return f"\n  ```text\n  {value}\n  ```"


def link(text: str, url: str | None) -> str:
    """Return a text as a link of Markdown, or as it is if there is nowhere to go."""
    return f"[{text}]({url})" if url else text


def cell(value: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return value.replace("|", "\\|").replace("\n", " ")


def asset_text(asset: object) -> str:
    """Return `<name>:<version>` of a model or environment, or `(none)`."""
    return str(asset) if asset is not None else "(none)"
