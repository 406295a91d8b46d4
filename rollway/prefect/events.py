"""Events of rollouts, for Prefect automations."""

from collections.abc import Mapping

from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventNameFilter, EventRelatedFilter

from rollway.prefect.alerts import AFTER_FAILURE, COMPLETED_EVENT, FAILED_EVENTS, HELD_EVENT
from rollway.prefect.best_effort import best_effort
from rollway.reports.rollout import RolloutReport
from rollway.rollout import traffic
from rollway.rollout.watch import Finding, Look

BROKEN_EVENT = "rollway.folder.broken"


async def emit_completed(report: RolloutReport) -> None:
    """Announce that a rollout has completed, and if it is the first one after a failure.

    A run that changed nothing proves nothing, so it emits no event.
    """
    if not report.is_news:
        return
    asking = _has_failed_last(report.rollout)
    is_recovery = await best_effort("nobody is told that it works again, if it failed before", asking)
    emit_event(
        COMPLETED_EVENT,
        resource={**_folder(report.rollout), AFTER_FAILURE: "yes" if is_recovery else "no"},
        payload={
            "endpoint": report.plan.endpoint,
            "workspace": report.plan.workspace,
            "model": str(report.plan.model or ""),
            "outcome": report.outcome.value,
            "traffic": traffic.describe(report.traffic_after),
            "studio": report.studio_page,
        },
    )


def emit_held(rollout: str, endpoint: str, workspace: str, why: str, links: Mapping[str, str | None]) -> None:
    """Announce that a rollout waits for a person; `links` are the forms to answer with, by order, and other pages."""
    payload = {"endpoint": endpoint, "workspace": workspace, "why": why, **links}
    emit_event(HELD_EVENT, resource=_folder(rollout), payload=payload)


def emit_finding(finding: Finding) -> None:
    """Announce what the watcher found at one rollout."""
    emit_event(
        f"rollway.folder.{finding.verdict.value}",
        resource=_folder(finding.rollout),
        related=[
            {"prefect.resource.id": f"rollway.endpoint.{finding.endpoint}", "prefect.resource.role": "endpoint"},
            *(
                [{"prefect.resource.id": f"rollway.model.{finding.model}", "prefect.resource.role": "model"}]
                if finding.model
                else []
            ),
        ],
        payload=finding.model_dump(mode="json"),
    )


def emit_broken(look: Look) -> None:
    """Announce a folder that the watcher cannot look at."""
    emit_event(BROKEN_EVENT, resource=_folder(look.rollout), payload={"error": look.error})


async def _has_failed_last(rollout: str) -> bool:
    """Return True if the last thing that happened to a rollout, apart from runs that changed nothing, is a failure."""
    happened = EventFilter(
        event=EventNameFilter(name=[*FAILED_EVENTS, COMPLETED_EVENT]),
        related=EventRelatedFilter(id=[f"prefect.tag.rollout:{rollout}"], role=["tag"]),
    )
    async with get_client() as client:
        last = (await client.read_events(happened, limit=1)).events
    return bool(last) and last[0].event in FAILED_EVENTS


def _folder(rollout: str) -> dict[str, str]:
    return {"prefect.resource.id": f"rollway.rollout.{rollout}", "prefect.resource.name": rollout}
