"""Whose turn it is: one rollout per endpoint at a time, and which of those before have ended."""

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

SLOT_LEASE_SECONDS = 60  # the least that Prefect allows: so long a killed process keeps its slot


@contextlib.asynccontextmanager
async def one_at_a_time(endpoint: str) -> AsyncIterator[None]:
    """Waits until no other rollout of the endpoint is running on this Prefect server, and keeps others waiting.

    It makes rollouts queue; what makes them safe is the lease on the endpoint, so losing the slot ends nothing.
    """
    name = f"endpoint:{endpoint}"
    async with get_client() as client:
        await client.upsert_global_concurrency_limit_by_name(name, 1)
        limit = await client.read_global_concurrency_limit_by_name(name)
    if limit.active_slots:
        get_run_logger().info("Another rollout of %s is running; this one follows when that has ended", endpoint)
    async with concurrency(name, strict=True, lease_duration=SLOT_LEASE_SECONDS, raise_on_lease_renewal_failure=False):
        yield


async def has_ended(holder: str) -> bool:
    """Whether Prefect knows that a run attempt, `<flow run id>/<attempt>`, is over; False for runs it does not know."""
    flow_run, _, attempt = holder.partition("/")
    try:
        async with get_client() as client:
            found = await client.read_flow_run(UUID(flow_run))
    except (ObjectNotFound, ValueError):
        return False
    is_over = found.state is not None and found.state.is_final()
    return is_over or (attempt.isdigit() and int(attempt) < found.run_count)
