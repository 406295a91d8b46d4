"""The evidence of a progressive rollout on a terminal: its steps, canary against stable by the minute, the measures."""

import io
import math
from collections.abc import Sequence
from statistics import median

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from rollway.rollout.entries import Underway
from rollway.rollout.evidence import Counts, Judgement, Measure, Verdict, evidence_in_words, total, wilson
from rollway.rollout.progress import Evidence, describe
from rollway.spec import Progression

BLOCKS = "▁▂▃▄▅▆▇█"
MOST_BLOCKS = 13  # of a line
BAR = 12  # characters of a full bar of evidence
TEXT_COLUMNS = 120  # where there is no terminal

_COLOURS = {Verdict.SUCCESSFUL: "green", Verdict.FAILED: "red"}


def table(evidence: Evidence) -> Group:
    """Return the evidence for a terminal of 80 columns or more."""
    found, progression, judged = evidence.found, evidence.progression, evidence.judgement
    return Group(
        Text(describe(found, progression), "bold"),
        _steps(found, progression),
        _both_sides(evidence),
        _measures(judged),
        Text(judged.sentence, _COLOURS.get(judged.verdict, "yellow")),
    )


def text(evidence: Evidence) -> str:
    """Return the same as plain text, for logs and pipes."""
    console = Console(file=io.StringIO(), width=TEXT_COLUMNS, color_system=None)
    with console.capture() as captured:
        console.print(table(evidence))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _steps(found: Underway, progression: Progression) -> Text:
    """Return the steps in a line: done, running, to come."""
    words = Text()
    for number, step in enumerate(progression.steps, start=1):
        sign, style = ("✓", "green") if number < found.number else ("·", "dim")
        if number == found.number:
            sign, style = ("‖", "yellow") if found.held else ("▶", "bold")
        words.append(f"{sign} {step}{' (gate)' if step.gate else ''}   ", style)
    return words


def _both_sides(evidence: Evidence) -> Table:
    """Return a row for each number, with the canary's and stable's side by side."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("", f"canary {evidence.found.canary}", "stable", style="bold")
    sides = [[one.canary for one in evidence.minutes], [one.stable for one in evidence.minutes]]
    for name, value, words in (
        ("requests", _requests, _requests_in_words),
        ("errors", _error_rate, _errors_in_words),
        (f"latency P{evidence.progression.judge.latency.percentile}", _latency, _latency_in_words),
    ):
        values = [[value(group) for group in _in_groups(side)] for side in sides]
        most = max((one or 0.0 for of_side in values for one in of_side), default=0.0)
        cells = [f"{_line(of_side, most)} {words(side)}" for of_side, side in zip(values, sides, strict=True)]
        rows.add_row(name, *(cells if evidence.minutes else ("-", "-")))
    return rows


def _measures(judged: Judgement) -> Table:
    rows = Table.grid(padding=(0, 2))
    for one in judged.measures:
        rows.add_row(one.name, Text(one.verdict.value.replace("_", " "), _COLOURS.get(one.verdict, "")), _bar(one))
    return rows


def _in_groups(side: Sequence[Counts]) -> list[Sequence[Counts]]:
    """Return at most so many groups of neighbouring minutes as a line has blocks."""
    size = max(1, math.ceil(len(side) / MOST_BLOCKS))
    return [side[start : start + size] for start in range(0, len(side), size)]


def _requests(counts: Sequence[Counts]) -> float | None:
    return total(counts).requests / len(counts)


def _error_rate(counts: Sequence[Counts]) -> float | None:
    every = total(counts)
    return every.errors / every.requests if every.requests else None


def _latency(counts: Sequence[Counts]) -> float | None:
    known = [one.latency_seconds for one in counts if one.latency_seconds is not None]
    return median(known) if known else None


def _requests_in_words(counts: Sequence[Counts]) -> str:
    return f"{total(counts).requests:,}"


def _errors_in_words(counts: Sequence[Counts]) -> str:
    every = total(counts)
    if not every.requests:
        return "-"
    low, high = wilson(every)
    return f"{100 * every.errors / every.requests:.1f} % ({100 * low:.1f}-{100 * high:.1f})"


def _latency_in_words(counts: Sequence[Counts]) -> str:
    seconds = _latency(counts)
    return "-" if seconds is None else f"{1000 * seconds:.0f} ms"


def _line(values: Sequence[float | None], most: float) -> str:
    """Return a block for each value, from 0 to `most`; a space where nothing is known."""
    levels = (None if one is None else round(one / most * (len(BLOCKS) - 1)) if most else 0 for one in values)
    return "".join(" " if one is None else BLOCKS[one] for one in levels)


def _bar(one: Measure) -> str:
    """Return how near the evidence is to its limit, on a logarithmic scale."""
    if not one.limit:
        return one.sentence
    share = min(1.0, math.log(max(one.evidence, 1.0)) / math.log(one.limit))
    return f"{'█' * round(share * BAR):·<{BAR}} {evidence_in_words(one.evidence)} of {one.limit:,.0f}"
