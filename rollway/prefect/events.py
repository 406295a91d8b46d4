"""Events of rollouts, for Prefect automations."""

from prefect.events import emit_event

from rollway.prefect.alerts import COMPLETED_EVENT
from rollway.reports.rollout import RolloutReport
from rollway.rollout import traffic
from rollway.rollout.watch import Finding


def emit_completed(report: RolloutReport) -> None:
    """Announce that a rollout has completed; the recovery alert waits for this event.

    A run that changed nothing proves nothing, so it emits no event.
    """
    if not report.is_news:
        return
    emit_event(
        COMPLETED_EVENT,
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


def emit_finding(finding: Finding) -> None:
    """Announce what the watcher decided about one rollout."""
    emit_event(
        f"rollway.model-version.{finding.verdict.value}",
        resource={
            "prefect.resource.id": f"rollway.rollout.{finding.rollout}",
            "prefect.resource.name": finding.rollout,
        },
        related=[
            {"prefect.resource.id": f"rollway.endpoint.{finding.endpoint}", "prefect.resource.role": "endpoint"},
            {"prefect.resource.id": f"rollway.model.{finding.model}", "prefect.resource.role": "model"},
        ],
        payload=finding.model_dump(mode="json"),
    )
