"""One rollout per endpoint at a time, and which attempts have ended."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import concurrency
from prefect.concurrency.context import ConcurrencyContext
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_API_URL

from rollway.prefect.best_effort import best_effort
from rollway.prefect.run import add_tag
from rollway.prefect.silence import has_fallen_silent
from rollway.prefect.triggers import DEFAULT_TIMING
from rollway.rollout.record import is_same_run
from rollway.rollout.state import EndpointState
from rollway.settings import Workspace

ROOM_SECONDS = 120  # that a rollback waits for the rollout that it told to abort
TAKING_SECONDS = 30  # a server that is only slow should not cost the queue
SLOT_LEASE_SECONDS = 60  # Prefect's minimum; a killed process keeps its slot for this long


def limit_name(workspace: Workspace, endpoint: str) -> str:
    """Return the name of the concurrency limit of an endpoint, which its runs have as a tag.

    Such as `endpoint:ml:diabetes:1f3a9c2e`. It ends with a hash of the workspace's resource id, because workspaces in
    two resource groups may have the same name. Azure compares ids and names without case, and Prefect allows no `/`.
    """
    digest = hashlib.sha256(workspace.resource_id.lower().encode()).hexdigest()
    return f"endpoint:{workspace.name}:{endpoint}:{digest[:8]}".lower()


@contextlib.asynccontextmanager
async def one_at_a_time(workspace: Workspace, endpoint: str, *, comes_first: bool = False) -> AsyncIterator[None]:
    """Wait until no other rollout of the endpoint is running on this Prefect server; others wait for this block.

    This only makes rollouts queue. The lease on the endpoint makes them safe, so the rollout goes on without a slot if
    the server is away.

    Args:
        workspace: The workspace.
        endpoint: Name of the endpoint.
        comes_first: True to wait only a little: the other rollout was told to abort.
    """
    slot = contextlib.AsyncExitStack()
    taking = _take(slot, limit_name(workspace, endpoint), endpoint, ROOM_SECONDS if comes_first else None)
    # No deadline: other rollouts take hours.
    is_held = await best_effort("this rollout does not queue behind others", taking, deadline_seconds=None)
    try:
        yield
    finally:
        if is_held and not await best_effort("the next rollout waits a minute longer", _release(slot)):
            _forget_leases()


async def ended_attempts(endpoint: EndpointState, attempt: str) -> frozenset[str]:
    """Return those of the attempts that hold or made something at the endpoint that are known to have ended."""
    lease = endpoint.record.lease
    makers = {lease.holder} if lease else set()
    for one in endpoint.online_deployments:
        if not endpoint.weight_of(one.name):
            makers |= {maker for maker in (one.record.written_by, one.record.created_by) if maker}
    if underway := endpoint.record.underway:
        makers.add(underway.any_attempt)  # the whole run, not one of its attempts
    return await _ended_of(one for one in makers if not is_same_run(one, attempt))


async def find_ended(attempts: frozenset[str]) -> frozenset[str]:
    """Return those of the attempts that have ended, or whose process is gone; none is known without a server."""
    if not PREFECT_API_URL.value():
        return frozenset()
    ended = await _ended_of(attempts)
    silent = [one for one in sorted(attempts - ended) if await _is_silent(one)]
    return ended | frozenset(silent)


async def has_ended(holder: str) -> bool:
    """Return True if Prefect knows that an attempt, `<flow run>/<attempt>`, has ended.

    False for unknown runs, and if Prefect does not answer: the holder may be running.
    """
    return await best_effort(f"it is unknown whether {holder} has ended", _has_ended(holder)) or False


async def _ended_of(attempts: Iterable[str]) -> frozenset[str]:
    return frozenset([one for one in sorted(attempts) if await has_ended(one)])


async def _take(
    slot: contextlib.AsyncExitStack, name: str, endpoint: str, timeout_seconds: float | None = None
) -> bool:
    async with asyncio.timeout(TAKING_SECONDS), get_client() as client:
        with contextlib.suppress(ObjectAlreadyExists):  # another run of the endpoint has created it just now
            await client.upsert_global_concurrency_limit_by_name(name, 1)
        limit = await client.read_global_concurrency_limit_by_name(name)
    if limit.active_slots:
        get_run_logger().info("Another rollout of %s is running; this one waits until it has ended", endpoint)
    await slot.enter_async_context(
        concurrency(
            name,
            strict=True,
            lease_duration=SLOT_LEASE_SECONDS,
            timeout_seconds=timeout_seconds,
            raise_on_lease_renewal_failure=False,
        )
    )
    await best_effort("orders of people reach this run late", add_tag(name))
    return True


async def _release(slot: contextlib.AsyncExitStack) -> bool:
    await slot.aclose()
    return True


def _forget_leases() -> None:
    # At the end of the flow Prefect would release them once more, and wait for its server with all of its retries.
    if context := ConcurrencyContext.get():
        context.cleanup_lease_ids.clear()


async def _is_silent(holder: str) -> bool:
    with contextlib.suppress(ValueError):  # not of Prefect
        run, now = UUID(holder.partition("/")[0]), datetime.now(UTC)
        asking = has_fallen_silent(run, now, DEFAULT_TIMING.silent_seconds)
        return await best_effort(f"it is unknown whether {holder} is alive", asking) or False
    return False


async def _has_ended(holder: str) -> bool:
    flow_run, _, attempt = holder.partition("/")
    try:
        async with get_client() as client:
            found = await client.read_flow_run(UUID(flow_run))
    except (ObjectNotFound, ValueError):
        return False
    is_over = found.state is not None and found.state.is_final()
    return is_over or (attempt.isdigit() and int(attempt) < found.run_count)
