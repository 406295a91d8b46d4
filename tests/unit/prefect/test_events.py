"""Which rollouts are announced: "works again" must be true."""

import asyncio
from types import SimpleNamespace
from typing import Any, Self

import pytest

from rollway.prefect import events
from rollway.prefect.events import emit_completed
from rollway.reports.rollout import NO_NEWS, RolloutOutcome, RolloutReport
from tests.support.builders import a_plan


class Server:
    """A Prefect server that knows one event, or does not answer."""

    def __init__(self, last: str | None) -> None:
        self.last, self.asked = last, dict[str, Any]()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_events(self, asked: Any, limit: int) -> Any:
        if self.last is None:
            raise ConnectionError("away")
        self.asked = asked.model_dump(mode="json")
        return SimpleNamespace(events=[SimpleNamespace(event=self.last)][: limit if self.last else 0])


def announced(
    monkeypatch: pytest.MonkeyPatch, last: str | None = "", outcome: RolloutOutcome = RolloutOutcome.PROMOTED
) -> tuple[list[dict[str, Any]], Server]:
    """Return what is emitted when a rollout ends with an outcome, on a server with that last event, and the server."""
    emitted: list[dict[str, Any]] = []
    server = Server(last)
    monkeypatch.setattr(events, "emit_event", lambda name, **rest: emitted.append({"event": name, **rest}))
    monkeypatch.setattr(events, "get_client", lambda: server)
    report = RolloutReport(
        rollout="diabetes", outcome=outcome, plan=a_plan(), scoring_uri=None, traffic_after={"new": 100}
    )
    asyncio.run(emit_completed(report))
    return emitted, server


@pytest.mark.parametrize("outcome", RolloutOutcome)
def test_a_rollout_is_announced_unless_it_changed_nothing(
    monkeypatch: pytest.MonkeyPatch, outcome: RolloutOutcome
) -> None:
    emitted, _ = announced(monkeypatch, outcome=outcome)

    if outcome in NO_NEWS:
        assert emitted == []
        return
    plan = a_plan()
    assert [one["event"] for one in emitted] == ["rollway.rollout.completed"]
    assert emitted[0]["payload"] == {
        "endpoint": plan.endpoint,
        "workspace": plan.workspace,
        "model": str(plan.model or ""),
        "outcome": outcome.value,
        "traffic": "new 100 %",
        "studio": None,
    }


@pytest.mark.parametrize(
    ("last", "is_recovery"),
    [
        ("prefect.flow-run.Failed", "yes"),
        ("prefect.flow-run.Crashed", "yes"),
        ("prefect.flow-run.TimedOut", "yes"),
        ("prefect.flow-run.Cancelled", "yes"),
        ("rollway.rollout.completed", "no"),
        ("", "no"),
        (None, "no"),
    ],
)
def test_it_is_a_recovery_if_the_last_thing_that_happened_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, last: str | None, is_recovery: str
) -> None:
    emitted, _ = announced(monkeypatch, last)

    assert emitted[0]["resource"] == {
        "prefect.resource.id": "rollway.rollout.diabetes",
        "prefect.resource.name": "diabetes",
        "rollway.after-failure": is_recovery,
    }


def test_only_what_happened_to_that_rollout_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    _, server = announced(monkeypatch)

    assert (server.asked["related"]["id"], server.asked["order"]) == (["prefect.tag.rollout:diabetes"], "DESC")
