"""The check of a run that sends no heartbeats or was cancelled; automations start it, see docs/alerts.md."""

from uuid import UUID

from prefect import flow

from tasks.reap import abort_cancelled, check_run


@flow(name="check-silent-run", flow_run_name="check {flow_run_id}")
async def check_silent_run(flow_run_id: UUID, silent_seconds: int = 90) -> str:
    """Set a run to Crashed if its worker or machine is gone, so that its alert is sent.

    A run that only looked silent, because it began to wait or because the server was slow, is left alone. If a run was
    cancelled while it waited, its rollout is aborted.

    Args:
        flow_run_id: Run to check.
        silent_seconds: A run without a heartbeat for this long is dead.
    """
    found = await check_run(flow_run_id, silent_seconds)
    await abort_cancelled(flow_run_id)
    return found
