"""Plans and preflight findings as text and Markdown."""

import re

from rollway.reports import plan as plan_report
from rollway.rollout.changes import Change
from rollway.rollout.plan import Action, Kind, Plan
from rollway.rollout.preflight import Finding, Severity
from tests.support.builders import a_plan


def planned(*actions: Kind | Action, **changes: object) -> Plan:
    """A plan of these actions; a kind stands for an action without changes."""
    made = [
        one if isinstance(one, Action) else Action(kind=one, target="main", why=f"why {one.value}") for one in actions
    ]
    return a_plan().model_copy(update={"actions": tuple(made), **changes})


def test_the_headline_names_each_kind_of_action_once_and_in_order() -> None:
    made = planned(Kind.REMOVE, Kind.REMOVE, Kind.CREATE, Kind.MOVE_TRAFFIC)

    assert plan_report.headline(made) == "remove leftover, create online deployment, move traffic"
    assert plan_report.headline(planned()) == "nothing to do"


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

    assert plan_report.text(made).splitlines() == [
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
    assert plan_report.markdown(made).splitlines() == [
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
    assert plan_report.text(planned()).startswith("plan: nothing to do\n")
    assert "## Nothing to do: `main-" in plan_report.markdown(planned())
    assert plan_report.markdown(planned()).endswith("\nAzure already is as the folder describes it.")


def test_what_somebody_else_changed_is_shown_also_where_nothing_is_to_be_done() -> None:
    made = planned(drift=(Change(field="instance_type", today="Standard_F4s_v2", wanted="Standard_DS3_v2"),))

    assert plan_report.text(made).splitlines()[-2:] == [
        f"{made.online_deployment} is not as Rollway created it; --force rolls out again",
        "  instance_type: Standard_F4s_v2 -> Standard_DS3_v2",
    ]
    assert plan_report.markdown(made).splitlines()[-1] == (
        f"| nothing | {made.online_deployment} | not as Rollway created it; a forced rollout replaces it "
        "| instance_type | Standard_F4s_v2 | Standard_DS3_v2 |"
    )
    assert "already is as the folder describes it" not in plan_report.markdown(made)


def test_a_plan_without_a_model_or_an_environment_says_none() -> None:
    text = plan_report.text(planned(model=None, environment=None))

    assert re.findall(r"^  (model|environment) +\(none\)$", text, re.MULTILINE) == ["model", "environment"]


def test_what_the_preflight_found_is_listed_with_what_helps() -> None:
    blocker = Finding(severity=Severity.BLOCKER, field="deployment.yml: a|b", message="is wrong", hint="mend it")
    warning = Finding(severity=Severity.WARNING, field="workspace: c", message="is odd", hint="look")

    assert plan_report.preflight_text((blocker, warning)).splitlines() == [
        "preflight:",
        "  blocker  deployment.yml: a|b: is wrong",
        "           try: mend it",
        "  warning  workspace: c: is odd",
        "           try: look",
    ]
    assert plan_report.preflight_markdown((blocker, warning)).splitlines()[2:] == [
        r"| blocker | deployment.yml: a\|b | is wrong | mend it |",
        "| warning | workspace: c | is odd | look |",
    ]
    assert plan_report.preflight_text(()) == "preflight: nothing found"
    assert plan_report.preflight_markdown(()) == "The preflight found nothing."
