"""The questions of the watcher to Prefect, and the runs that it creates."""

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self
from uuid import uuid4

import pytest
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Completed, Crashed, Failed, Running

from rollway.errors import NotFound
from rollway.prefect import best_effort, watching
from rollway.rollout.entries import Command, Order
from rollway.rollout.watch import EndedRun, Finding, Verdict
from rollway.settings import Workspace

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


class Server:
    """A Prefect server that answers with what a test put there, a page at a time."""

    def __init__(self) -> None:
        self.deployments: list[Any] = []
        self.runs: list[Any] = []
        self.artifacts: list[Any] = []
        self.created: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
        self.is_away = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_deployments(self, *, limit: int, offset: int, **_: object) -> list[Any]:
        return self.deployments[offset : offset + limit]

    async def read_flow_runs(self, *, limit: int, offset: int = 0, **_: object) -> list[Any]:
        return self.runs[offset : offset + limit]

    async def read_latest_artifacts(self, **_: object) -> list[Any]:
        if self.is_away:
            raise OSError("All connection attempts failed")
        return self.artifacts

    async def create_run(self, name: str, parameters: dict[str, Any], **rest: Any) -> Any:
        if name not in {one.name for one in self.deployments}:
            raise ObjectNotFound(ValueError(name))
        self.created.append((name, parameters, rest))
        return SimpleNamespace(id="new", name="a run")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(watching, "get_client", lambda: server)
    monkeypatch.setattr(watching, "arun_deployment", server.create_run)
    monkeypatch.setattr(best_effort, "_lost", set())
    return server


def deployment(name: str, **parameters: Any) -> Any:
    return SimpleNamespace(name=name, parameters=parameters)


def a_run(rollout: str | None, state: Any = None, **values: Any) -> Any:
    parameters = {} if rollout is None else {"rollout": rollout}
    state = state or Running()
    return SimpleNamespace(
        id=uuid4(),
        parameters=parameters,
        state=state,
        state_name=state.name,
        state_type=state.type,
        end_time=NOW,
        **values,
    )


def finding(**changes: Any) -> Finding:
    values = {
        "rollout": "diabetes",
        "endpoint": "diabetes",
        "workspace": Workspace(subscription_id="s", resource_group="rg", name="ws", block="production"),
        "version": "2",
        "verdict": Verdict.START,
        "reason": "newest version",
    }
    return Finding(**{**values, **changes})


def test_the_workspace_of_every_folder_is_known_however_many_there_are(server: Server) -> None:
    server.deployments = [deployment(str(number), rollout=str(number)) for number in range(401)]
    server.deployments[400].parameters["workspace_block"] = "production"

    blocks = asyncio.run(watching.workspace_blocks())

    assert len(blocks) == 401
    assert (blocks["0"], blocks["400"]) == (None, "production")


def test_runs_belong_to_folders_by_their_parameter_which_may_be_a_path(server: Server) -> None:
    waits = a_run("diabetes", AwaitingRetry())
    server.runs = [a_run("deployments/wine/"), waits, a_run(None)]

    runs = asyncio.run(watching.runs_under_way(NOW))

    assert {"wine", "diabetes"} <= set(runs)
    assert runs["diabetes"].state_name == "AwaitingRetry"


def test_of_ended_runs_only_failures_and_crashes_count_as_failed(server: Server) -> None:
    server.runs = [a_run("diabetes", Crashed()), a_run("diabetes", Failed()), a_run("diabetes", Completed())]

    runs = asyncio.run(watching.ended_runs("diabetes"))

    assert runs == tuple(
        EndedRun(id=str(run.id), at=NOW, has_failed=failed, has_crashed=crashed)
        for run, (failed, crashed) in zip(server.runs, ((True, True), (True, False), (False, False)), strict=True)
    )


def test_the_folders_of_crashed_runs_are_found_by_name(server: Server) -> None:
    server.runs = [a_run("diabetes", Crashed()), a_run("deployments/other", Crashed())]

    assert asyncio.run(watching.crashed_rollouts(NOW)) == {"diabetes", "other"}


def test_a_started_run_gets_no_version_and_knows_who_asked(server: Server) -> None:
    server.deployments = [deployment("deploy-endpoint/diabetes")]

    asyncio.run(watching.start_run(finding()))

    [(name, parameters, rest)] = server.created
    assert name == "deploy-endpoint/diabetes"
    assert parameters == {"rollout": "diabetes", "requested_by": "watcher"}
    assert rest == {"tags": ["rollout:diabetes"], "timeout": 0, "as_subflow": False, "idempotency_key": None}


def test_a_forgotten_order_is_given_again_in_the_name_of_the_person(server: Server) -> None:
    server.deployments = [deployment("steer-rollout/steer")]
    command = Command(order=Order.PROMOTE, by="ann", at=NOW.isoformat(), reason="enough seen")

    asyncio.run(watching.start_run(finding(order=command)))

    [(name, parameters, _)] = server.created
    assert name == "steer-rollout/steer"
    assert parameters == {
        "rollout": "diabetes",
        "order": "promote",
        "reason": "enough seen",
        "by": "ann",
        "workspace_block": "production",
    }


def test_a_missing_prefect_deployment_is_named_with_what_to_do(server: Server) -> None:
    with pytest.raises(NotFound) as caught:
        asyncio.run(watching.start_run(finding()))

    assert caught.value.what == "there is no Prefect deployment deploy-endpoint/diabetes"
    assert caught.value.where == "prefect.yaml: deployments, diabetes"
    assert server.created == []


def test_the_last_table_is_read_if_there_is_one_and_a_server(server: Server) -> None:
    rows = [{"rollout": "broken", "verdict": "error", "reason": "no"}]

    first = asyncio.run(watching.last_table())
    server.artifacts = [SimpleNamespace(data=json.dumps(rows))]
    later = asyncio.run(watching.last_table())
    server.is_away = True
    away = asyncio.run(watching.last_table())

    assert (first, later, away) == ([], rows, [])
