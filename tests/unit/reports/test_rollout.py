"""The result of a rollout as text and Markdown."""

import re

import pytest

from rollway.reports import plan as plan_report
from rollway.reports import rollout as report
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.rollout.plan import Kind
from rollway.rollout.smoke import SmokeTestResult
from tests.support.builders import a_plan, measurement
from tests.unit.reports.test_plan import planned
from tests.unit.reports.test_timeline import a_task


def a_report(outcome: RolloutOutcome = RolloutOutcome.PROMOTED) -> RolloutReport:
    made = a_plan()
    return RolloutReport(
        rollout="diabetes",
        outcome=outcome,
        plan=made,
        scoring_uri="https://diabetes.example/score",
        traffic_after={made.online_deployment: 100},
        smoke_tests=(
            SmokeTestResult(online_deployment="new", is_pinned=True, measurement=measurement(latency_seconds=0.012)),
            SmokeTestResult(online_deployment="new", is_pinned=False, measurement=measurement(body="a|b\nc")),
        ),
        retired=("old-one",),
        timeline=(a_task("connect"), a_task("move traffic", start=2.0, seconds=3.0)),
    )


@pytest.mark.parametrize(
    ("kinds", "outcome"),
    [
        ([Kind.CREATE_ENDPOINT, Kind.CREATE, Kind.MOVE_TRAFFIC], RolloutOutcome.PROMOTED),
        ([Kind.REMOVE, Kind.ADOPT, Kind.MOVE_TRAFFIC, Kind.RETIRE], RolloutOutcome.PROMOTED),
        ([Kind.PROVE], RolloutOutcome.PROMOTED),
        ([Kind.UPDATE], RolloutOutcome.UPDATED),
        ([Kind.UPDATE_ENDPOINT], RolloutOutcome.UPDATED),
        ([Kind.UPDATE, Kind.MOVE_TRAFFIC], RolloutOutcome.PROMOTED),
        ([Kind.REMOVE], RolloutOutcome.TIDIED),
        ([Kind.RETIRE], RolloutOutcome.TIDIED),
        ([Kind.WAIT], RolloutOutcome.NO_OP),
        ([Kind.WAIT, Kind.RETIRE], RolloutOutcome.TIDIED),
        ([], RolloutOutcome.NO_OP),
    ],
    ids=lambda value: "+".join(kind.name for kind in value) or "nothing" if isinstance(value, list) else value.name,
)
def test_the_outcome_follows_from_the_plan(kinds: list[Kind], outcome: RolloutOutcome) -> None:
    assert report.outcome_of(planned(*kinds), is_dry_run=False) is outcome
    assert report.outcome_of(planned(*kinds), is_dry_run=True) is RolloutOutcome.PLANNED


@pytest.mark.parametrize("kind", [Kind.MOVE_TRAFFIC, Kind.PROVE])
def test_one_that_shares_the_traffic_is_a_canary(kind: Kind) -> None:
    shared = planned(kind, traffic_after={"new": 10, "blue": 90})

    assert report.outcome_of(shared, is_dry_run=False) is RolloutOutcome.CANARY


def test_the_text_says_what_was_deployed_where_and_how_it_answered() -> None:
    lines = [line.strip() for line in report.text(a_report()).splitlines()]

    name = a_plan().online_deployment
    assert lines[0] == "diabetes: promoted"
    assert [re.sub(r" {2,}", " = ", line) for line in lines[1:]] == [
        "endpoint = diabetes",
        f"online deployment = {name}",
        "model = diabetes:1",
        "environment = inference:1",
        "scoring URI = https://diabetes.example/score",
        "traffic before = none",
        f"traffic now = {name} 100 %",
        "smoke test pinned = passed in 12 ms",
        "smoke test by traffic = passed in 100 ms",
        "retired = old-one",
        "took = 5 s",
    ]


def test_the_columns_of_the_text_are_aligned() -> None:
    lines = report.text(a_report()).splitlines()[1:]

    assert len({re.match(r"  \S+(?: \S+)* {2,}", line).end() for line in lines}) == 1  # type: ignore[union-attr]


def test_the_text_of_a_dry_run_is_the_plan() -> None:
    assert report.text(a_report(RolloutOutcome.PLANNED)) == plan_report.text(a_plan())


def test_the_artifact_of_a_rollout_ends_with_its_actions_and_their_reasons() -> None:
    text = report.markdown(a_report())

    assert text[text.index("### Why") :].splitlines()[2:4] == [
        "| action | on | why | field | today | wanted |",
        "|---|---|---|---|---|---|",
    ]


def test_an_answer_cannot_break_the_table_of_the_artifact() -> None:
    assert "| new | by traffic | 100 ms | `a\\|b c` |" in report.markdown(a_report())


def test_the_artifact_holds_the_timeline_as_a_picture() -> None:
    assert "![timeline](data:image/svg+xml;base64," in report.markdown(a_report())


def test_a_report_without_smoke_tests_or_tasks_leaves_those_parts_out() -> None:
    bare = a_report(RolloutOutcome.NO_OP).model_copy(update={"smoke_tests": (), "timeline": (), "retired": ()})

    assert not {"### Smoke tests", "### Timeline"} & set(report.markdown(bare).splitlines())
    assert "took" not in report.text(bare)
