"""The orders of a person: promote, abort, hold and resume."""

import getpass
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rollway.azure import steering
from rollway.errors import ConfigurationError
from rollway.prefect import orders
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.rollout.entries import Command, Order
from rollway.rollout.steering import Steered
from rollway.settings import Workspace
from tests.support.builders import RolloutFolder
from tests.support.command_line import code_of
from tests.unit.test_cli import a_report, plain  # noqa: F401 (a fixture that every test here uses)


@pytest.fixture(autouse=True)
def folders(folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `risk` that describes the endpoint `diabetes` of the workspace `ws`; ann types the commands."""
    deployments = folder.path.parent
    folder.path.rename(deployments / "risk")
    monkeypatch.setenv("ROLLWAY_DEPLOYMENTS", str(deployments))
    for name, value in (("SUBSCRIPTION_ID", "sub"), ("RESOURCE_GROUP", "rg")):
        monkeypatch.setenv(f"AZURE_{name}", value)
    monkeypatch.setenv("AZUREML_WORKSPACE", "ws")
    for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE"):
        monkeypatch.setenv(name, "ws")
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    return deployments


class Azure:
    """Stands in for Azure and for Prefect's runs; keeps what reaches them."""

    def __init__(self) -> None:
        self.error: ConfigurationError | None = None
        self.remarks: tuple[str, ...] = ()
        self.given: list[tuple[str, Command]] = []
        self.told: list[tuple[Workspace, str, Command]] = []

    async def steer(self, endpoint: str, command: Command, _: None) -> Steered:
        self.given.append((endpoint, command))
        if self.error:
            raise self.error
        return Steered(
            endpoint=endpoint, order=command.order, outcome="done", traffic_now={"blue": 100}, remarks=self.remarks
        )

    async def tell(self, workspace: Workspace, endpoint: str, command: Command) -> int:
        self.told.append((workspace, endpoint, command))
        return 1


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Azure:
    """Everything that a command could write to."""
    azure = Azure()
    monkeypatch.setattr(steering, "steer", azure.steer)
    monkeypatch.setattr(orders, "try_to_tell_runs", azure.tell)
    return azure


@pytest.mark.parametrize("order", [Order.ABORT, Order.HOLD, Order.RESUME])
def test_an_order_reaches_azure_and_the_working_run_and_is_answered_in_one_line(
    azure: Azure, capsys: pytest.CaptureFixture[str], order: Order
) -> None:
    assert code_of(order.value, "diabetes", "--reason", "wrong answers") == 0

    assert capsys.readouterr().out == "diabetes: done; traffic now blue 100 %\n"
    ((endpoint, command),) = azure.given
    assert (endpoint, command.sentence) == ("diabetes", f"{order.value} by ann: wrong answers")
    assert azure.told == [(Workspace(subscription_id="ws", resource_group="ws", name="ws"), "diabetes", command)]


@pytest.mark.parametrize("name", ["diabetes", "Diabetes", "risk"])
def test_an_endpoint_is_named_by_its_own_name_or_that_of_its_folder(azure: Azure, name: str) -> None:
    assert code_of("hold", name) == 0
    assert [endpoint for endpoint, _ in azure.given] == ["diabetes"]


def test_an_endpoint_is_named_by_the_path_of_its_folder(azure: Azure, folders: Path) -> None:
    assert code_of("hold", f"{folders}/risk/") == 0
    assert [endpoint for endpoint, _ in azure.given] == ["diabetes"]


@pytest.mark.parametrize("text", ["name: [", "[]", "name: 7", ""])
def test_an_order_needs_no_folder_and_no_valid_one(azure: Azure, folders: Path, text: str) -> None:
    (folders / "risk" / "endpoint.yml").write_text(text)

    assert code_of("abort", "diabetes") == 0
    assert [endpoint for endpoint, _ in azure.given] == ["diabetes"]
    assert [endpoint for _, endpoint, _ in azure.told] == ["diabetes"]


def test_an_order_as_json_is_one_document(azure: Azure, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("hold", "diabetes", "--json") == 0

    assert json.loads(capsys.readouterr().out) == {
        "endpoint": "diabetes",
        "order": "hold",
        "outcome": "done",
        "traffic_now": {"blue": 100},
        "remarks": [],
    }


def test_remarks_are_talk(azure: Azure, capsys: pytest.CaptureFixture[str]) -> None:
    azure.remarks = ("the rest is left to another rollout",)

    assert code_of("abort", "diabetes") == 0
    assert capsys.readouterr().err == "the rest is left to another rollout\n"


def test_an_order_without_meaning_ends_with_2(azure: Azure, capsys: pytest.CaptureFixture[str]) -> None:
    azure.error = ConfigurationError("there is nothing to resume")

    assert code_of("resume", "diabetes") == 2

    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "error: there is nothing to resume\n")


@pytest.mark.parametrize("name", ["ann b", ""])
def test_a_login_name_is_one_word(azure: Azure, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: name)

    assert code_of("hold", "diabetes") == 0
    assert [command.by for _, command in azure.given] == [name.replace(" ", "-") or "unknown"]


def test_a_user_without_a_name_gives_orders_too(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("uid not found: 1001")

    monkeypatch.setattr(getpass, "getuser", nameless)

    assert code_of("hold", "diabetes") == 0
    assert [command.by for _, command in azure.given] == ["unknown"]


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands in for the flow: the first entry is its result; the calls that reach it are appended."""
    calls: list[Any] = [a_report(RolloutOutcome.PROMOTED)]

    async def steer_rollout(*arguments: Any) -> RolloutReport | None:
        calls.append(arguments)
        result: RolloutReport | None = calls[0]
        return result

    module = ModuleType("flows.steer")
    module.steer_rollout = steer_rollout  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "flows.steer", module)
    monkeypatch.setattr("rollway.prefect.ending.run_here", lambda flow, *arguments: flow(*arguments))
    return calls


def test_promote_runs_the_flow_for_the_folder_of_the_endpoint(
    flow: list[Any], folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("promote", "diabetes", "--reason", "it looks good") == 0

    assert flow[1:] == [(f"{folders}/risk", "promote", "it looks good", "ann")]
    assert capsys.readouterr().out == "diabetes: promoted; traffic now green 100 %\n"


def test_promote_that_is_left_to_a_working_run_says_so(flow: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    flow[0] = None

    assert code_of("promote", "diabetes") == 0
    assert capsys.readouterr().out.startswith("diabetes: told to promote, the run that works on it does it; ")


def test_promote_that_is_held_ends_with_4_and_says_why(flow: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    flow[0] = a_report(RolloutOutcome.HELD).model_copy(update={"end": "hold by bob"})

    assert code_of("promote", "diabetes") == 4

    captured = capsys.readouterr()
    assert captured.out.startswith("diabetes: held; ")
    assert captured.err.endswith("hold by bob\n")


def test_promote_of_an_endpoint_without_a_folder_names_those_that_have_one(
    flow: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("promote", "diabets") == 2

    error = capsys.readouterr().err
    assert "error: no rollout folder describes the endpoint 'diabets'\n" in error
    assert "try: name one of diabetes, or the path of its folder, did you mean 'diabetes'?" in error
    assert flow[1:] == []
