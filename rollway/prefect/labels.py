"""What a run writes on itself while it lives: labels of its flow run, from which alerts tell how far a dead run was."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from rollway.prefect import alerts
from rollway.reports.dossier import cause_and_next_action
from rollway.reports.rollout import RolloutReport
from rollway.rollout import traffic

_UNKNOWN = dict.fromkeys(alerts.FACTS, "")
_facts: dict[str, dict[str, str]] = {}
_writing: dict[str, asyncio.Task[None]] = {}


@contextlib.asynccontextmanager
async def noted(step: str) -> AsyncIterator[None]:
    """Writes down that a step has begun; why the last one failed, and which was the first."""
    facts = _of_this_run()
    await note(step=step)
    try:
        yield
    except BaseException as error:
        facts[alerts.FAILED_STEP] = facts[alerts.FAILED_STEP] or step
        if isinstance(error, Exception):  # what is being cancelled cannot wait; the abort's note brings the step
            cause, next_action = cause_and_next_action(error)
            await note(cause=cause, next=next_action)
            await noted_down()
        raise
    if facts[alerts.FAILED_STEP] == step:  # a later attempt worked
        facts.update({alerts.FAILED_STEP: "", alerts.CAUSE: "", alerts.NEXT: ""})


async def note(**facts: str) -> None:
    """Writes down facts of the run: `endpoint`, `model`, `step`, `cause`, `next` (what to do) or `traffic`.

    It is written while the run goes on: a busy Prefect server must not hold a rollout up. `noted_down` waits for it.
    """
    run = _this_run()
    _of_this_run().update({f"rollway.{name}": value for name, value in facts.items()})
    if run not in _writing or _writing[run].done():
        _writing[run] = asyncio.create_task(_write(run, UUID(str(flow_run.id))))


async def noted_down() -> None:
    """Waits until everything is written; before a run ends, and where it may."""
    writing = _writing.get(_this_run())
    if writing is not None:
        await writing


async def _write(run: str, flow_run_id: UUID) -> None:
    written: dict[str, str] = {}
    try:
        while written != _facts[run]:
            written = dict(_facts[run])
            # All of them every time: the server merges without a lock, and what an earlier attempt wrote must go.
            async with get_client() as client:
                await client.update_flow_run_labels(flow_run_id, {**written})
    except Exception as error:  # noqa: BLE001 (an alert that knows less is better than a rollout that fails for it)
        get_run_logger().warning("An alert about this run would be out of date: %s", error)


def announce(report: RolloutReport) -> None:
    """Tells all automations that a rollout has completed; the alerts' all-clear waits for it."""
    emit_event(
        alerts.COMPLETED_EVENT,
        resource={
            "prefect.resource.id": f"rollway.rollout.{report.rollout}",
            "prefect.resource.name": report.rollout,
        },
        payload={
            "endpoint": report.plan.endpoint,
            "model": str(report.plan.model or ""),
            "outcome": report.outcome.value,
            "traffic": traffic.describe(report.traffic_after),
        },
    )


def _of_this_run() -> dict[str, str]:
    return _facts.setdefault(_this_run(), dict(_UNKNOWN))


def _this_run() -> str:
    return f"{flow_run.id}/{flow_run.run_count}"
