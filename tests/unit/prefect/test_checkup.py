"""The questions of the doctor to a Prefect server, and the checks that follow from the answers."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import __version__
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

from rollway.prefect import checkup
from rollway.prefect.checkup import check_prefect
from rollway.rollout.checkup import Check, State

URL = "http://prefect.example.com/api"


class Server:
    """A Prefect server with a work pool that has a worker, and a Prefect deployment `diabetes`."""

    def __init__(self) -> None:
        self.version = __version__
        self.pool: Any = SimpleNamespace(is_paused=False)
        self.workers = ["one"]
        self.folders = {"diabetes": None}

    async def __aenter__(self) -> "Server":
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def api_version(self) -> str:
        return self.version

    async def read_work_pool(self, _: str) -> Any:
        if self.pool is None:
            raise ObjectNotFound(Exception("gone"))
        return self.pool

    async def read_workers_for_work_pool(self, _: str, *, worker_filter: object) -> list[str]:
        assert worker_filter is not None
        return self.workers

    async def workspace_blocks(self) -> dict[str, None]:
        return self.folders


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The server that PREFECT_API_URL names."""
    server = Server()
    monkeypatch.setattr(checkup, "get_client", lambda: server)
    monkeypatch.setattr(checkup, "require_reachable", lambda: None)
    monkeypatch.setattr(checkup, "workspace_blocks", server.workspace_blocks)
    with temporary_settings({PREFECT_API_URL: URL}):
        yield server


def checks(*folders: str) -> dict[str, Check]:
    return {one.name: one for one in asyncio.run(check_prefect(folders))}


def test_a_server_in_which_all_is_well(server: Server) -> None:
    found = checks("diabetes")

    assert {one.state for one in found.values()} == {State.OK}
    assert found["prefect server"].found == f"Prefect {__version__} at {URL}"


def test_without_a_server_only_that_is_said() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        found = checks("diabetes")

    assert list(found) == ["prefect server"]
    assert found["prefect server"].state is State.OPTIONAL


def test_a_server_that_is_away_is_missing_and_nothing_else_is_asked() -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        found = checks("diabetes")

    assert [one.state for one in found.values()] == [State.MISSING]
    assert "prefect server start" in found["prefect server"].next


@pytest.mark.parametrize(
    ("name", "changes", "next_step"),
    [
        ("prefect server", {"version": "2.20.1"}, "use the same minor version on both sides"),
        ("work pool", {"pool": None}, "`prefect work-pool create rollway --type process`"),
        ("work pool", {"pool": SimpleNamespace(is_paused=True)}, "`prefect work-pool resume rollway`"),
        ("work pool", {"workers": []}, "`prefect worker start --pool rollway`"),
        ("prefect deployments", {"folders": {}}, "`prefect --no-prompt deploy --all`"),
    ],
    ids=["another version", "no pool", "paused", "no worker", "a folder without a Prefect deployment"],
)
def test_what_is_missing_for_a_team_is_named_with_the_command_that_makes_it(
    server: Server, name: str, changes: dict[str, Any], next_step: str
) -> None:
    for key, value in changes.items():
        setattr(server, key, value)

    found = checks("diabetes")

    assert (found.pop(name).next, {one.state for one in found.values()}) == (next_step, {State.OK})
