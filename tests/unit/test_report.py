"""What happened, as text, markdown and a picture."""

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway import report
from rollway.report import Outcome, RolloutReport, StepTime
from rollway.rollout.plan import Action
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.smoke import SmokeTestResult
from rollway.rollout.state import EndpointState
from tests.unit.builders import a_plan, after, measurement, rollout_spec

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_step(name: str = "connect", start: float = 0.0, seconds: float = 2.0, is_completed: bool = True) -> StepTime:
    started = NOON + timedelta(seconds=start)
    return StepTime(name=name, started=started, ended=started + timedelta(seconds=seconds), is_completed=is_completed)


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
    ("action", "is_dry_run", "outcome"),
    [
        (Action.NEW, False, Outcome.PROMOTED),
        (Action.IN_PLACE, False, Outcome.UPDATED),
        (Action.NO_OP, False, Outcome.NO_OP),
        (Action.NEW, True, Outcome.PLANNED),
        (Action.NO_OP, True, Outcome.PLANNED),
    ],
)
def test_the_outcome_follows_from_the_plan(action: Action, is_dry_run: bool, outcome: Outcome) -> None:
    assert report.outcome_of(a_plan().model_copy(update={"action": action}), is_dry_run) is outcome


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


def test_a_plan_for_a_new_online_deployment_says_why() -> None:
    text = report.plan_text(a_plan())

    assert text.startswith("plan: new online deployment\n")
    assert "diabetes (to be created)" in text
    assert f"online deployment: none serves traffic -> {a_plan().online_deployment}" in text


def test_a_plan_without_anything_to_do_says_so() -> None:
    spec = rollout_spec()
    unchanged = a_plan(spec, after(a_plan(spec), spec, EndpointState(name="diabetes")))

    assert report.plan_text(unchanged).startswith("plan: nothing to do\n")
    assert "why:" not in report.plan_text(unchanged)
    assert "## Nothing to do: `main-" in report.plan_markdown(unchanged)
    assert "Azure already is as the folder describes it." in report.plan_markdown(unchanged)


def test_a_change_of_the_endpoint_is_part_of_the_plan() -> None:
    spec = rollout_spec()
    live = after(a_plan(spec), spec, EndpointState(name="diabetes"))
    changed = a_plan(rollout_spec(endpoint={"auth_mode": "aad_token"}), live)

    assert "  auth_mode: key -> aad_token" in report.plan_text(changed)
    assert "| auth_mode | key | aad_token |" in report.plan_markdown(changed)


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
