"""The checks of `rollway doctor`: a line each for pipes, a table with colours for terminals."""

from rich.table import Table
from rich.text import Text

from rollway.rollout.checkup import Check, Checkup, State
from rollway.terminal import as_called

_COLOURS = {State.OK: "green", State.MISSING: "red", State.OPTIONAL: "yellow", State.UNKNOWN: "dim"}


def plain(checkup: Checkup) -> str:
    """Return a line per check: its state, its name, what was found, and what to do."""
    width = max(len(one.name) for one in checkup.checks)
    return "\n".join(f"{one.state.value:<8}  {one.name:<{width}}  {_words(one, ' → ')}" for one in checkup.checks)


def table(checkup: Checkup) -> Table:
    """Return a table for 80 columns or more."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    for one in checkup.checks:
        rows.add_row(Text(one.state.value, _COLOURS[one.state]), Text(one.name), Text(_words(one, "\n→ ")))
    return rows


def _words(one: Check, arrow: str) -> str:
    return as_called(f"{one.found}{arrow}{one.next}" if one.next else one.found)
