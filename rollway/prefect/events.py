"""Events of rollouts, for Prefect automations."""

from collections.abc import Mapping

from prefect.events import emit_event

from rollway.prefect.alerts import COMPLETED_EVENT, HELD_EVENT
from rollway.reports.rollout import RolloutReport
from rollway.rollout import traffic
from rollway.rollout.watch import Finding, Look

BROKEN_EVENT = "rollway.folder.broken"


def emit_completed(report: RolloutReport) -> None:
    """Announce that a rollout has completed; the recovery alert waits for this event.

    A run that changed nothing proves nothing, so it emits no event.
    """
    if not report.is_news:
        return
    emit_event(
        COMPLETED_EVENT,
        resource=_folder(report.rollout),
        payload={
            "endpoint": report.plan.endpoint,
            "workspace": report.plan.workspace,
            "model": str(report.plan.model or ""),
            "outcome": report.outcome.value,
            "traffic": traffic.describe(report.traffic_after),
        },
    )


def emit_held(rollout: str, endpoint: str, workspace: str, why: str, links: Mapping[str, str]) -> None:
    """Announce that a rollout waits for a person; `links` are the forms to answer with, by order."""
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


def _folder(rollout: str) -> dict[str, str]:
    return {"prefect.resource.id": f"rollway.rollout.{rollout}", "prefect.resource.name": rollout}
