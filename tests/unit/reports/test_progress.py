"""The report of a progressive rollout: verdict, pictures, steps and measures."""

import base64
import re
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from rollway.reports.progress import markdown
from rollway.rollout.entries import Underway, at_text
from rollway.rollout.evidence import Counts, Minute, could_not_measure
from rollway.rollout.progress import Evidence, evidence_of
from rollway.spec import Judge, Progression, Step
from tests.unit.rollout.examples import endpoint, hand_made

BEGAN = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
FOUND = Underway(
    run="run", canary="green", until="later", since=(BEGAN.isoformat(), (BEGAN + timedelta(minutes=30)).isoformat())
)
PROGRESSION = Progression(steps=(Step(weight=5, gate=True), Step(weight=25), Step(weight=100)), judge=Judge())


def minutes(errors: int) -> list[Minute]:
    return [
        Minute(
            at=BEGAN + timedelta(minutes=number),
            canary=Counts(requests=20, errors=errors, latency_seconds=0.2),
            stable=Counts(requests=300, latency_seconds=0.19),
        )
        for number in range(50)
    ]


def report(errors: int) -> str:
    state = endpoint(hand_made("blue"), hand_made("green"), traffic={"blue": 75, "green": 25})
    return markdown("diabetes", state, evidence_of(FOUND, PROGRESSION, minutes(errors)))


def test_the_verdict_comes_first_with_its_numbers() -> None:
    lines = report(errors=3).splitlines()

    assert lines[0] == f"## diabetes: step 2 of 3 (25 %) since {at_text(FOUND.since[1])}"
    assert lines[2].startswith("**Failed: errors 15 % of 1,000 against 0 % of 15,000, evidence ")


def test_there_are_four_pictures_that_are_well_formed() -> None:
    images = re.findall(r"data:image/svg\+xml;base64,([^)]+)", report(errors=0))

    assert len(images) == 4
    for image in images:
        assert ElementTree.fromstring(base64.b64decode(image)).tag.endswith("svg")  # noqa: S314 - ours


def test_steps_and_measures_are_tables() -> None:
    text = report(errors=0)

    assert f"| 1 | 5 % | 1800 s | yes | {FOUND.since[0]} |" in text
    assert "| 3 | 100 % | 1800 s |  |  |" in text
    assert "| errors | successful | errors 0 % of 1,000 against 0 % of 15,000, evidence 1 < 60 |" in text


def test_a_rollout_without_any_minute_has_its_report_too() -> None:
    state = endpoint(hand_made("blue"))

    text = markdown("diabetes", state, evidence_of(FOUND, PROGRESSION, []))

    assert "**No data: no request of the canary in this step**" in text


def test_evidence_that_could_not_be_read_makes_a_report_that_says_so() -> None:
    state = endpoint(hand_made("blue"))
    nothing = Evidence(found=FOUND, progression=PROGRESSION, judgement=could_not_measure("Azure Monitor is away"))

    text = markdown("diabetes", state, nothing)

    assert "**Could not measure: Azure Monitor is away**" in text
    assert "| evidence | error | Azure Monitor is away |" in text
