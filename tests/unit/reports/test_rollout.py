"""What happened, as text, markdown and a picture."""

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.reports import rollout as report
from rollway.reports.rollout import Outcome, RolloutReport, StepTime
from rollway.rollout.plan import Action, Change, Kind, Plan
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.smoke import SmokeTestResult
from tests.support.builders import a_plan, measurement

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_step(name: str = "connect", start: float = 0.0, seconds: float = 2.0, is_completed: bool = True) -> StepTime:
    started = NOON + timedelta(seconds=start)
    return StepTime(name=name, started=started, ended=started + timedelta(seconds=seconds), is_completed=is_completed)


def planned(*actions: Kind | Action, **changes: object) -> Plan:
    """A plan of these actions; a kind stands for an action without changes."""
    made = [
        one if isinstance(one, Action) else Action(kind=one, target="main", why=f"why {one.value}") for one in actions
    ]
    return a_plan().model_copy(update={"actions": tuple(made), **changes})


def a_report(outcome: Outcome = Outcome.PROMOTED) -> RolloutReport:
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
        timeline=(a_step("connect"), a_step("move traffic", start=2.0, seconds=3.0)),
    )


@pytest.mark.parametrize(
    ("kinds", "outcome"),
    [
        ([Kind.CREATE_ENDPOINT, Kind.CREATE, Kind.MOVE_TRAFFIC], Outcome.PROMOTED),
        ([Kind.REMOVE, Kind.ADOPT, Kind.MOVE_TRAFFIC, Kind.RETIRE], Outcome.PROMOTED),
        ([Kind.PROVE], Outcome.PROMOTED),
        ([Kind.UPDATE], Outcome.UPDATED),
        ([Kind.UPDATE_ENDPOINT], Outcome.UPDATED),
        ([Kind.UPDATE, Kind.MOVE_TRAFFIC], Outcome.PROMOTED),
        ([Kind.REMOVE], Outcome.TIDIED),
        ([Kind.RETIRE], Outcome.TIDIED),
        ([Kind.WAIT], Outcome.NO_OP),
        ([Kind.WAIT, Kind.RETIRE], Outcome.TIDIED),
        ([], Outcome.NO_OP),
    ],
    ids=lambda value: "+".join(kind.name for kind in value) or "nothing" if isinstance(value, list) else value.name,
)
def test_the_outcome_follows_from_the_plan(kinds: list[Kind], outcome: Outcome) -> None:
    assert report.outcome_of(planned(*kinds), is_dry_run=False) is outcome
    assert report.outcome_of(planned(*kinds), is_dry_run=True) is Outcome.PLANNED


@pytest.mark.parametrize("kind", [Kind.MOVE_TRAFFIC, Kind.PROVE])
def test_one_that_shares_the_traffic_is_a_canary(kind: Kind) -> None:
    shared = planned(kind, traffic_after={"new": 10, "blue": 90})

    assert report.outcome_of(shared, is_dry_run=False) is Outcome.CANARY


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
    assert report.text(a_report(Outcome.PLANNED)) == report.plan_text(a_plan())


def test_the_headline_names_each_kind_of_action_once_and_in_order() -> None:
    made = planned(Kind.REMOVE, Kind.REMOVE, Kind.CREATE, Kind.MOVE_TRAFFIC)

    assert report.headline(made) == "remove leftover, create online deployment, move traffic"
    assert report.headline(planned()) == "nothing to do"


def test_a_plan_names_every_action_with_its_reason_and_its_fields() -> None:
    made = planned(
        Action(kind=Kind.REMOVE, target="old", why="an earlier rollout left it"),
        Action(
            kind=Kind.UPDATE,
            target="main",
            why="these fields change",
            changes=(
                Change(field="instance_count", today="1", wanted="3"),
                Change(field="tags.a", today="x|y", wanted="z"),
            ),
        ),
        traffic_before={"main": 90, "blue": 10},
        traffic_after={"main": 100},
    )

    assert report.plan_text(made).splitlines() == [
        "plan: remove leftover, change in place",
        "  endpoint           diabetes",
        f"  online deployment  {made.online_deployment}",
        "  model              diabetes:1",
        "  environment        inference:1",
        "  traffic today      main 90 %, blue 10 %",
        "  traffic then       main 100 %",
        "remove leftover old: an earlier rollout left it",
        "change in place main: these fields change",
        "  instance_count: 1 -> 3",
        "  tags.a: x|y -> z",
    ]
    assert report.plan_markdown(made).splitlines() == [
        f"## Remove leftover, change in place: `{made.online_deployment}`",
        "",
        "Model `diabetes:1`, environment `inference:1`, traffic today main 90 %, blue 10 %, then main 100 %.",
        "",
        "| action | on | why | field | today | wanted |",
        "|---|---|---|---|---|---|",
        "| remove leftover | old | an earlier rollout left it | | | |",
        "| change in place | main | these fields change | instance_count | 1 | 3 |",
        "| change in place | main | these fields change | tags.a | x\\|y | z |",
    ]


