"""The command line, in this process: stdout is the answer, stderr is talk, and the exit code tells what happened."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rollway.azure import planning
from rollway.cli import main
from rollway.errors import (
    AzureUnavailable,
    DeadlineExceeded,
    NotFound,
    RollwayError,
    SmokeTestFailed,
    TrafficNotRestored,
)
from rollway.reports import plan as plan_report
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.rollout.fleet import Fleet, Member, Progress
from rollway.rollout.plan import Plan
from rollway.rollout.preflight import Finding, Severity
from rollway.rollout.request import Request
from rollway.rollout.wanted import RequestedBy
from rollway.spec import RolloutFile, RolloutSpec
from tests.support.builders import RolloutFolder, a_plan
from tests.support.command_line import code_of


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide terminal without colours, an environment that the command may change, and no Prefect server to start."""
    monkeypatch.setattr("rollway.prefect.server._start_temporary", lambda _: None)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("ROLLWAY_DEBUG", "")


def plan_gives(monkeypatch: pytest.MonkeyPatch, outcome: Plan | BaseException) -> list[Request]:
    """Replaces what talks to Azure; gives the requests that reach it."""
    calls: list[Request] = []

    async def plan_rollout(request: Request, _: None) -> Plan:
        calls.append(request)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    monkeypatch.setattr(planning, "plan_rollout", plan_rollout)
    return calls


def test_a_valid_folder_is_called_valid(folder: RolloutFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("validate", f"{folder.path}/") == 0
    assert capsys.readouterr().out == f"{folder.path} is valid\n"


def test_a_valid_folder_as_json_is_one_document(folder: RolloutFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("validate", str(folder.path), "--json") == 0
    assert RolloutSpec.model_validate_json(capsys.readouterr().out).name == "diabetes"


def test_an_invalid_folder_exits_2_with_every_problem_on_stderr(
    folder: RolloutFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.change("deployment.yml", instance_count=0, instnce_type="x")

    assert code_of("validate", str(folder.path)) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {folder.path} does not describe a rollout: 2 problems\n")
    assert "instance_count: 0 is out of range" in captured.err
    assert "did you mean 'instance_type'?" in captured.err
    assert "Traceback" not in captured.err


def test_the_diabetes_folder_of_the_project_is_valid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])

    assert code_of("validate", "deployments/diabetes") == 0
    assert capsys.readouterr().out == "deployments/diabetes is valid\n"


def test_validate_works_where_the_cloud_cannot_be_reached(
    folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARM_CLOUD_METADATA_URL", "https://127.0.0.1:1/metadata")

    assert code_of("validate", str(folder.path)) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["validat", "x"],
        ["validate", "x", "--jsn"],
        ["plan", "x", "--model-version"],
        ["plan", "x", "--model-version", "azureml:diabetes:7"],
        ["deploy", "x", "--weight", "200"],
        ["plan", "x", "--weight", "0"],
        ["plan", "x", "--requested-by", "nobody"],
        ["hold"],
        ["promote", "x", "--reason"],
        ["emulator", "upp"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_answers_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*arguments) == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err


@pytest.mark.parametrize("arguments", [["--help"], ["deploy", "--help"], ["--version"]], ids=" ".join)
def test_help_and_version_are_answers(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*arguments) == 0
    assert capsys.readouterr().out


def test_a_plan_takes_the_weight_of_a_rollout_and_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = plan_gives(monkeypatch, a_plan())

    assert code_of("plan", "diabetes", "--weight", "10", "--requested-by", "schedule") == 0
    assert calls == [Request(folder="diabetes", weight=10, requested_by=RequestedBy.SCHEDULE)]


def test_each_forced_plan_is_a_rollout_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = plan_gives(monkeypatch, a_plan())

    assert (code_of("plan", "diabetes", "--force"), code_of("plan", "diabetes", "--force")) == (0, 0)
    first, second = (one.force for one in calls)
    assert first
    assert second
    assert first != second


def test_a_plan_is_printed_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls = plan_gives(monkeypatch, a_plan())

    assert code_of("plan", "deployments/diabetes/", "--model-version", "2") == 0
    assert calls == [Request(folder="deployments/diabetes/", version="2")]
    assert capsys.readouterr().out.startswith("plan: create endpoint, create online deployment, wait until ready, ")


def test_a_plan_as_markdown_is_for_a_pull_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_gives(monkeypatch, made := a_plan())

    assert code_of("plan", "diabetes", "--markdown") == 0
    assert capsys.readouterr().out == f"{plan_report.markdown(made)}\n"


def test_a_plan_as_json_is_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plan_gives(monkeypatch, a_plan())

    assert code_of("plan", "deployments/diabetes", "--json") == 0
    assert Plan.model_validate_json(capsys.readouterr().out) == a_plan()


@pytest.mark.parametrize(("severity", "code"), [(Severity.BLOCKER, 2), (Severity.WARNING, 0)])
def test_a_plan_that_cannot_succeed_is_printed_and_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], severity: Severity, code: int
) -> None:
    found = Finding(severity=severity, field="deployment.yml: instance_type", message="is no size", hint="another")
    made = a_plan().model_copy(update={"findings": (found,)})
    plan_gives(monkeypatch, made)

    assert code_of("plan", "deployments/diabetes") == code
    assert f"{severity.value}  deployment.yml: instance_type: is no size" in capsys.readouterr().out
    assert code_of("plan", "deployments/diabetes", "--json") == code
    assert Plan.model_validate_json(capsys.readouterr().out) == made


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RollwayError("unexpected"), 1),
        (AzureUnavailable("throttled"), 1),
        (NotFound("no model"), 2),
        (SmokeTestFailed("not 200"), 3),
        (TrafficNotRestored("look"), 4),
        (DeadlineExceeded("too long"), 5),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_the_exit_code_is_the_errors_own_and_stdout_stays_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: BaseException, code: int
) -> None:
    plan_gives(monkeypatch, error)

    assert code_of("plan", "x") == code

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (f"error: {error}\n" if isinstance(error, RollwayError) else "interrupted\n")


