"""`rollway logs`, `score` and `doctor`, in this process."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from rollway.azure import checkup, live
from rollway.errors import AzureUnavailable, NotFound
from rollway.prefect import blocks
from rollway.rollout.checkup import Check, Checkup, State
from rollway.rollout.smoke import Measurement
from rollway.settings import DefaultIdentity, Workspace
from rollway.spec import ScoringRequest
from tests.support.builders import RolloutFolder, measurement
from tests.support.command_line import code_of
from tests.unit.test_cli import plain

__all__ = ["plain"]


@pytest.fixture(autouse=True)
def folders(folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder `risk` that describes the endpoint `diabetes`."""
    folder.path.rename(folder.path.parent / "risk")
    monkeypatch.setenv("ROLLWAY_DEPLOYMENTS", str(folder.path.parent))


def logs_give(monkeypatch: pytest.MonkeyPatch, text: str) -> list[tuple[Any, ...]]:
    """Replaces what talks to Azure; gives the calls that reach it."""
    calls: list[tuple[Any, ...]] = []

    async def read_log(endpoint: str, name: str | None, lines: int, container: Any, _: object) -> live.Log:
        calls.append((endpoint, name, lines, container))
        return live.Log(online_deployment=name or "blue", container=container, text=text)

    monkeypatch.setattr(live, "read_log", read_log)
    return calls


def test_logs_are_those_of_the_live_one_and_only_they_are_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = logs_give(monkeypatch, "one\ntwo")

    assert code_of("logs", "risk") == 0
    assert calls == [("diabetes", None, 100, "inference-server")]
    captured = capsys.readouterr()
    assert captured.out == "one\ntwo\n"
    assert captured.err == "inference-server of blue, last 100 lines\n"


def test_logs_of_another_one_and_another_container(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = logs_give(monkeypatch, "")
    given = ("--online-deployment", "green", "--lines", "5", "--container", "storage-initializer")

    assert code_of("logs", "diabetes", *given) == 0
    assert calls == [("diabetes", "green", 5, "storage-initializer")]
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "the log of the storage-initializer of green is empty\n")


def test_logs_as_json_are_one_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    logs_give(monkeypatch, "one")

    assert code_of("logs", "diabetes", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "online_deployment": "blue",
        "container": "inference-server",
        "text": "one",
    }


def score_gives(monkeypatch: pytest.MonkeyPatch, answer: Measurement) -> list[tuple[Any, ...]]:
    """Replaces what talks to Azure; gives the calls that reach it."""
    calls: list[tuple[Any, ...]] = []

    async def score_once(endpoint: str, request: ScoringRequest, name: str | None, _: object) -> Measurement:
        calls.append((endpoint, request, name))
        return answer

    monkeypatch.setattr(live, "score_once", score_once)
    return calls


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    """A request."""
    path = tmp_path / "request.json"
    path.write_text('{"data": [1]}')
    return path


def test_a_score_prints_the_answer_and_tells_beside_it_who_answered_and_how_fast(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], request_file: Path
) -> None:
    answer = measurement(text='{"predictions": [1.0]}', latency_seconds=0.0171, served_by="blue")
    calls = score_gives(monkeypatch, answer)

    assert code_of("score", "risk", "--file", str(request_file)) == 0
    assert calls == [("diabetes", ScoringRequest(document={"data": [1]}), None)]
    captured = capsys.readouterr()
    assert captured.out == '{"predictions": [1.0]}\n'
    assert captured.err == "status 200 in 17 ms from blue\n"


def test_a_score_names_whom_it_asks_and_what_the_file_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    calls = score_gives(monkeypatch, measurement(body="(3 bytes)", size=3))
    (tmp_path / "picture.png").write_bytes(b"png")
    given = ("--file", str(tmp_path / "picture.png"), "--online-deployment", "green")

    assert code_of("score", "diabetes", *given) == 0
    assert code_of("score", "diabetes", *given, "--content-type", "application/x-own") == 0
    assert [(one.content, one.content_type, name) for _, one, name in calls] == [
        (b"png", "image/png", "green"),
        (b"png", "application/x-own", "green"),
    ]
    assert capsys.readouterr().out == "(3 bytes)\n(3 bytes)\n"


