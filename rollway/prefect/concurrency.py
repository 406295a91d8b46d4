"""One rollout per endpoint at a time, and which attempts have ended."""

import contextlib
from collections.abc import AsyncIterator
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import AcquireConcurrencySlotTimeoutError, concurrency
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from rollway.rollout.record import is_same_run
from rollway.rollout.state import EndpointState
from rollway.settings import Workspace

ROOM_SECONDS = 120  # that a rollback waits for the rollout that it told to abort
SLOT_LEASE_SECONDS = 60  # Prefect's minimum; a killed process keeps its slot for this long


@contextlib.asynccontextmanager
async def one_at_a_time(workspace: Workspace, endpoint: str, *, comes_first: bool = False) -> AsyncIterator[None]:
    """Wait until no other rollout of the endpoint is running on this Prefect server; others wait for this block.

    This only makes rollouts queue. The lease on the endpoint makes them safe, so a lost slot ends nothing.

    Args:
        workspace: The workspace of the endpoint.
        comes_first: True to wait only a little: the other rollout was told to abort.
    """
    name = f"endpoint:{workspace.name}:{endpoint}"
    async with get_client() as client:
        await client.upsert_global_concurrency_limit_by_name(name, 1)
        limit = await client.read_global_concurrency_limit_by_name(name)
    if limit.active_slots:
        get_run_logger().info("Another rollout of %s is running; this one waits until it has ended", endpoint)
    slot = concurrency(
        name,
        strict=True,
        lease_duration=SLOT_LEASE_SECONDS,
        timeout_seconds=ROOM_SECONDS if comes_first else None,
        raise_on_lease_renewal_failure=False,
    )
    async with contextlib.AsyncExitStack() as held:
        try:
            await held.enter_async_context(slot)
        except AcquireConcurrencySlotTimeoutError:
            get_run_logger().warning("The other rollout of %s has not ended; this one goes on beside it", endpoint)
        yield


async def ended_attempts(endpoint: EndpointState, attempt: str) -> frozenset[str]:
    """Return those of the attempts that hold or made something at the endpoint that are known to have ended."""
    lease = endpoint.record.lease
    makers = {lease.holder} if lease else set()
    for one in endpoint.online_deployments:
        if not endpoint.weight_of(one.name):
            makers |= {maker for maker in (one.record.written_by, one.record.created_by) if maker}
    others = sorted(one for one in makers if not is_same_run(one, attempt))
    return frozenset([one for one in others if await has_ended(one)])


async def has_ended(holder: str) -> bool:
    """Return True if Prefect knows that an attempt, `<flow run>/<attempt>`, has ended; False for unknown runs."""
    flow_run, _, attempt = holder.partition("/")
    try:
        async with get_client() as client:
            found = await client.read_flow_run(UUID(flow_run))
    except (ObjectNotFound, ValueError):
        return False
    is_over = found.state is not None and found.state.is_final()
    return is_over or (attempt.isdigit() and int(attempt) < found.run_count)
