"""The check of a run that sends no heartbeats; an automation starts it, see docs/alerts.md."""

from uuid import UUID

from prefect import flow

from tasks.reap import check_run


@flow(name="check-silent-run", flow_run_name="check {flow_run_id}")
async def check_silent_run(flow_run_id: UUID, silent_seconds: int = 90) -> str:
    """Set a run to Crashed if its worker or machine is gone, so that its alert is sent.

    A run that only looked silent, because it began to wait or because the server was slow, is left alone.

    Args:
        flow_run_id: Run to check.
        silent_seconds: A run without a heartbeat for this long is dead.
    """
    return await check_run(flow_run_id, silent_seconds)
