"""Orders to runs that are working, as far as Prefect answers."""

import asyncio
from types import SimpleNamespace
from typing import Any, Self
from uuid import uuid4

import pytest

from rollway.prefect import orders
from rollway.prefect.labels import ORDER
from rollway.rollout.entries import Command, Order

HOLD = Command(order=Order.HOLD, by="ann", at="2026-01-02T03:04:05.678+00:00", reason="month end")


class Server:
    """A Prefect server with two runs that work; `labels` are those it was given."""

    def __init__(self) -> None:
        self.runs = [SimpleNamespace(id=uuid4(), state_name="Running") for _ in range(2)]
        self.labels: list[tuple[Any, dict[str, Any]]] = []
        self.asked: list[Any] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_flow_runs(self, flow_run_filter: Any) -> list[Any]:
        self.asked.append(flow_run_filter)
        return self.runs

    async def update_flow_run_labels(self, run: Any, labels: dict[str, Any]) -> None:
        self.labels.append((run, labels))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(orders, "get_client", lambda: server)
    monkeypatch.setattr(orders, "PREFECT_API_URL", SimpleNamespace(value=lambda: "http://prefect/api"))
    return server


def test_every_run_that_works_on_the_endpoint_but_this_one_is_told(server: Server) -> None:
    this, other = server.runs

    told = asyncio.run(orders.try_to_tell_runs("ws", "diabetes", HOLD, [str(this.id)]))

    assert (told, server.labels) == (1, [(other.id, {ORDER: str(HOLD)})])
    (asked,) = server.asked
    assert asked.tags.all_ == ["endpoint:ws:diabetes"]
    assert {one.value for one in asked.state.type.any_} == {"RUNNING", "PENDING", "PAUSED"}
    assert (asked.state.operator.value, asked.state.name.any_) == ("or_", ["AwaitingRetry"])


def test_a_run_that_waits_is_told_and_woken(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[Any] = []
    server.runs = [SimpleNamespace(id=uuid4(), state_name="AwaitingRetry")]

    async def wake(run: Any) -> None:
        woken.append(run)

    monkeypatch.setattr(orders, "wake_now", wake)

    assert asyncio.run(orders.tell_runs("ws", "diabetes", HOLD)) == 1
    assert (woken, server.labels) == (server.runs, [(server.runs[0].id, {ORDER: str(HOLD)})])


def test_without_a_server_no_run_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "PREFECT_API_URL", SimpleNamespace(value=lambda: None))

    assert asyncio.run(orders.try_to_tell_runs("ws", "diabetes", HOLD)) == 0
    assert server.asked == []


def test_a_server_that_is_away_is_no_error(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> Any:
        raise OSError("no server")

    monkeypatch.setattr(orders, "get_client", away)

    assert asyncio.run(orders.try_to_tell_runs("ws", "diabetes", HOLD)) == 0
    assert "running rollouts learn of it later: no server" in caplog.text
