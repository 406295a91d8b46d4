"""The evidence of a progressive rollout on a terminal."""

import io

import pytest
from rich.console import Console

from rollway.reports.evidence import table, text
from rollway.rollout.entries import at_text
from rollway.rollout.evidence import Minute, could_not_measure
from rollway.rollout.progress import Evidence, evidence_of
from tests.unit.reports.test_progress import FOUND, PROGRESSION, minutes


def test_it_shows_steps_both_sides_by_the_minute_and_each_measure() -> None:
    assert text(evidence_of(FOUND, PROGRESSION, minutes(errors=3))).splitlines() == [
        f"step 2 of 3 (25 %) since {at_text(FOUND.since[1])}",
        "✓ 5 % (gate)   ▶ 25 %   · 100 %",
        "             canary green                      stable",
        "requests     ▁▁▁▁▁▁▁▁▁▁▁▁▁ 1,000               █████████████ 15,000",
        "errors       █████████████ 15.0 % (12.9-17.3)  ▁▁▁▁▁▁▁▁▁▁▁▁▁ 0.0 % (0.0-0.0)",
        "latency P95  █████████████ 200 ms              █████████████ 190 ms",
        "requests        successful  400 requests, at least 300 needed",
        "errors          failed      ████████████ over 1,000,000 of 60",
        "maximum errors  failed      ████████████ over 1,000,000 of 60",
        "latency         successful  ············ 0 of 60",
        "failed: errors 15 % of 1,000 against 0 % of 15,000, evidence over 1,000,000 ≥ 60; errors 15 % of 1,000, "
        "maximum 5 %,",
        "evidence over 1,000,000 ≥ 60",
    ]


def test_without_requests_it_draws_nothing() -> None:
    shown = text(evidence_of(FOUND, PROGRESSION, []))

    assert "errors       -             -" in shown
    assert shown.endswith("no data: no request of the canary in this step")


def test_evidence_that_could_not_be_read_says_so() -> None:
    nothing = Evidence(found=FOUND, progression=PROGRESSION, judgement=could_not_measure("Azure Monitor is away"))

    lines = text(nothing).splitlines()

    assert lines[-2:] == ["evidence  error  Azure Monitor is away", "could not measure: Azure Monitor is away"]


def test_a_gap_of_one_side_is_a_gap_in_its_line() -> None:
    with_gap = [
        one if number % 2 else Minute(at=one.at, stable=one.stable) for number, one in enumerate(minutes(3)[:6])
    ]

    assert "errors       " + " █ █ █ 15.0 %" in text(evidence_of(FOUND, PROGRESSION, with_gap))


@pytest.mark.parametrize("count", [1, 16, 17, 50, 1000])
def test_it_fits_a_terminal_of_80_columns(count: int) -> None:
    long = [one for _ in range(20) for one in minutes(3)][:count]
    console = Console(file=io.StringIO(), width=80, color_system=None)
    with console.capture() as captured:
        console.print(table(evidence_of(FOUND, PROGRESSION, long)))

    lines = captured.get().splitlines()
    assert [line.split()[0] for line in lines[2:10]] == [
        "canary", "requests", "errors", "latency", "requests", "errors", "maximum", "latency",
    ]  # fmt: skip


def test_a_rollout_that_is_held_is_marked() -> None:
    held = FOUND.model_copy(update={"held": "inconclusive: 3 of 300 requests", "asked": "then"})

    assert "‖ 25 %" in text(evidence_of(held, PROGRESSION, minutes(0)))
