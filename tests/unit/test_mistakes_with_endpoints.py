"""Mistakes about what is in Azure: rollbacks and orders without a meaning, versions that do not exist."""

import sys
from types import ModuleType
from typing import Any

import pytest

from rollway.azure import steering
from rollway.azure.folder import load_folder
from rollway.azure.models import find_models
from rollway.azure.state import read_endpoint
from rollway.prefect import orders
from rollway.rollout import rollback
from rollway.rollout.entries import Order
from rollway.rollout.request import Request
from rollway.rollout.steering import require_meaning
from tests.support.builders import RolloutFolder
from tests.support.fake_azure import FakeAzure
from tests.support.mistakes import Mistake, answer_to, assert_explained
from tests.unit.test_cli import plain

__all__ = ["plain"]

SERVES = "blue"
AT_ENDPOINT = "endpoint diabetes"
GOING_BACK = [
    Mistake(
        "went back to a version that is none",
        "--to 77",
        "there is no model diabetes:77",
        "model diabetes:77",
        "it has the versions 2, 1",
    ),
    Mistake(
        "went back to the latest",
        "--to @latest",
        "no online deployment '@latest'",
        AT_ENDPOINT,
        "such as 1, or one of blue",
    ),
    Mistake("misspelt where to", "--to bluee", "no online deployment 'bluee'", AT_ENDPOINT, "did you mean 'blue'?"),
    Mistake("went back to what serves", "--to blue", "'blue' already has all traffic", AT_ENDPOINT, "name another"),
    Mistake("went back after the first rollout", "", "nothing to go back to", AT_ENDPOINT, "keep_replaced_seconds"),
]
ORDERS = [
    Mistake("promoted without a canary", "promote diabetes", "no canary has traffic", AT_ENDPOINT, "--weight 10"),
    Mistake("resumed what is not held", "resume diabetes", "neither paused nor held", AT_ENDPOINT, "rollway status"),
]
ABSENT = [
    Mistake(
        f"gave {order} to no endpoint", f"{order} diabetes", "no endpoint 'diabetes'", "workspace", "rollway status"
    )
    for order in ("promote", "abort", "hold", "resume")
]


@pytest.fixture
def azure(folder: RolloutFolder, monkeypatch: pytest.MonkeyPatch) -> FakeAzure:
    """An endpoint of a first rollout behind the commands; flows run their Azure part without Prefect."""
    azure = FakeAzure()
    azure.have_endpoint(traffic={SERVES: 100})
    azure.have(SERVES)
    azure.models.have("1", "2")
    folder.change("deployment.yml", model="azureml:diabetes@latest")

    async def sign_in(*_: Any) -> Any:
        return azure.session

    async def rollback_endpoint(given: str, to: str | None) -> None:
        target = rollback.choose(await read_endpoint(azure.session, "diabetes"), to)
        await find_models(azure.session, load_folder(given), Request(folder=given, is_rollback=True, target=target))

    async def steer_rollout(_: str, order: str, *__: str) -> None:
        require_meaning(Order(order), await read_endpoint(azure.session, "diabetes"))

    async def told(*_: Any) -> int:
        return 0

    for name, flow in (("rollback", rollback_endpoint), ("steer", steer_rollout)):
        module = ModuleType(f"flows.{name}")
        setattr(module, flow.__name__, flow)
        monkeypatch.setitem(sys.modules, f"flows.{name}", module)
    monkeypatch.setattr("rollway.prefect.ending.run_here", lambda flow, *arguments: flow(*arguments))
    monkeypatch.setattr(orders, "try_to_tell_runs", told)
    monkeypatch.setattr(steering, "sign_in", sign_in)
    for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("ROLLWAY_DEPLOYMENTS", str(folder.path.parent))
    return azure


@pytest.mark.parametrize("mistake", GOING_BACK, ids=str)
def test_a_rollback_that_leads_nowhere_is_explained(
    mistake: Mistake, azure: FakeAzure, folder: RolloutFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = answer_to(["rollback", str(folder.path), *mistake.command.split()], capsys)

    assert_explained(mistake, answer)
    assert "@latest" not in answer.error["where"]
    assert azure.writes == []


@pytest.mark.parametrize("mistake", ORDERS, ids=str)
def test_an_order_without_a_meaning_is_explained(
    mistake: Mistake, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_explained(mistake, answer_to(mistake.command.split(), capsys))
    assert azure.writes == []


@pytest.mark.parametrize("mistake", ABSENT, ids=str)
def test_an_order_to_an_endpoint_that_is_not_there_is_explained(
    mistake: Mistake, azure: FakeAzure, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.endpoint = None

    assert_explained(mistake, answer_to(mistake.command.split(), capsys))


def test_nothing_serves_yet_is_said_in_these_words(
    azure: FakeAzure, folder: RolloutFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    azure.set_traffic()

    for command in (["promote", "diabetes"], ["rollback", str(folder.path)]):
        assert "nothing serves yet" in answer_to(command, capsys).text
