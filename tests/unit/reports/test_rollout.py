"""The result of a rollout as text and Markdown."""

import re

import pytest

from rollway.reports import plan as plan_report
from rollway.reports import rollout as report
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.rollout.follow import Skipped
from rollway.rollout.moves import Kind, Move, Outcome, end
from rollway.rollout.request import Request
from rollway.rollout.smoke import SmokeTestResult
from tests.support.builders import WORKSPACE, a_plan, measurement, planned_rollout, wanted
from tests.unit.reports.test_timeline import a_task


def a_report(outcome: RolloutOutcome = RolloutOutcome.PROMOTED) -> RolloutReport:
    plan = a_plan()
    return RolloutReport(
        rollout="diabetes",
        outcome=outcome,
        plan=plan,
        scoring_uri="https://diabetes.example/score",
        traffic_after={plan.online_deployment: 100},
        smoke_tests=(
            SmokeTestResult(online_deployment="new", is_pinned=True, measurement=measurement(latency_seconds=0.012)),
            SmokeTestResult(online_deployment="new", is_pinned=False, measurement=measurement(body="a|b\nc")),
        ),
        deleted=("old-one",),
        timeline=(a_task("connect"), a_task("move traffic", start=2.0, seconds=3.0)),
    )


OTHER_MOVES = [Kind.WAIT, Kind.WAIT_UNTIL_READY, Kind.SMOKE_TEST, Kind.TEST_LIVE, Kind.COPY_AUTOSCALE, Kind.SETTLE]


def made(*kinds: Kind) -> list[Move]:
    return [Move(kind=kind, target="main", why="it is due") for kind in kinds]


@pytest.mark.parametrize(
    ("kinds", "outcome"),
    [
        ([Kind.CREATE_ENDPOINT, Kind.CREATE, Kind.MOVE_TRAFFIC, Kind.PROMOTE], RolloutOutcome.PROMOTED),
        ([Kind.CHANGE, Kind.MOVE_TRAFFIC, Kind.PROMOTE, Kind.DELETE], RolloutOutcome.PROMOTED),
        ([Kind.PROMOTE], RolloutOutcome.PROMOTED),
        ([Kind.CHANGE], RolloutOutcome.UPDATED),
        ([Kind.CHANGE_ENDPOINT, Kind.DELETE], RolloutOutcome.UPDATED),
        ([Kind.RESTORE], RolloutOutcome.REPAIRED),
        ([Kind.RECORD, Kind.DELETE], RolloutOutcome.REPAIRED),
        ([Kind.DELETE], RolloutOutcome.TIDIED),
        (OTHER_MOVES, RolloutOutcome.NO_OP),
        ([], RolloutOutcome.NO_OP),
    ],
    ids=lambda value: "+".join(kind.name for kind in value) or "nothing" if isinstance(value, list) else value.name,
)
def test_the_outcome_follows_from_the_moves_that_were_made(kinds: list[Kind], outcome: RolloutOutcome) -> None:
    dry_run = planned_rollout(request=Request(folder="diabetes", is_dry_run=True))

    assert report.outcome_of(planned_rollout(), made(*kinds), None) is outcome
    assert report.outcome_of(dry_run, made(*kinds), None) is RolloutOutcome.PLANNED


@pytest.mark.parametrize("kind", [Kind.MOVE_TRAFFIC, Kind.PROMOTE])
def test_one_that_shares_the_traffic_is_a_canary(kind: Kind) -> None:
    shared = planned_rollout(wanted=wanted(weight=10))

    assert report.outcome_of(shared, made(kind), None) is RolloutOutcome.CANARY


def test_a_rollback_is_called_that() -> None:
    back = planned_rollout(request=Request(folder="diabetes", is_rollback=True))

    assert report.outcome_of(back, made(Kind.MOVE_TRAFFIC, Kind.PROMOTE), None) is RolloutOutcome.ROLLED_BACK


def test_a_run_that_only_finished_what_another_one_left_has_repaired_it() -> None:
    idle = planned_rollout(wanted=wanted(stays_because="no newer version"))

    assert report.outcome_of(idle, made(Kind.TEST_LIVE, Kind.PROMOTE), None) is RolloutOutcome.REPAIRED


@pytest.mark.parametrize(
    ("end_of_run", "outcome"), [(Outcome.HELD, RolloutOutcome.HELD), (Outcome.SUPERSEDED, RolloutOutcome.SUPERSEDED)]
)
def test_a_run_that_ended_before_its_traffic_moved_says_so(end_of_run: Outcome, outcome: RolloutOutcome) -> None:
    last = end(end_of_run, "diabetes", "hold by ann")

    found = report.outcome_of(planned_rollout(), made(Kind.CREATE, Kind.SMOKE_TEST), last)

    assert found is outcome
    assert not a_report(found).is_news, "an earlier failure is not over"


def test_a_run_for_an_older_version_than_the_live_one_is_superseded() -> None:
    late = planned_rollout(is_superseded=True, wanted=wanted(stays_because="superseded: 3 is live and newer than 2"))

    assert report.outcome_of(late, [], None) is RolloutOutcome.SUPERSEDED


