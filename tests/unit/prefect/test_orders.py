"""Orders to runs that are working, as far as Prefect answers."""

import asyncio
import json
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Self
from urllib.parse import parse_qs
from uuid import UUID, uuid4

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_UI_URL, temporary_settings

from rollway.prefect import orders
from rollway.prefect.concurrency import limit_name
from rollway.prefect.labels import ORDER
from rollway.prefect.run import Run
from rollway.prefect.waiting import Woken
from rollway.rollout.entries import Command, Order
from rollway.settings import Workspace
from tests.support.builders import rollout_spec

HOLD = Command(order=Order.HOLD, by="ann", at="2026-01-02T03:04:05.678+00:00", reason="month end")
ML = Workspace(subscription_id="sub", resource_group="rg", name="ml")


class Server:
    """A Prefect server with two runs that work; `labels` are those it was given."""

    def __init__(self) -> None:
        self.runs = [SimpleNamespace(id=uuid4(), state_name="Running") for _ in range(2)]
        self.labels: list[tuple[Any, dict[str, Any]]] = []
        self.asked: list[Any] = []
        self.forms = {"steer-rollout/steer": UUID(int=7)}

    async def read_deployment_by_name(self, name: str) -> Any:
        if name not in self.forms:
            raise ObjectNotFound(Exception(name))
        return SimpleNamespace(id=self.forms[name])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_flow_runs(self, flow_run_filter: Any) -> list[Any]:
        self.asked.append(flow_run_filter)
        return self.runs

    async def read_flow_run(self, run: UUID) -> Any:
        return next(one for one in self.runs if one.id == run)

    async def update_flow_run_labels(self, run: Any, labels: dict[str, Any]) -> None:
        self.labels.append((run, labels))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(orders, "get_client", lambda: server)
    monkeypatch.setattr(orders, "PREFECT_API_URL", SimpleNamespace(value=lambda: "http://prefect/api"))
    monkeypatch.setattr(orders, "flow_run", SimpleNamespace(parameters={"rollout": "diabetes", "model_version": "8"}))
    return server


def test_every_run_that_works_on_the_endpoint_but_this_one_is_told(server: Server) -> None:
    this, other = server.runs

    told = asyncio.run(orders.try_to_tell_runs(ML, "diabetes", HOLD, [str(this.id)]))

    assert (told, server.labels) == (1, [(other.id, {ORDER: str(HOLD)})])
    (asked,) = server.asked
    assert asked.tags.all_ == [limit_name(ML, "diabetes")]
    assert {one.value for one in asked.state.type.any_} == {"RUNNING", "PENDING", "PAUSED"}
    assert (asked.state.operator.value, asked.state.name.any_) == ("or_", ["AwaitingRetry"])


def test_a_run_that_waits_is_told_and_woken(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[Any] = []
    server.runs = [SimpleNamespace(id=uuid4(), state_name="AwaitingRetry")]

    async def wake(run: Any) -> None:
        woken.append(run)

    monkeypatch.setattr(orders, "wake_now", wake)

    assert asyncio.run(orders.tell_runs(ML, "diabetes", HOLD)) == 1
    assert (woken, server.labels) == (server.runs, [(server.runs[0].id, {ORDER: str(HOLD)})])


def test_links_lead_to_forms_that_are_filled_in(server: Server) -> None:
    with temporary_settings({PREFECT_UI_URL: "https://prefect.example"}):
        links = asyncio.run(orders.answer_links())

    assert list(links) == ["promote", "abort"]
    for order, link in links.items():
        page, _, query = link.partition("?")
        assert page == f"https://prefect.example/deployments/deployment/{UUID(int=7)}/run"
        filled = {"rollout": "diabetes", "order": order, "reason": "answer to the alert"}
        assert {name: json.loads(*values) for name, values in parse_qs(query).items()} == {"parameters": filled}


def test_a_link_names_the_block_of_the_workspace(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"rollout": "diabetes", "workspace_block": "production"}
    monkeypatch.setattr(orders, "flow_run", SimpleNamespace(parameters=given))

    with temporary_settings({PREFECT_UI_URL: "https://prefect.example"}):
        links = asyncio.run(orders.answer_links())

    assert "%22workspace_block%22%3A+%22production%22" in links["abort"]


def test_without_the_form_there_are_no_links(server: Server) -> None:
    server.forms.clear()

    assert asyncio.run(orders.answer_links()) == {}


def test_without_a_server_no_run_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "PREFECT_API_URL", SimpleNamespace(value=lambda: None))

    assert asyncio.run(orders.try_to_tell_runs(ML, "diabetes", HOLD)) == 0
    assert server.asked == []


def test_a_server_that_is_away_is_no_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> Any:
        raise OSError("no server")

    monkeypatch.setattr(orders, "get_client", away)

    assert asyncio.run(orders.try_to_tell_runs(ML, "diabetes", HOLD)) == 0
    assert "running rollouts learn of it later: no server" in caplog.text


@pytest.mark.parametrize(
    ("label", "began", "expected"),
    [
        (str(HOLD), "2026-01-02T03:00:00.000+00:00", HOLD),
        (str(HOLD), "2026-01-02T03:05:00.000+00:00", None),
        ("", "2026-01-02T03:00:00.000+00:00", None),
    ],
    ids=["to this attempt", "to the attempt before a retry", "none"],
)
def test_a_run_reads_the_order_that_it_was_given(
    server: Server, monkeypatch: pytest.MonkeyPatch, label: str, began: str, expected: Command | None
) -> None:
    server.runs = [SimpleNamespace(id=uuid4(), labels={ORDER: label})]
    monkeypatch.setattr(orders, "flow_run", SimpleNamespace(id=server.runs[0].id))
    this = Run(str(server.runs[0].id), 2)
    now = datetime.fromisoformat(began)
    this.start(rollout_spec(), now, Woken(now, now, "wait until ready"))
    monkeypatch.setattr(orders, "current_run", lambda: this)

    assert asyncio.run(orders.order_to_this_run()) == expected
