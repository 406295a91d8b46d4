"""The task that checks a silent run."""

from datetime import UTC, datetime
from uuid import UUID

from prefect.logging import get_run_logger

from rollway.prefect.silence import crash_if_silent
from rollway.prefect.task import task


@task("check silent run", run_name="check {flow_run_id}", timeout_seconds=120)
async def check_run(flow_run_id: UUID, silent_seconds: int) -> str:
    """Set a run to Crashed if it is Running and has been silent for too long; return what was found."""
    found = await crash_if_silent(flow_run_id, datetime.now(UTC), silent_seconds)
    get_run_logger().info("Flow run %s: %s", flow_run_id, found)
    return found