def test_a_run_without_news_says_why() -> None:
    held = a_report(RolloutOutcome.HELD).model_copy(update={"end": "hold by ann: month end"})

    assert "  why                    hold by ann: month end" in report.text(held).splitlines()
    assert "- **why**: hold by ann: month end" in report.markdown(held)
    assert "hold by ann" not in report.text(held.model_copy(update={"outcome": RolloutOutcome.PROMOTED}))


def test_newer_versions_that_were_not_rolled_out_are_listed() -> None:
    plan = a_plan().model_copy(update={"skipped": (Skipped(version="9", reason="it is archived"),)})

    assert "9: it is archived" in report.text(a_report().model_copy(update={"plan": plan}))


def test_the_text_says_what_was_deployed_where_and_how_it_answered() -> None:
    lines = [line.strip() for line in report.text(a_report()).splitlines()]

    name = a_plan().online_deployment
    assert lines[0] == "diabetes: promoted"
    assert [re.sub(r" {2,}", " = ", line) for line in lines[1:]] == [
        "endpoint = diabetes",
        f"workspace = {WORKSPACE}",
        f"online deployment = {name}",
        "model = diabetes:1",
        "environment = inference:1",
        "scoring URI = https://diabetes.example/score",
        "traffic before = none",
        f"traffic now = {name} 100 %",
        "smoke test pinned = passed in 12 ms",
        "smoke test by traffic = passed in 100 ms",
        "deleted = old-one",
        "took = 5 s",
    ]


def test_the_columns_of_the_text_are_aligned() -> None:
    lines = report.text(a_report()).splitlines()[1:]

    assert len({re.match(r"  \S+(?: \S+)* {2,}", line).end() for line in lines}) == 1  # type: ignore[union-attr]


def test_the_text_of_a_dry_run_is_the_plan() -> None:
    assert report.text(a_report(RolloutOutcome.PLANNED)) == plan_report.text(a_plan())


def test_the_artifact_of_a_rollout_ends_with_its_moves_and_their_reasons() -> None:
    text = report.markdown(a_report())

    plan = a_plan()
    assert text[text.index("### Plan") :].splitlines()[2:] == plan_report.plan_lines(plan)
    assert text.splitlines()[-1].startswith(f"{len(plan.moves)}. **promote** `")


def test_an_answer_is_shown_as_json_and_no_answer_is_markdown() -> None:
    lines = report.markdown(a_report()).splitlines()
    body = {"predictions": [1.5], "ok": True, "missing": None}
    told = a_report().model_copy(
        update={
            "smoke_tests": (
                SmokeTestResult(online_deployment="new", is_pinned=True, measurement=measurement(body=body)),
            )
        }
    )

    assert lines[lines.index("- `new` by traffic, in 100 ms:") + 1] == "  `a|b c`"
    assert '  `{"predictions": [1.5], "ok": true, "missing": null}`' in report.markdown(told).splitlines()


def test_the_artifact_has_no_empty_row_and_no_link_that_a_browser_cannot_open() -> None:
    lines = report.markdown(a_report()).splitlines()

    assert lines[2] == "- **endpoint**: diabetes"
    place = lines.index("- **scoring URI**: ")
    assert lines[place + 1 : place + 4] == ["  ```text", "  https://diabetes.example/score", "  ```"]


def test_the_artifact_links_to_the_studio_and_to_the_run() -> None:
    linked = a_report().model_copy(update={"studio_page": "https://s.example", "run_url": "https://p.example"})

    links = "[open in Azure ML Studio](https://s.example) · [open in Prefect](https://p.example)"
    assert links in report.markdown(linked).splitlines()
    assert "[open in" not in report.markdown(a_report())


def test_the_artifact_holds_the_timeline_as_a_picture() -> None:
    assert "![timeline](data:image/svg+xml;base64," in report.markdown(a_report())


def test_a_report_without_smoke_tests_or_tasks_leaves_those_parts_out() -> None:
    bare = a_report(RolloutOutcome.NO_OP).model_copy(update={"smoke_tests": (), "timeline": (), "deleted": ()})

    assert not {"### Smoke tests", "### Timeline"} & set(report.markdown(bare).splitlines())
    assert "took" not in report.text(bare)


def test_the_requests_of_a_smoke_test_are_told_apart_by_their_names() -> None:
    answer = measurement(latency_seconds=0.012)
    tests = [
        SmokeTestResult(request=name, online_deployment="new", is_pinned=True, measurement=answer)
        for name in ("a", "b")
    ]

    told = a_report().model_copy(update={"smoke_tests": tuple(tests)})

    assert [line.split("  ")[1] for line in report.text(told).splitlines() if "smoke test" in line] == [
        "smoke test pinned: a",
        "smoke test pinned: b",
    ]
    assert "- `new` pinned, before traffic: a, in 12 ms:" in report.markdown(told).splitlines()


def test_a_report_says_that_there_is_no_smoke_test() -> None:
    untested = a_report().model_copy(update={"smoke_tests": (), "has_smoke_test": False})
    idle = untested.model_copy(update={"outcome": RolloutOutcome.NO_OP})
    sentence = "none, as rollout.yml says: Azure calls it ready, and no answer was looked at"

    assert f"  smoke test         {sentence}" in report.text(untested).splitlines()
    assert f"> **Warning:** {sentence}." in report.markdown(untested).splitlines()
    assert sentence not in report.text(idle) + report.markdown(idle)
