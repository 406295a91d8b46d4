"""Rollouts of an endpoint queue in Prefect, as long as there is a server."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.context import ConcurrencyContext
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Completed, Running

from rollway.prefect import best_effort, concurrency
from rollway.prefect.concurrency import find_ended, has_ended, limit_name, one_at_a_time
from rollway.settings import Workspace

ML_PROD = Workspace(subscription_id="sub", resource_group="rg", name="ml-prod")
NAME = "endpoint:ml-prod:diabetes:e90ada98"


class Server:
    """The limits and flow runs of a Prefect server; `lost` are the calls that it does not answer."""

    def __init__(self, *lost: str, active: int = 0, run: Any = None) -> None:
        self.lost, self.active, self.run = lost, active, run
        self.calls: list[tuple[str, ...]] = []

    def _call(self, *call: str) -> None:
        if call[0] in self.lost:
            raise OSError("All connection attempts failed")
        self.calls.append(call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def upsert_global_concurrency_limit_by_name(self, name: str, limit: int) -> None:
        self._call("upsert", name, str(limit))

    async def read_global_concurrency_limit_by_name(self, _: str) -> Any:
        return SimpleNamespace(active_slots=self.active)

    async def read_flow_run(self, _: object) -> Any:
        self._call("read run")
        return self.run

    async def add_tag(self, tag: str) -> None:
        self._call("tag", tag)

    @contextlib.asynccontextmanager
    async def slot(self, name: str, **_: object) -> AsyncIterator[None]:
        self._call("acquire", name)
        yield
        self._call("release", name)


def serve(monkeypatch: pytest.MonkeyPatch, server: Server) -> Server:
    monkeypatch.setattr(concurrency, "get_client", lambda: server)
    monkeypatch.setattr(concurrency, "concurrency", server.slot)
    monkeypatch.setattr(concurrency, "add_tag", server.add_tag)
    for module, name in ((concurrency, "get_run_logger"), (best_effort, "run_logger")):
        monkeypatch.setattr(module, name, lambda: logging.getLogger("run"))
    return server


async def roll_out() -> str:
    async with one_at_a_time(ML_PROD, "diabetes"):
        return "done"


def test_a_rollout_holds_the_slot_of_its_endpoint_in_its_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(monkeypatch, Server())

    assert asyncio.run(roll_out()) == "done"
    assert server.calls == [
        ("upsert", NAME, "1"),
        ("acquire", NAME),
        ("tag", NAME),
        ("release", NAME),
    ]


def test_endpoints_of_the_same_name_in_workspaces_of_the_same_name_do_not_queue_behind_each_other() -> None:
    here, there = (ML_PROD.model_copy(update={"resource_group": name}) for name in ("rg-weu", "rg-eus"))

    assert limit_name(here, "diabetes") != limit_name(there, "diabetes")


def test_the_same_endpoint_has_one_queue_however_its_workspace_is_spelled_and_found() -> None:
    spelled = Workspace(subscription_id="SUB", resource_group="Rg", name="ML-Prod", block="production")

    assert limit_name(spelled, "Diabetes") == limit_name(ML_PROD, "diabetes") == NAME


def test_prefect_takes_the_name_of_the_longest_endpoint() -> None:
    longest = limit_name(ML_PROD.model_copy(update={"name": "w" * 33, "resource_group": "g" * 90}), "e" * 32)

    assert GlobalConcurrencyLimitCreate(name=longest, limit=1).name == longest
    assert len(longest) < 90


def test_a_rollout_that_waits_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    serve(monkeypatch, Server(active=1))
    caplog.set_level(logging.INFO)

    asyncio.run(roll_out())

    assert "Another rollout of diabetes is running; this one waits until it has ended" in caplog.text


def test_two_runs_that_make_the_limit_at_the_same_time_both_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(monkeypatch, Server())

    async def create_second(*_: object) -> None:
        raise ObjectAlreadyExists(http_exc=OSError("409 Conflict"))

    monkeypatch.setattr(server, "upsert_global_concurrency_limit_by_name", create_second)

    assert asyncio.run(roll_out()) == "done"
    assert ("acquire", NAME) in server.calls


@pytest.mark.parametrize(
    ("lost", "warning"),
    [
        ("upsert", "this rollout does not queue behind others"),
        ("acquire", "this rollout does not queue behind others"),
        ("tag", "orders of people reach this run late"),
        ("release", "the next rollout waits a minute longer"),
    ],
)
def test_a_rollout_goes_on_without_a_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lost: str, warning: str
) -> None:
    serve(monkeypatch, Server(lost))

    with ConcurrencyContext(cleanup_lease_ids=[uuid4()] if lost == "release" else []) as context:
        assert asyncio.run(roll_out()) == "done"
        assert context.cleanup_lease_ids == [], "the end of the flow does not try again"
    assert caplog.messages == [f"Prefect did not answer, so {warning}: All connection attempts failed"]


def test_the_error_of_a_rollout_is_not_hidden_by_a_slot_that_cannot_be_released(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(monkeypatch, Server("release"))

    async def fail() -> None:
        async with one_at_a_time(ML_PROD, "diabetes"):
            raise ValueError("the rollout failed")

    with pytest.raises(ValueError, match="the rollout failed"):
        asyncio.run(fail())


@pytest.mark.parametrize(
    ("run", "holder", "expected"),
    [
        (SimpleNamespace(state=Completed(), run_count=1), f"{uuid4()}/1", True),
        (SimpleNamespace(state=Running(), run_count=2), f"{uuid4()}/1", True),
        (SimpleNamespace(state=Running(), run_count=1), f"{uuid4()}/1", False),
        (None, "a-laptop/1", False),
    ],
    ids=["ended", "an earlier attempt", "running", "not of Prefect"],
)
def test_an_attempt_has_ended_if_prefect_says_so(
    monkeypatch: pytest.MonkeyPatch, run: Any, holder: str, expected: bool
) -> None:
    serve(monkeypatch, Server(run=run))

    assert asyncio.run(has_ended(holder)) is expected


def test_without_a_server_a_holder_counts_as_running(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve(monkeypatch, Server("read run"))
    holder = f"{uuid4()}/1"

    assert asyncio.run(has_ended(holder)) is False
    assert f"Prefect did not answer, so it is unknown whether {holder} has ended" in caplog.text


@pytest.mark.parametrize(("url", "count"), [("http://prefect.example.com/api", 1), (None, 0)])
def test_only_a_configured_server_is_asked_which_attempts_have_ended(
    monkeypatch: pytest.MonkeyPatch, url: str | None, count: int
) -> None:
    server = serve(monkeypatch, Server(run=SimpleNamespace(state=Completed(), run_count=1)))
    holder = f"{uuid4()}/1"
    setting = {"updates": {PREFECT_API_URL: url}} if url else {"restore_defaults": {PREFECT_API_URL}}

    with temporary_settings(**setting):
        found = asyncio.run(find_ended(frozenset([holder, "a-laptop/1"])))

    assert len(found & {holder}) == count
    assert server.calls.count(("read run",)) == count


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_run_that_has_fallen_silent_counts_as_ended(monkeypatch: pytest.MonkeyPatch, is_silent: bool) -> None:
    serve(monkeypatch, Server(run=SimpleNamespace(state=Running(), run_count=1)))
    holder, asked = f"{uuid4()}/1", list[float]()

    async def has_fallen_silent(run: UUID, _: datetime, silent_seconds: float) -> bool:
        assert holder.startswith(str(run))
        asked.append(silent_seconds)
        return is_silent

    monkeypatch.setattr(concurrency, "has_fallen_silent", has_fallen_silent)

    with temporary_settings({PREFECT_API_URL: "http://prefect.example.com/api"}):
        found = asyncio.run(find_ended(frozenset([holder, "a-laptop/1"])))

    assert found == ({holder} if is_silent else set())
    assert asked == [90]
