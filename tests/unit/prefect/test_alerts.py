"""Which alerts there are, and what they say when Prefect fills in their templates."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import ChainableUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from rollway.errors import ConfigurationError, SmokeTestFailed
from rollway.prefect.alerts import (
    DEFAULT_CHANNEL,
    AlertedRollout,
    Changes,
    check_heartbeats,
    compare,
    wanted,
)
from rollway.prefect.triggers import DEFAULT_TIMING, Automation, Message, SilenceCheck, Timing
from rollway.reports.dossier import cause_and_next_action
from rollway.spec import Alerts
from tests.support.builders import rollout_spec

DIABETES = AlertedRollout(rollout="diabetes", endpoint="diabetes-prod", severity="notify", channel="ops")
LABELS = {
    "rollway.endpoint": "diabetes-prod",
    "rollway.workspace": "ml/prod (subscription 1)",
    "rollway.model": "diabetes:7",
    "rollway.task": "abort: restore traffic",
    "rollway.failed-task": "smoke test main-1234abcd (pinned)",
    "rollway.traffic": "main-99999999 100 %",
}


def automation(name: str, *rollouts: AlertedRollout, timing: Timing = DEFAULT_TIMING) -> Automation:
    """The automation of a name, which may have its channel behind it."""
    names = (f"rollway alerts: {name}", f"rollway alerts: {name} (ops)")
    return next(one for one in wanted(rollouts or (DIABETES,), "ops", timing) if one.name in names)


def message(name: str, *rollouts: AlertedRollout) -> Message:
    found = automation(name, *rollouts).action
    assert isinstance(found, Message)
    return found


def rendered(
    name: str, state: str, text: str | None, labels: dict[str, str], *rollouts: AlertedRollout, **event: str
) -> tuple[str, str]:
    """Subject and body as the Prefect server makes them: the same sandbox, and undefined things are empty."""
    environment = ImmutableSandboxedEnvironment(undefined=ChainableUndefined)
    environment.filters["ui_url"] = lambda run: f"https://prefect.example/runs/flow-run/{run.id}"
    values: dict[str, Any] = {
        "flow_run": SimpleNamespace(
            id="run-1",
            state=SimpleNamespace(name=state, message=text, type=SimpleNamespace(value=state.upper())),
            labels=labels,
            parameters={"rollout": "deployments/diabetes", "model_version": "8", "flow_run_id": "run-0"},
        ),
        "event": SimpleNamespace(payload=event, resource=SimpleNamespace(name="diabetes")),
    }
    found = message(name, *rollouts)
    return tuple(environment.from_string(part).render(values) for part in (found.subject, found.body))  # type: ignore[return-value]


def test_a_failed_rollout_is_told_with_cause_next_action_task_model_traffic_and_link() -> None:
    error = SmokeTestFailed(
        "the smoke test of 'main-1234abcd' failed: status 500, not 200",
        where="deployments/diabetes/rollout.yml: smoke_test",
        why="Bearer abcdefghijklmnop was refused",
        hint="mend the scoring script",
        code="ModelError",
        details="a log\n\nof many lines",
    )
    cause, next_action = cause_and_next_action(error)
    labels = {**LABELS, "rollway.cause": cause, "rollway.next": next_action}

    subject, body = rendered("failed", "Failed", f"Flow run encountered an exception: {error}", labels)

    assert subject == "[notify] rollout diabetes: failed"
    assert body.splitlines() == [
        "Cause: the smoke test of 'main-1234abcd' failed: status 500, not 200 (permanent, ModelError)",
        "  where: deployments/diabetes/rollout.yml: smoke_test",
        "  why: Bearer *** was refused",
        "Next: mend the scoring script",
        "Endpoint: diabetes-prod",
        "Workspace: ml/prod (subscription 1)",
        "Model: diabetes:7",
        "Task: smoke test main-1234abcd (pinned)",
        "Traffic, as last seen by this run: main-99999999 100 %",
        "Run: https://prefect.example/runs/flow-run/run-1",
    ]


def test_a_process_that_is_killed_while_it_cleans_up_is_told_as_killed() -> None:
    labels = {**LABELS, "rollway.cause": "the smoke test failed", "rollway.next": "mend it"}

    _, body = rendered("failed", "Crashed", "Process exited with status code: -9", labels)

    assert body.startswith("Cause: Process exited with status code: -9\nNext: check the endpoint")


@pytest.mark.parametrize(
    ("state", "text", "next_action"),
    [
        ("Failed", "Flow run received invalid parameters", "read the run's artifacts and log, then run it again"),
        ("Cancelled", None, "nothing if the cancellation was intended; otherwise run it again"),
        (
            "Crashed",
            "Flow run infrastructure exited with non-zero status code -9.",
            "check the endpoint with `rollway status diabetes-prod`, then run it again to repair it",
        ),
    ],
)
def test_what_ends_without_advice_of_its_own_gets_the_usual_one(state: str, text: str | None, next_action: str) -> None:
    _, body = rendered("failed", state, text, LABELS)

    assert f"\nNext: {next_action}\n" in body


def test_a_run_that_died_before_it_began_is_told_with_what_the_folder_says() -> None:
    _, body = rendered("failed", "Crashed", None, {})

    assert body.startswith("Cause: unknown\n")
    assert "Endpoint: diabetes-prod\nWorkspace: not connected yet\nModel: 8\nTask: none, it had not started\n" in body
    assert "Traffic, as last seen by this run: not seen yet\n" in body


def test_a_run_in_the_middle_of_a_task_is_told_with_that_task() -> None:
    _, body = rendered("failed", "Crashed", None, {**LABELS, "rollway.failed-task": "", "rollway.task": "plan"})

    assert "\nTask: plan\n" in body


def test_a_long_cause_is_cut() -> None:
    _, body = rendered("failed", "Failed", "x" * 5000, LABELS)

    assert len(body) < 2000


@given(st.text())
def test_any_text_of_a_state_makes_an_alert(text: str) -> None:
    _, body = rendered("failed", "Failed", text, LABELS)

    assert body.startswith("Cause: ")
    assert body.endswith("Run: https://prefect.example/runs/flow-run/run-1")


def test_a_held_rollout_asks_a_person_with_the_numbers_and_the_commands() -> None:
    why = "gate after step 1 of 3 (5 %): successful: 412 requests"

    subject, body = rendered("held", "Running", None, {}, endpoint="e", workspace="w", why=why)

    assert subject == "[notify] rollout diabetes: waits for a person"
    assert body.splitlines() == [
        f"Cause: {why}",
        "Next: rollway promote diabetes-prod, or rollway abort diabetes-prod; or run the flow steer-rollout",
        "Endpoint: e",
        "Workspace: w",
        "Run: https://prefect.example/runs/flow-run/run-1",
    ]


def test_a_held_rollout_can_be_answered_by_links() -> None:
    links = {"promote": "https://prefect.example/p", "abort": "https://prefect.example/a"}

    _, body = rendered("held", "Running", None, {}, endpoint="e", workspace="w", why="a gate", **links)

    assert body.splitlines()[2:4] == ["Promote: https://prefect.example/p", "Abort: https://prefect.example/a"]


def test_a_cancelled_run_is_checked_because_one_that_waits_runs_no_hook() -> None:
    found = automation("abort cancelled runs")

    assert (found.trigger["expect"], found.action) == (["prefect.flow-run.Cancelled"], SilenceCheck(silent_seconds=90))


def test_a_recovery_is_told_with_what_serves_now() -> None:
    subject, body = rendered(
        "recovered",
        "Running",
        None,
        {},
        endpoint="e",
        workspace="w",
        model="m:1",
        outcome="promoted",
        traffic="new 100 %",
    )

    assert subject == "[notify] rollout diabetes: works again"
    assert body.splitlines() == [
        "Endpoint: e",
        "Workspace: w",
        "Model: m:1",
        "Outcome: promoted",
        "Traffic: new 100 %",
        "Next: nothing",
        "Run: https://prefect.example/runs/flow-run/run-1",
    ]


def test_a_run_that_no_worker_begins_is_told_after_the_configured_time() -> None:
    _, body = rendered("waiting", "Late", None, {})

    assert body.startswith("Cause: no worker has started the run within 10 min\n")
    assert automation("waiting").trigger["within"] == 600


def test_four_automations_serve_all_rollouts_of_a_channel() -> None:
    fifty = [DIABETES.model_copy(update={"rollout": f"r{number}"}) for number in range(50)]
    night = DIABETES.model_copy(update={"rollout": "fraud", "channel": "night"})

    names = [one.name for one in wanted([*fifty, night], "ops", Timing())]

    assert len(names) == 5 + 2 * 4
    assert names[-4:] == [f"rollway alerts: {kind} (ops)" for kind in ("failed", "waiting", "held", "recovered")]


def test_a_channel_hears_only_of_its_own_rollouts() -> None:
    night = DIABETES.model_copy(update={"rollout": "fraud", "channel": "night"})
    second = DIABETES.model_copy(update={"rollout": "second"})

    for kind in ("failed", "waiting", "held", "recovered"):
        assert automation(kind, DIABETES, night, second).trigger["match_related"] == [
            {
                "prefect.resource.role": "tag",
                "prefect.resource.id": ["prefect.tag.rollout:diabetes", "prefect.tag.rollout:second"],
            }
        ]


def test_each_rollout_keeps_its_severity_and_its_endpoint() -> None:
    fraud = DIABETES.model_copy(update={"rollout": "fraud", "severity": "page", "endpoint": "fraud"})
    paged = DIABETES.model_copy(update={"severity": "page"})

    assert rendered("failed", "Failed", None, {}, DIABETES, fraud)[0] == "[notify] rollout diabetes: failed"
    assert rendered("failed", "Failed", None, {}, paged, fraud)[0] == "[page] rollout diabetes: failed"
    assert "Endpoint: diabetes-prod\n" in rendered("failed", "Failed", None, {}, fraud, DIABETES)[1]


def test_only_a_rollout_that_completes_after_a_failure_is_told_as_recovered() -> None:
    assert automation("recovered").trigger["match"]["rollway.after-failure"] == "yes"


def test_an_alert_links_to_the_endpoint_in_the_studio_if_there_is_one() -> None:
    page = "https://ml.azure.com/endpoints/realtime/e/detail?wsid=w"

    _, failed = rendered("failed", "Failed", None, {**LABELS, "rollway.studio": page})
    _, held = rendered("held", "Running", None, {}, why="a gate", studio=page)

    for body in (failed, held):
        assert body.splitlines()[-2:] == [f"Studio: {page}", "Run: https://prefect.example/runs/flow-run/run-1"]


def test_a_rollout_of_severity_none_has_no_alerts_but_its_dead_runs_still_become_crashed() -> None:
    silent = DIABETES.model_copy(update={"severity": "none"})

    assert [one.name for one in wanted([silent], "ops", Timing())] == [
        "rollway alerts: crash silent runs",
        "rollway alerts: abort cancelled runs",
        "rollway alerts: silent run unchecked",
        "rollway alerts: watch-endpoints late",
        "rollway alerts: watch-endpoints recovered",
    ]


def test_a_run_is_missed_even_when_it_dies_before_its_first_heartbeat() -> None:
    trigger = automation("crash silent runs").trigger

    assert "prefect.flow-run.Running" in trigger["after"]
    assert set(trigger["after"]) < set(trigger["expect"])
    assert trigger["within"] == 90


@pytest.mark.parametrize("state", ["AwaitingRetry", "Resuming", "Suspended", "Paused", "Completed", "Cancelled"])
def test_a_run_that_stops_running_is_not_missed(state: str) -> None:
    assert f"prefect.flow-run.{state}" in automation("crash silent runs").trigger["expect"]


def test_a_silent_run_is_checked_with_the_limit_of_the_command() -> None:
    assert automation("crash silent runs", timing=Timing(silent_seconds=120)).action == SilenceCheck(silent_seconds=120)


def test_a_silent_run_that_no_worker_checks_is_told() -> None:
    subject, body = rendered("silent run unchecked", "Late", None, {})

    assert subject == "[notify] a run is silent and no worker checks it"
    assert body.splitlines() == [
        "Cause: a run sends no heartbeats, and no worker has started its check within 90 s: its machine and the last "
        "worker may be gone",
        "Next: start a worker; the check then starts by itself and sets the run to Crashed if it is dead",
        "Silent run: run-0",
        "Check: https://prefect.example/runs/flow-run/run-1",
    ]


def test_only_an_event_starts_the_time_of_a_silence() -> None:
    triggers = [one.trigger for one in wanted([DIABETES], "ops", DEFAULT_TIMING)]
    silences = [one for trigger in triggers for one in trigger.get("triggers", [trigger])]
    silences = [one for one in silences if one["posture"] == "Proactive"]

    assert len(silences) == 5
    assert all(one["within"] > 1 and one["after"] and one["for_each"] for one in silences)


def test_an_event_that_is_delivered_again_fires_nothing_again() -> None:
    reactive = [one.trigger for one in wanted([DIABETES], "ops", Timing()) if one.trigger.get("posture") == "Reactive"]

    assert [trigger["within"] for trigger in reactive] == [1, 600, 1, 1]


def test_an_end_that_is_reported_again_is_told_once_and_that_of_the_next_attempt_again() -> None:
    trigger = automation("failed").trigger

    assert trigger["for_each"] == ["prefect.resource.id", "prefect.run-count", "prefect.state-type"]
    assert trigger["within"] == 600


def test_alerts_come_from_the_rollouts_file_and_the_default_channel() -> None:
    spec = rollout_spec()
    paging = spec.rollout.model_copy(update={"alerts": Alerts(severity="page", channel="slack-webhook/ml")})

    assert AlertedRollout.of(spec, DEFAULT_CHANNEL) == AlertedRollout(
        rollout="diabetes", endpoint="diabetes", severity="notify", channel="rollway-alerts"
    )
    assert AlertedRollout.of(spec.model_copy(update={"rollout": paging}), "other").channel == "slack-webhook/ml"


def test_what_is_there_becomes_what_is_wanted_by_name() -> None:
    changes = compare(
        {"new": 1, "changed": 2, "same": 3}, {"changed": 1, "same": 3, "stale": 4}, switched_off=("same", "stale")
    )

    assert changes == Changes(
        create=("new",), update=("changed",), delete=("stale",), unchanged=("same",), switched_off=("same",)
    )
    assert str(changes).splitlines() == [
        "create    new",
        "update    changed",
        "delete    stale",
        "unchanged same",
        "note: 'same' is switched off in Prefect and stays off",
    ]


names = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 2))


@given(names, names)
def test_after_the_changes_there_is_nothing_left_to_change(want: dict[str, int], have: dict[str, int]) -> None:
    changes = compare(want, have)
    kept = {name: value for name, value in have.items() if name not in changes.delete}
    then = {**kept, **{name: want[name] for name in (*changes.create, *changes.update)}}

    assert then == want
    assert compare(want, then) == Changes(unchanged=tuple(want))


@pytest.mark.parametrize("seconds", [None, 31, 180])
def test_heartbeats_that_are_too_rare_for_the_silence_are_refused(seconds: int | None) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_heartbeats({"fine": 30, "diabetes": seconds}, Timing(silent_seconds=90))

    assert refused.value.what == "healthy runs would be taken for dead"
    assert refused.value.where == "Prefect deployments diabetes"
    assert refused.value.why == "their runs send heartbeats less than three times in 90 s"


def test_heartbeats_three_times_in_the_silence_are_enough() -> None:
    check_heartbeats({"diabetes": 30}, Timing(silent_seconds=90))