@pytest.mark.parametrize(
    ("name", "content", "what", "hint"),
    [
        ("gone.json", None, "the request cannot be read", "--file"),
        ("request.json", "{", "the request is not JSON", "--content-type"),
    ],
)
def test_a_request_that_cannot_be_sent_is_an_error_before_azure_is_asked(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    name: str,
    content: str | None,
    what: str,
    hint: str,
) -> None:
    calls = score_gives(monkeypatch, measurement())
    if content is not None:
        (tmp_path / name).write_text(content)

    assert code_of("score", "diabetes", "--file", str(tmp_path / name)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {what}\n  where: {tmp_path / name}\n")
    assert hint in error
    assert calls == []


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No workspace and no Prefect server."""
    for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


def checks_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Check]:
    found = Checkup.model_validate_json(capsys.readouterr().out)
    return {one.name: one for one in found.checks}


@pytest.mark.usefixtures("nothing")
def test_the_doctor_works_without_any_configuration_and_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert code_of("doctor", "--json") == 2

    found = checks_of(capsys)
    assert found["versions"].state is State.OK, found["versions"].found
    assert found["folders"].found.endswith(": risk")
    assert found["workspace"].state is State.MISSING
    assert "rollway emulator up" in found["workspace"].next
    assert {found[name].state for name in ("credentials", "network", "access", "roles")} == {State.UNKNOWN}
    assert found["prefect server"].state is State.OPTIONAL
    assert [name for name, one in found.items() if one.state is State.MISSING] == ["workspace"]


@pytest.mark.usefixtures("nothing")
@pytest.mark.parametrize("error", [OSError("connection refused"), ZeroDivisionError("a bug")])
def test_a_block_that_cannot_be_read_does_not_hide_the_other_checks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    async def find_workspace() -> None:
        raise error

    monkeypatch.setenv("ROLLWAY_WORKSPACE_BLOCK", "production")
    monkeypatch.setattr(blocks, "find_workspace", find_workspace)

    assert code_of("doctor", "--json") == 2

    found = checks_of(capsys)
    assert found["workspace"].state is State.MISSING
    assert str(error) in found["workspace"].found
    assert found["versions"].state is State.OK
    assert "prefect server" in found


@pytest.mark.usefixtures("nothing")
def test_the_doctor_prints_a_line_per_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("doctor") == 2

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok        versions")
    assert {line.split()[0] for line in lines} == {"ok", "missing", "unknown", "optional"}


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch, nothing: None) -> None:
    """A workspace, in which everything is well."""
    for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE"):
        monkeypatch.setenv(name, "x")

    async def check_azure(_: Workspace, __: DefaultIdentity) -> tuple[Check, ...]:
        return (Check(name="credentials", state=State.OK, found="fine"),)

    monkeypatch.setattr(checkup, "check_azure", check_azure)


@pytest.mark.usefixtures("workspace")
def test_the_doctor_ends_with_0_if_only_what_is_optional_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("doctor", "--json") == 0
    assert checks_of(capsys)["credentials"].found == "fine"


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("error", [AzureUnavailable("Azure is away", hint="wait"), ZeroDivisionError("a bug")])
def test_a_check_that_fails_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    async def check_azure(*_: object) -> tuple[Check, ...]:
        raise error

    monkeypatch.setattr(checkup, "check_azure", check_azure)

    assert code_of("doctor", "--json") == 2
    found = checks_of(capsys)
    assert found["azure"].state is State.MISSING
    assert found["azure"].next
    assert "prefect server" in found


@pytest.mark.usefixtures("workspace")
def test_a_package_that_does_not_fit_is_named_with_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["prefect<1", "no-such-package>=2", "other>=1; extra == 'emulator'"]
    monkeypatch.setattr(metadata, "requires", lambda _: wanted)

    assert code_of("doctor", "--json") == 2
    found = checks_of(capsys)["versions"]
    assert found.state is State.MISSING
    assert " instead of <1; no-such-package is not installed" in found.found
    assert "make .venv/ready" in found.next


def test_what_rollway_says_about_an_unknown_endpoint_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def read_log(*_: object) -> live.Log:
        raise NotFound("there is no endpoint 'x'")

    monkeypatch.setattr(live, "read_log", read_log)

    assert code_of("logs", "x") == 2
    assert capsys.readouterr().err == "error: there is no endpoint 'x'\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_completes_commands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, shell: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    for name in ("ZSH", "ZSH_CUSTOM", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)

    assert code_of("--install-completion", "--shell", shell) == 0

    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert all(word in written for word in ("status", "logs", "online-deployment"))
