"""The commands of who runs endpoints: what is live, going back, and the webhook for events."""

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from rollway.azure import status
from rollway.errors import NotFound
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.rollout.status import EndpointStatus, WorkspaceStatus
from tests.support.builders import NOW
from tests.support.command_line import code_of
from tests.unit.test_cli import a_report, plain  # noqa: F401 (a fixture that every test here uses)

HEALTHY = EndpointStatus(name="diabetes", is_ours=True, provisioning_state="Succeeded")
FAILED = HEALTHY.model_copy(update={"name": "churn", "problems": ("the endpoint is Failed",)})


def status_gives(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> list[tuple[str, ...]]:
    """Replaces what talks to Azure; gives the calls that reach it."""
    calls: list[tuple[str, ...]] = []

    async def read_workspace_status(names: tuple[str, ...], *_: object) -> WorkspaceStatus:
        calls.append(names)
        if isinstance(outcome, BaseException):
            raise outcome
        return WorkspaceStatus(workspace="rg/ws", at=NOW, endpoints=outcome)

    monkeypatch.setattr(status, "read_workspace_status", read_workspace_status)
    return calls


def test_status_in_a_pipe_is_plain_text(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls = status_gives(monkeypatch, (HEALTHY,))

    assert code_of("status") == 0
    assert calls == [()]
    assert capsys.readouterr().out.splitlines()[1].split() == ["diabetes", "nothing", *6 * ["-"]]


def test_status_on_a_terminal_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    status_gives(monkeypatch, (HEALTHY,))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert code_of("status") == 0
    assert "nothing serves yet" in capsys.readouterr().out


def test_status_ends_with_4_when_a_person_must_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = status_gives(monkeypatch, (HEALTHY, FAILED))

    assert code_of("status", "diabetes", "churn", "--json") == 4
    assert calls == [("diabetes", "churn")]
    assert WorkspaceStatus.model_validate(json.loads(capsys.readouterr().out)).endpoints == (HEALTHY, FAILED)


def test_status_of_an_unknown_endpoint_ends_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status_gives(monkeypatch, NotFound("there is no endpoint 'x'"))

    assert code_of("status", "x") == 2
    assert capsys.readouterr().err == "error: there is no endpoint 'x'\n"


def test_status_can_be_watched_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def watch_workspace_status(
        names: tuple[str, ...], _: None, show: Callable[[WorkspaceStatus, str], None], __: object
    ) -> None:
        for problems in ((), ("the endpoint is Failed",)):
            seen = HEALTHY.model_copy(update={"problems": problems})
            show(WorkspaceStatus(workspace=names[0], at=NOW, endpoints=(seen,)), "")
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "watch_workspace_status", watch_workspace_status)

    assert code_of("status", "diabetes", "--watch") == 130
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("diabetes ")]) == 2
    assert lines[-1].endswith("  the endpoint is Failed")


@pytest.mark.parametrize(("arguments", "to"), [((), None), (("--to", "2"), "2")])
def test_rollback_hands_over_where_to_and_answers_with_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], to: str | None
) -> None:
    calls = []

    async def rollback_endpoint(*given: Any) -> RolloutReport:
        calls.append(given)
        print("a library prints")
        return a_report(RolloutOutcome.ROLLED_BACK)

    module = ModuleType("flows.rollback")
    module.rollback_endpoint = rollback_endpoint  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.rollback", module)
    monkeypatch.setattr("rollway.prefect.ending.run_here", lambda flow, *arguments: flow(*arguments))

    assert code_of("rollback", "diabetes", *arguments) == 0
    assert calls == [("diabetes", to)]
    assert capsys.readouterr().out.startswith("diabetes: rolled back\n")


def test_the_webhook_does_not_start_without_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("webhook", "--port", "0") == 2

    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: the webhook for Event Grid has no secret\n")