@pytest.mark.parametrize("arguments", [["--debug", "plan", "x"], ["plan", "x", "--debug"]], ids=" ".join)
def test_debug_anywhere_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    plan_gives(monkeypatch, NotFound("no model"))

    with pytest.raises(NotFound):
        main(arguments)


def test_plan_without_a_workspace_says_which_variables_are_missing(
    folder: RolloutFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("plan", str(folder.path)) == 2
    assert "no Azure ML workspace is configured" in capsys.readouterr().err


def test_the_schema_is_the_one_of_rollout_yml(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("schema") == 0

    document = json.loads(capsys.readouterr().out)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert set(document["properties"]) == set(RolloutFile.model_fields)
    assert document["additionalProperties"] is False


def a_report(outcome: RolloutOutcome) -> RolloutReport:
    """The report of a run."""
    return RolloutReport(
        rollout="diabetes", outcome=outcome, plan=a_plan(), scoring_uri=None, traffic_after={"green": 100}
    )


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stands in for the Prefect flow, and prints as the SDK does; gives the calls that reach it."""
    calls: list[tuple[Any, ...]] = []

    async def deploy_endpoint(*arguments: Any) -> RolloutReport:
        calls.append(arguments)
        print("....", end="")
        return a_report(RolloutOutcome.PROMOTED)

    module = ModuleType("flows.deploy")
    module.deploy_endpoint = deploy_endpoint  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.deploy", module)
    monkeypatch.setattr("rollway.prefect.ending.run_here", lambda flow, *arguments: flow(*arguments))
    return calls


def test_deploy_hands_over_what_was_asked_and_answers_with_the_report_alone(
    flow: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("deploy", "deployments/diabetes", "--model-version", "2", "--dry-run") == 0
    assert flow == [("deployments/diabetes", "2", "person", True, False, 100)]
    assert capsys.readouterr().out.startswith("diabetes: promoted\n")


def test_deploy_hands_over_that_it_is_forced_and_how_much_traffic_it_may_take(flow: list[tuple[Any, ...]]) -> None:
    assert code_of("deploy", "diabetes", "--force", "--weight", "10") == 0
    assert flow == [("diabetes", None, "person", False, True, 10)]


def test_deploy_hands_over_that_a_schedule_asks(flow: list[tuple[Any, ...]]) -> None:
    assert code_of("deploy", "diabetes", "--requested-by", "schedule") == 0
    assert flow == [("diabetes", None, "schedule", False, False, 100)]


def test_deploy_that_is_held_ends_with_4_because_a_person_must_look(
    flow: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def held(*_: Any) -> RolloutReport:
        return a_report(RolloutOutcome.HELD)

    monkeypatch.setattr("rollway.prefect.ending.run_here", held)

    assert code_of("deploy", "diabetes") == 4
    assert capsys.readouterr().out.startswith("diabetes: held\n")


@pytest.mark.parametrize("weight", ["0", "101", "-1", "ten", "0.5"])
def test_a_weight_that_is_no_percent_is_wrong_usage(
    flow: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str], weight: str
) -> None:
    assert code_of("deploy", "diabetes", f"--weight={weight}") == 2

    captured = capsys.readouterr()
    assert (flow, captured.out) == ([], "")
    assert "--weight" in captured.err


def test_deploy_as_json_is_one_document_whatever_libraries_print(
    flow: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("deploy", "deployments/diabetes", "--json") == 0
    assert json.loads(capsys.readouterr().out)["outcome"] == "promoted"


@pytest.mark.parametrize(("lines", "is_repeated"), [(3, True), (100, False)])
def test_deploy_repeats_a_short_log_and_leaves_a_long_one_to_the_log_of_the_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], lines: int, is_repeated: bool
) -> None:
    async def deploy_endpoint(*_: Any) -> None:
        raise SmokeTestFailed("it failed", log="\n".join(f"line {number}" for number in range(lines)))

    module = ModuleType("flows.deploy")
    module.deploy_endpoint = deploy_endpoint  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.deploy", module)
    monkeypatch.setattr("rollway.prefect.ending.run_here", lambda flow, *arguments: flow(*arguments))

    assert code_of("deploy", "diabetes") == 3
    error = capsys.readouterr().err
    assert "error: it failed" in error
    assert ("line 1" in error) is is_repeated


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        (["team-*", "--weight", "5", "--force"], "--force, --weight"),
        (["team-*", "--model-version", "7", "--dry-run"], "--model-version, --dry-run"),
        (["diabetes", "--at-most", "3", "--wave", "rest"], "--at-most, --wave"),
        (["diabetes", "--stop-after", "2"], "--stop-after"),
    ],
)
def test_options_for_one_folder_and_for_many_are_not_mixed(
    arguments: list[str], refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("deploy", *arguments) == 2
    assert capsys.readouterr().err.startswith(f"error: {refused} cannot be used here\n  where: command line\n")


def test_a_pattern_is_rolled_out_as_a_fleet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    async def deploy_fleet(*arguments: Any) -> Fleet:
        asked.append(arguments)
        return Fleet(members=(Member(rollout="team-a", wave=1, progress=Progress.DONE),))

    module = ModuleType("flows.fleet")
    module.deploy_fleet = deploy_fleet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.fleet", module)
    monkeypatch.setattr("rollway.prefect.ending.run_here", lambda flow, *arguments: flow(*arguments))
    monkeypatch.setattr("rollway.prefect.fleet.require_workers", lambda: None)

    assert code_of("deploy", "team-*", "--at-most", "3", "--wave", "first", "--wave", "rest") == 0
    assert asked == [("team-*", 3, 1, ["first", "rest"], "person")]
    assert capsys.readouterr().out.startswith("fleet: 1 done\n")


def test_debug_switched_off_by_its_variable_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROLLWAY_DEBUG", "0")
    plan_gives(monkeypatch, NotFound("no model"))

    assert code_of("plan", "x") == 2
