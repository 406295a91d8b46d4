"""What a run writes on itself: never in the way of the run, and complete where somebody waits for it."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, Self
from uuid import uuid4

import pytest

from rollway.prefect import labels

RUN = str(uuid4())


class SlowServer:
    """A Prefect server that answers only when it is allowed to; `labels` are what it was given, in order."""

    def __init__(self) -> None:
        self.labels: list[dict[str, Any]] = []
        self.is_free = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def update_flow_run_labels(self, _: object, labels: dict[str, Any]) -> None:
        await self.is_free.wait()
        self.labels.append(labels)


def test_notes_do_not_hold_the_run_up_and_the_last_ones_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "flow_run", SimpleNamespace(id=RUN, run_count=1))

    async def take_notes() -> SlowServer:
        server = SlowServer()
        monkeypatch.setattr(labels, "get_client", lambda: server)
        for step in ("first", "second", "third"):
            await labels.note(step=step)
            await asyncio.sleep(0)
        assert server.labels == [], "the server has not answered yet, and nobody waits for it"
        server.is_free.set()
        await labels.noted_down()
        return server

    server = asyncio.run(take_notes())

    assert server.labels[-1]["rollway.step"] == "third"
    assert len(server.labels) == 2, "what came meanwhile is written at once"


def test_a_server_that_refuses_them_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(labels, "flow_run", SimpleNamespace(id=RUN, run_count=2))
    monkeypatch.setattr(labels, "get_run_logger", lambda: logging.getLogger("run"))

    def refuse() -> Any:
        raise OSError("no server")

    async def take_notes() -> None:
        monkeypatch.setattr(labels, "get_client", refuse)
        await labels.note(step="first")
        await labels.noted_down()

    asyncio.run(take_notes())

    assert "An alert about this run would be out of date: no server" in caplog.text
