"""The tasks that check a run which is silent, or was cancelled."""

from datetime import UTC, datetime
from uuid import UUID

from prefect.logging import get_run_logger

from rollway.prefect.silence import cancelled_run, crash_if_silent
from rollway.prefect.task import task
from tasks.abort import abort_after_death


@task("check silent run", run_name="check {flow_run_id}", timeout_seconds=120)
async def check_run(flow_run_id: UUID, silent_seconds: int) -> str:
    """Set a run to Crashed if it is Running and has been silent for too long; return what was found."""
    found = await crash_if_silent(flow_run_id, datetime.now(UTC), silent_seconds)
    get_run_logger().info("Flow run %s: %s", flow_run_id, found)
    return found


@task("abort cancelled run", run_name="abort {flow_run_id}", timeout_seconds=3600)
async def abort_cancelled(flow_run_id: UUID) -> None:
    """Abort the rollout of a run that was cancelled while it waited: no process of it could do that."""
    run = await cancelled_run(flow_run_id)
    if run is not None and "rollout" in run.parameters:
        await abort_after_death(None, run, None)