def test_a_plan_without_anything_to_do_says_so() -> None:
    assert report.plan_text(planned()).startswith("plan: nothing to do\n")
    assert "## Nothing to do: `main-" in report.plan_markdown(planned())
    assert report.plan_markdown(planned()).endswith("\nAzure already is as the folder describes it.")


def test_what_somebody_else_changed_is_shown_also_where_nothing_is_to_be_done() -> None:
    made = planned(drift=(Change(field="instance_type", today="Standard_F4s_v2", wanted="Standard_DS3_v2"),))

    assert report.plan_text(made).splitlines()[-2:] == [
        f"{made.online_deployment} is not as Rollway created it; --force rolls out anew",
        "  instance_type: Standard_F4s_v2 -> Standard_DS3_v2",
    ]
    assert report.plan_markdown(made).splitlines()[-1] == (
        f"| nothing | {made.online_deployment} | not as Rollway created it; a forced rollout replaces it "
        "| instance_type | Standard_F4s_v2 | Standard_DS3_v2 |"
    )
    assert "already is as the folder describes it" not in report.plan_markdown(made)


def test_a_plan_without_a_model_or_an_environment_says_none() -> None:
    text = report.plan_text(planned(model=None, environment=None))

    assert re.findall(r"^  (model|environment) +\(none\)$", text, re.MULTILINE) == ["model", "environment"]


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


def test_a_report_without_smoke_tests_or_steps_leaves_those_parts_out() -> None:
    bare = a_report(Outcome.NO_OP).model_copy(update={"smoke_tests": (), "timeline": (), "retired": ()})

    assert not {"### Smoke tests", "### Timeline"} & set(report.markdown(bare).splitlines())
    assert "took" not in report.text(bare)


@given(st.text(min_size=1))
def test_every_name_makes_a_legal_artifact_key(name: str) -> None:
    assert re.fullmatch("[a-z0-9-]+", report.artifact_key(name))


STEPS = st.lists(
    st.builds(
        a_step,
        st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=60),
        st.floats(0, 1e5),
        st.floats(0, 1e5),
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@given(STEPS)
def test_the_timeline_is_a_picture_with_a_bar_per_step_inside_its_frame(steps: list[StepTime]) -> None:
    svg = ET.fromstring(report.timeline_svg(steps))  # noqa: S314

    bars = [one for one in svg if one.tag.endswith("rect")][1:]
    assert len(bars) == len(steps)
    assert all(float(bar.get("x", "")) + float(bar.get("width", "")) <= float(svg.get("width", "")) for bar in bars)


def test_a_step_that_failed_has_another_colour() -> None:
    assert "#d1495b" in report.timeline_svg([a_step(is_completed=False)])
    assert "#d1495b" not in report.timeline_svg([a_step(is_completed=True)])


def test_what_the_preflight_found_is_listed_with_what_helps() -> None:
    blocker = Finding(severity=Severity.BLOCKER, field="deployment.yml: a|b", message="is wrong", hint="mend it")
    warning = Finding(severity=Severity.WARNING, field="workspace: c", message="is odd", hint="look")

    assert report.preflight_text((blocker, warning)).splitlines() == [
        "preflight:",
        "  blocker  deployment.yml: a|b: is wrong",
        "           try: mend it",
        "  warning  workspace: c: is odd",
        "           try: look",
    ]
    assert report.preflight_markdown((blocker, warning)).splitlines()[2:] == [
        r"| blocker | deployment.yml: a\|b | is wrong | mend it |",
        "| warning | workspace: c | is odd | look |",
    ]
    assert report.preflight_text(()) == "preflight: nothing found"
    assert report.preflight_markdown(()) == "The preflight found nothing."
