"""Plans and preflight findings as text and Markdown."""

import re

from rollway.reports import plan as plan_report
from rollway.rollout.follow import Skipped
from rollway.rollout.moves import Change, Kind, Move, Outcome, end
from rollway.rollout.plan import Plan
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.record import CREATED_BY
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from tests.support.builders import WORKSPACE, a_plan


def planned(*moves: Kind | Move, **changes: object) -> Plan:
    """A plan of these moves; a kind stands for a move without changes."""
    made = [one if isinstance(one, Move) else Move(kind=one, target="main", why=f"why {one.value}") for one in moves]
    return a_plan().model_copy(update={"moves": tuple(made), **changes})


def nothing_due(why: str = "Azure is as the folder describes it") -> Plan:
    return planned(end=end(Outcome.DONE, "diabetes", why))


def test_the_headline_names_each_kind_of_move_once_and_in_order() -> None:
    made = planned(Kind.DELETE, Kind.DELETE, Kind.CREATE, Kind.MOVE_TRAFFIC)

    assert plan_report.headline(made) == "delete online deployment, create online deployment, move traffic"
    assert plan_report.headline(planned()) == "nothing to do"


def test_a_plan_names_every_move_with_its_reason_and_its_fields() -> None:
    made = planned(
        Move(kind=Kind.DELETE, target="old", why="an earlier rollout left it"),
        Move(
            kind=Kind.CHANGE,
            target="main",
            why="these fields can change in place",
            changes=(
                Change(field="instance_count", today="1", wanted="3"),
                Change(field="tags.a", today="x|y", wanted="z"),
            ),
        ),
        traffic_before={"main": 90, "blue": 10},
        traffic_after={"main": 100},
    )

    assert plan_report.text(made).splitlines() == [
        "plan: delete online deployment, change in place",
        "  endpoint           diabetes",
        f"  workspace          {WORKSPACE}",
        f"  online deployment  {made.online_deployment}",
        "  model              diabetes:1",
        "  environment        inference:1",
        "  traffic today      main 90 %, blue 10 %",
        "  traffic then       main 100 %",
        "delete online deployment old: an earlier rollout left it",
        "change in place main: these fields can change in place",
        "  instance_count: 1 -> 3",
        "  tags.a: x|y -> z",
    ]
    assert plan_report.markdown(made).splitlines() == [
        f"## Delete online deployment, change in place: `{made.online_deployment}`",
        "",
        f"Endpoint `diabetes` in {WORKSPACE}.",
        "",
        "Model `diabetes:1`, environment `inference:1`, traffic today main 90 %, blue 10 %, then main 100 %.",
        "",
        "1. **delete online deployment** `old`: an earlier rollout left it",
        "2. **change in place** `main`: these fields can change in place",
        "   - instance_count: `1` → `3`",
        "   - tags.a: `x|y` → `z`",
    ]


def test_a_plan_says_what_stays_for_how_long_at_which_cost() -> None:
    blue = OnlineDeploymentState(
        name="blue",
        provisioning_state="Succeeded",
        instance_count=2,
        tags={CREATED_BY: "run/0"},
        settings={"instance_type": "Standard_DS3_v2"},
    )
    foreign = blue.model_copy(update={"name": "green", "tags": {}})
    today = EndpointState(name="diabetes", traffic={"blue": 60, "green": 40}, online_deployments=(blue, foreign))

    made = a_plan(endpoint=today)

    assert [line.strip() for line in plan_report.text(made).splitlines() if line.startswith("  kept")] == [
        "kept               blue (medium cost: 2 x Standard_DS3_v2) for 3600 s, to go back to",
        "kept               green (medium cost: 2 x Standard_DS3_v2); Rollway did not create it and leaves it alone",
    ]
    assert "- kept: blue (medium cost: 2 x Standard_DS3_v2) for 3600 s, to go back to\n" in plan_report.markdown(made)


def test_a_plan_lists_the_newer_versions_that_it_does_not_roll_out() -> None:
    made = planned(skipped=(Skipped(version="9", reason="it is archived"),))

    assert "  not rolled out     9: it is archived" in plan_report.text(made).splitlines()
    assert "- not rolled out: 9: it is archived" in plan_report.markdown(made).splitlines()


def test_a_plan_in_which_nothing_is_due_says_why() -> None:
    assert plan_report.text(nothing_due()).startswith("plan: nothing to do\n")
    assert plan_report.text(nothing_due()).endswith("\nnothing is due: Azure is as the folder describes it")
    assert "## Nothing to do: `main-" in plan_report.markdown(nothing_due())
    assert plan_report.markdown(nothing_due("it is held: hold by a|b")).endswith(
        "\nNothing is due: it is held: hold by a|b."
    )


def test_a_foreign_change_is_shown_even_if_nothing_is_due() -> None:
    made = planned(drift=(Change(field="instance_type", today="Standard_F4s_v2", wanted="Standard_DS3_v2"),))

    assert plan_report.text(made).splitlines()[-2:] == [
        f"{made.online_deployment} is not as Rollway created it; --force rolls out again",
        "  instance_type: Standard_F4s_v2 -> Standard_DS3_v2",
    ]
    assert plan_report.markdown(made).splitlines()[-2:] == [
        f"- `{made.online_deployment}` is not as Rollway created it; a forced rollout replaces it",
        "   - instance_type: `Standard_F4s_v2` → `Standard_DS3_v2`",
    ]
    assert "Nothing is due" not in plan_report.markdown(made)


def test_a_plan_without_a_model_or_an_environment_says_none() -> None:
    text = plan_report.text(planned(model=None, environment=None))

    assert re.findall(r"^  (model|environment) +\(none\)$", text, re.MULTILINE) == ["model", "environment"]


def test_the_findings_of_the_preflight_are_listed_with_what_helps() -> None:
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
        "- **blocker** `deployment.yml: a|b`: is wrong",
        "  - try: mend it",
        "- **warning** `workspace: c`: is odd",
        "  - try: look",
    ]
    assert plan_report.preflight_text(()) == "preflight: nothing found"
    assert plan_report.preflight_markdown(()) == "The preflight found nothing."
