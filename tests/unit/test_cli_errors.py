"""Errors of the command line: on stderr for people, with --json on stdout for programs."""

import errno
import json
import os
from pathlib import Path

import pytest

from rollway.errors import NotFound, PrefectUnavailable, RollwayError, unexpected
from rollway.prefect.server import require_reachable
from tests.support.builders import RolloutFolder
from tests.support.command_line import code_of
from tests.unit.test_cli import plain, plan_gives

__all__ = ["plain"]


def answer_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """Run a command that fails; return the error of its JSON document, which has the exit code of the process."""
    code = code_of(*arguments, "--json")
    captured = capsys.readouterr()
    error: dict[str, object] = json.loads(captured.out)["error"]
    assert error["exit_code"] == code != 0
    assert str(error["what"]) in " ".join(captured.err.split()), "people read the same"
    assert "Traceback" not in captured.err
    return error


def test_an_error_as_json_has_its_parts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    plan_gives(
        monkeypatch, NotFound("no model", where="model x", why="there is none", hint="register it", code="NoModel")
    )

    assert answer_of(capsys, "plan", "diabetes") == {
        "what": "no model",
        "where": "model x",
        "why": "there is none",
        "next": "register it",
        "exit_code": 2,
        "code": "NoModel",
    }


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["validat", "x"], "validat"),
        (["plan"], "ROLLOUT"),
        (["plan", "x", "--weight", "0"], "--weight"),
        (["deploy", "x", "--requested-by", "nobody"], "--requested-by"),
        (["plan", "x", "--nonsense"], "--nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_as_json_is_one_document(
    capsys: pytest.CaptureFixture[str], arguments: list[str], what: str
) -> None:
    error = answer_of(capsys, *arguments)

    assert (error["exit_code"], error["where"]) == (2, "command line")
    assert what.lower() in str(error["what"]).lower()
    assert "--help" in str(error["next"])


def test_an_invalid_folder_as_json_lists_its_problems(
    folder: RolloutFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.change("rollout.yml", strategy="canary")

    assert "strategy" in str(answer_of(capsys, "validate", str(folder.path))["details"])


@pytest.mark.parametrize("command", ["deploy", "rollback"])
def test_a_folder_that_is_not_there_is_noticed_before_prefect_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setattr("rollway.cli.configure_prefect", lambda: pytest.fail("Prefect is configured"))

    error = answer_of(capsys, command, "diabtes")

    assert error["what"] == "there is no folder 'deployments/diabtes'"
    assert "did you mean 'diabetes'" in str(error["next"])


def test_a_folder_beside_deployments_is_found_by_the_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)

    assert answer_of(capsys, "validate", "mine")["next"] == "there is a folder here: write ./mine"


def test_the_folder_in_which_one_stands_can_be_named_by_a_dot(
    folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.path)

    assert code_of("validate", ".") == 0
    assert capsys.readouterr().out == f"{folder.path.resolve()} is valid\n"


def test_an_error_that_nobody_expected_has_no_traceback_and_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_gives(monkeypatch, ZeroDivisionError("division by zero"))

    error = answer_of(capsys, "plan", "diabetes")

    assert (error["exit_code"], error["why"]) == (1, "ZeroDivisionError: division by zero")
    assert "--debug" in str(error["next"])


def test_debug_shows_an_error_that_nobody_expected_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    plan_gives(monkeypatch, ZeroDivisionError("division by zero"))

    with pytest.raises(ZeroDivisionError):
        code_of("plan", "diabetes", "--debug")


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "free some space"), (errno.EROFS, "read-only"), (errno.EIO, "operating system")]
)
def test_what_the_operating_system_refuses_says_which_file_and_what_to_do(number: int, hint: str) -> None:
    error = unexpected(OSError(number, os.strerror(number), "/var/lib/x"))

    assert (error.where, error.why) == ("/var/lib/x", os.strerror(number))
    assert hint in str(error.hint)


def test_a_prefect_server_that_is_away_is_named_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: PLC0415 - takes a second

    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(PrefectUnavailable) as raised,
    ):
        require_reachable()

    assert raised.value.where == "PREFECT_API_URL=http://127.0.0.1:9/api"
    assert "refused" in str(raised.value.why)
    assert "prefect server start" in str(raised.value.hint)


def test_an_error_without_reasons_has_all_keys() -> None:
    assert RollwayError("it").document() == {"what": "it", "where": None, "why": None, "next": None, "exit_code": 1}
