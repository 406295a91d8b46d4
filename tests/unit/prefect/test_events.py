"""Which rollouts are announced: "works again" must be true."""

from typing import Any

import pytest

from rollway.prefect import events
from rollway.prefect.events import emit_completed
from rollway.reports.rollout import RolloutOutcome, RolloutReport
from tests.support.builders import a_plan


@pytest.mark.parametrize("outcome", RolloutOutcome)
def test_a_rollout_is_announced_unless_it_changed_nothing(
    monkeypatch: pytest.MonkeyPatch, outcome: RolloutOutcome
) -> None:
    emitted: list[tuple[Any, Any]] = []
    monkeypatch.setattr(events, "emit_event", lambda name, **rest: emitted.append((name, rest["payload"])))
    report = RolloutReport(
        rollout="diabetes", outcome=outcome, plan=a_plan(), scoring_uri=None, traffic_after={"new": 100}
    )

    emit_completed(report)

    announced = [
        (
            "rollway.rollout.completed",
            {
                "endpoint": report.plan.endpoint,
                "workspace": report.plan.workspace,
                "model": str(report.plan.model or ""),
                "outcome": outcome.value,
            }
            | {"traffic": "new 100 %"},
        )
    ]
    changed_nothing = outcome in (
        RolloutOutcome.NO_OP,
        RolloutOutcome.PLANNED,
        RolloutOutcome.HELD,
        RolloutOutcome.SUPERSEDED,
    )
    assert emitted == ([] if changed_nothing else announced)
