"""The dossier of a failed rollout."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from rollway.errors import (
    Cause,
    ForeignChange,
    ProvisioningFailed,
    RollwayError,
    TrafficNotRestored,
)
from rollway.reports import dossier
from rollway.reports.dossier import MEANING, Dossier
from rollway.reports.timeline import TaskTime
from rollway.rollout.container_log import with_log
from rollway.rollout.preflight import Finding, Severity
from tests.support.builders import WORKSPACE, rollout_spec

START = datetime(2026, 1, 1, tzinfo=UTC)
TIMELINE = (
    TaskTime(name="connect", started=START, ended=START + timedelta(seconds=2)),
    TaskTime(name="wait until ready", started=START, ended=START + timedelta(seconds=60), is_completed=False),
)
OUT_OF_CORES = ProvisioningFailed(
    "the online deployment 'main-1' did not become ready",
    where="endpoint diabetes",
    why="OutOfQuota: no cores",
    hint="request more cores",
    log="--- log of the inference server container, last 100 lines ---\nstarting",
    cause=Cause.QUOTA,
    code="OutOfQuota",
    request_id="0af7",
    error_tree="OutOfQuota: no cores\n  Correlation: operation 0af7",
)
FINDINGS = (
    Finding(
        severity=Severity.WARNING, field="endpoint.yml: location", message="westeurope is ignored", hint="remove it"
    ),
    Finding(
        severity=Severity.WARNING,
        field="deployment.yml: instance_type",
        message="the quota could not be read",
        hint="give the identity the role Reader",
    ),
)


def a_dossier(error: BaseException = OUT_OF_CORES, **changes: object) -> Dossier:
    """Of a rollout that moved nothing and deleted its candidate."""
    values: dict[str, object] = {
        "task": "wait until ready",
        "timeline": TIMELINE,
        "traffic_before": {"main-0": 100},
        "traffic_now": {"main-0": 100},
        "workspace": str(WORKSPACE),
        "cleaned_up": ["online deployment main-1 deleted"],
        "kept": ["endpoint diabetes, it costs nothing"],
        "findings": FINDINGS,
        "run_url": "http://prefect.example/runs/flow-run/1",
        **changes,
    }
    return dossier.build(error, rollout_spec(), **values)  # type: ignore[arg-type]


def test_the_short_text_has_what_why_and_what_to_do_in_few_lines() -> None:
    assert dossier.text(a_dossier()) == (
        "diabetes: aborted at 'wait until ready' (quota, OutOfQuota)\n"
        "  what: the online deployment 'main-1' did not become ready\n"
        "  where: endpoint diabetes\n"
        f"  workspace: {WORKSPACE}\n"
        "  why: OutOfQuota: no cores\n"
        "  next: request more cores\n"
        "  traffic: before main-0 100 %; now main-0 100 %\n"
        "  cleaned up: online deployment main-1 deleted\n"
        "  kept: endpoint diabetes, it costs nothing\n"
        "  retry: rollway deploy deployments/diabetes\n"
        "  Azure request id: 0af7\n"
        "  run: http://prefect.example/runs/flow-run/1"
    )


def test_the_artifact_has_all_of_it_with_the_reason_first_and_the_logs_last() -> None:
    artifact = dossier.markdown(a_dossier())

    parts = [
        "## diabetes: aborted at 'wait until ready' (quota, OutOfQuota)",
        "the online deployment 'main-1' did not become ready\nOutOfQuota: no cores\n```",
        "**Next:** request more cores",
        f"- **cause**: quota: {MEANING[Cause.QUOTA]}",
        "- **code**: OutOfQuota",
        "- **task**: wait until ready",
        "- **endpoint**: diabetes",
        f"- **workspace**: {WORKSPACE}",
        "- **model**: diabetes@latest",
        "- **traffic before**: main-0 100 %",
        "- **traffic now**: main-0 100 %",
        "- **Azure request id**: 0af7",
        "- **run**: [open in Prefect](http://prefect.example/runs/flow-run/1)",
        "rollway deploy deployments/diabetes\n```",
        "### Cleaned up\n\n- online deployment main-1 deleted",
        "### Kept\n\n- endpoint diabetes, it costs nothing",
        "### Quota\n\n- deployment.yml: instance_type: the quota could not be read; give the identity",
        "### Timeline\n\n![timeline](data:image/svg+xml;base64,",
        "### Azure's whole error\n\n```text\nOutOfQuota: no cores\n  Correlation: operation 0af7\n```",
        "### Logs and details\n\n```text\n--- log of the inference server container, last 100 lines ---\nstarting\n```",
    ]
    places = [artifact.index(part) for part in parts]
    assert places == sorted(places)


def test_what_is_not_known_is_left_out() -> None:
    bare = dossier.build(RollwayError("no luck"), rollout_spec(), task="connect")

    artifact = dossier.markdown(bare)

    for title in ("What was kept", "Quota", "Timeline", "Azure's whole error", "Logs and details", "And", "**code**"):
        assert title not in artifact
    assert "Nothing had been changed." in artifact
    assert "- **traffic now**: unknown" in artifact
    assert dossier.text(bare) == (
        "diabetes: aborted at 'connect' (permanent)\n"
        "  what: no luck\n"
        f"  next: {MEANING[Cause.PERMANENT]}\n"
        "  traffic: before unknown; now unknown\n"
        "  retry: rollway deploy deployments/diabetes"
    )


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_says_what_it_means(cause: Cause) -> None:
    assert f"- **cause**: {cause.value}: {MEANING[cause]}" in dossier.markdown(
        a_dossier(RollwayError("it broke", cause=cause))
    )


def test_no_traffic_is_not_the_same_as_unknown_traffic() -> None:
    assert "traffic: before none; now unknown" in dossier.text(a_dossier(traffic_before={}, traffic_now=None))


@pytest.mark.parametrize(
    ("error", "outcome", "what", "cause", "action"),
    [
        (KeyError("x"), "aborted", "an unexpected error occurred", Cause.PERMANENT, "read the traceback"),
        (TimeoutError("3 s"), "aborted", "a task exceeded its deadline", Cause.TRANSIENT, "what delays it"),
        (
            asyncio.CancelledError(),
            "stopped",
            "the run was stopped",
            Cause.TRANSIENT,
            "run it again when you are ready",
        ),
        (KeyboardInterrupt(), "stopped", "the run was stopped", Cause.TRANSIENT, "it continues from the current state"),
        (TrafficNotRestored("bad", hint="look"), "TRAFFIC NOT RESTORED", "bad", Cause.PERMANENT, "look"),
        (ForeignChange("changed"), "aborted", "changed", Cause.CONFLICT, "find out who"),
    ],
)
def test_any_exception_has_a_dossier(error: BaseException, outcome: str, what: str, cause: Cause, action: str) -> None:
    found = a_dossier(error)

    assert (found.outcome, found.what, found.cause) == (outcome, what, cause)
    assert action in found.next_action
    if not isinstance(error, RollwayError):
        assert str(found.why).startswith(type(error).__name__)


def test_what_is_promoted_is_not_called_aborted() -> None:
    found = a_dossier(RollwayError("it broke"), is_promoted=True, task="retire what was replaced")

    assert found.headline == "diabetes: promoted, then failed at 'retire what was replaced' (permanent)"


def test_no_secret_reaches_the_dossier() -> None:
    secret = "very-secret-123"
    url = f"https://a.blob.example/m?sig={secret}"
    error = ProvisioningFailed(url, where=url, why=url, details=f"Bearer {secret}", error_tree=f"AccountKey={secret}")
    error.add_note(f"password={secret}")

    found = a_dossier(error)

    assert secret not in found.model_dump_json() + dossier.markdown(found) + dossier.text(found)
    assert "sig=***" in found.what


def test_logs_that_were_read_are_better_than_the_errors_own() -> None:
    assert a_dossier(logs="read later").logs == "read later"
    assert str(a_dossier().logs).endswith("starting")


def test_what_the_script_raised_is_picked_out_of_the_log() -> None:
    log = (
        "2026-01-01 azmlinfsrv - Encountered Exception Traceback (most recent call last):\n"
        '  File "score.py", line 5, in init\n'
        '    raise RuntimeError("no weights")\n'
        "RuntimeError: no weights\n"
        "\n"
        "The above exception was the direct cause of the following exception:\n"
        "azureml_inference_server_http.UserScriptException: Caught an unhandled exception\n"
    )

    found = a_dossier(logs=log)

    assert "\n  log: RuntimeError: no weights\n" in dossier.text(found)
    assert "OutOfQuota: no cores\nRuntimeError: no weights\n```" in dossier.markdown(found)


def test_the_exception_of_a_failing_model_is_in_the_title_and_is_told_once() -> None:
    error = ProvisioningFailed("the online deployment 'main-1' did not become ready", code="ResourceNotReady")

    found = a_dossier(with_log(error, "RuntimeError: no weights\n"))

    assert found.headline == (
        "diabetes: RuntimeError: no weights: aborted at 'wait until ready' (permanent, ResourceNotReady)"
    )
    assert "what: RuntimeError: no weights (the online deployment 'main-1' did not become ready)" in dossier.text(found)
    assert "log:" not in dossier.text(found)


def test_an_alert_begins_with_the_exception_in_one_line_without_secrets() -> None:
    error = with_log(ProvisioningFailed("it failed", hint="read it"), "ValueError: password=hunter22-abc\nmore\n")

    cause, next_action = dossier.cause_and_next_action(error)

    assert cause == "ValueError: password=*** more (it failed) (permanent)"
    assert next_action == "read it"


def test_a_log_without_an_exception_gives_no_clue() -> None:
    assert "log:" not in dossier.text(a_dossier(logs="Error: 3\n  ValueError: indented\nstarting"))


def test_errors_that_came_on_top_are_shown() -> None:
    error = RollwayError("it broke")
    error.add_note("\nand: another one")

    assert "### Further errors\n\n```text\nand: another one\n```" in dossier.markdown(a_dossier(error))


def test_a_text_cannot_break_out_of_its_block_or_line() -> None:
    error = RollwayError("it broke ``` badly", where="a | b\nc", details="```")

    artifact = dossier.markdown(a_dossier(error))

    assert artifact.count("```") == 6, "three blocks, each with a beginning and an end"
    assert "- **where**: a | b c" in artifact


def test_a_long_reason_is_one_cut_line_in_the_short_text() -> None:
    found = dossier.text(a_dossier(RollwayError("it broke", why="many\nwords " * 100)))

    why = next(line for line in found.splitlines() if line.startswith("  why: many words"))
    assert len(why) < 320
    assert why.endswith("…")
    assert len(found.splitlines()) <= 13


@pytest.mark.parametrize(
    ("parameters", "command"),
    [
        ({}, "rollway deploy 'my deployments/diabetes'"),
        (
            {"model_version": None, "dry_run": False, "force": False, "weight": 100, "workspace_block": None},
            "rollway deploy 'my deployments/diabetes'",
        ),
        (
            {"rollout": "diabetes", "model_version": "7", "force": True, "weight": 10},
            "rollway deploy 'my deployments/diabetes' --model-version 7 --force --weight 10",
        ),
        (
            {"dry_run": True, "workspace_block": "test-west"},
            "env ROLLWAY_WORKSPACE_BLOCK=test-west rollway deploy 'my deployments/diabetes' --dry-run",
        ),
        ({"rollout": "diabetes", "to": None}, "rollway rollback 'my deployments/diabetes'"),
        ({"rollout": "diabetes", "to": "3"}, "rollway rollback 'my deployments/diabetes' --to 3"),
    ],
)
def test_the_command_repeats_the_run_exactly_and_can_be_pasted(parameters: dict[str, object], command: str) -> None:
    spec = rollout_spec().model_copy(update={"folder": "my deployments/diabetes"})

    found = dossier.build(RollwayError("x"), spec, task="connect", parameters=parameters)

    assert found.retry_command == command


def test_what_the_preflight_found_about_quota_is_told_only_when_that_is_the_cause() -> None:
    assert a_dossier().quota == (
        "deployment.yml: instance_type: the quota could not be read; give the identity the role Reader",
    )
    assert a_dossier(RollwayError("x")).quota == ()


def test_the_model_that_was_resolved_is_better_than_the_label() -> None:
    assert a_dossier(model="diabetes:7").model == "diabetes:7"
