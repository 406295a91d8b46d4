"""Taking, keeping, checking and giving back the lease on an endpoint; `rollway.rollout.lease` says what it is.

The tag is written by a PATCH that touches tags alone. Azure runs one write at a time per endpoint and refuses a second
one (409), so of two rollouts that want a free endpoint in the same moment one is told to wait and then finds the
other's lease. Should both writes still succeed one after the other, the last one holds, and the other learns it at its
next write.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from azure.ai.ml.entities import OnlineEndpoint

from rollway.azure.errors.translate import azure_errors
from rollway.azure.session import Session
from rollway.azure.state import read_endpoint, settle, state_of
from rollway.azure.threads import in_thread, outlast, write_in_thread
from rollway.azure.waiting import MOST_FAILED_WRITES, SYSTEM_CLOCK, Clock, OnProgress, now, when_free
from rollway.errors import AnotherRollout, AzureUnavailable, Busy, DeadlineExceeded, LeaseLost, NotFound, RollwayError
from rollway.rollout.lease import FREE, Lease, decode, is_earlier_attempt
from rollway.rollout.state import LEASE, EndpointState
from rollway.settings import lease_seconds

FIRST_INTERVAL_SECONDS = 0.25
LONGEST_INTERVAL_SECONDS = 5.0
HasEnded = Callable[[str], Awaitable[bool]]  # whether the run attempt of that name is known to have ended


async def never_known(holder: str) -> bool:  # noqa: ARG001
    """For those who cannot ask: no holder is known to have ended."""
    return False


async def acquire(
    session: Session,
    endpoint: str,
    run_id: str,
    *,
    timeout_seconds: float,
    has_ended: HasEnded = never_known,
    on_progress: OnProgress | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> EndpointState:
    """Makes the lease this run attempt's own and returns the endpoint, on which nothing is running then.

    Waits while another rollout holds it. A holder that is an earlier attempt of the same flow run, or that `has_ended`,
    is followed at once; any other when its lease has not changed for as long as it is valid and nothing has been
    running on the endpoint meanwhile; time in which Azure is unavailable does not count. Raises AnotherRollout after
    `timeout_seconds`, and DeadlineExceeded when Azure is unavailable then.
    """
    patience = _Patience(endpoint, timeout_seconds, on_progress, clock)
    seen, since, failures, writes = None, clock.now(), 0, 0
    while True:
        before = clock.now()
        try:
            state = await read_endpoint(session, endpoint)
        except AzureUnavailable as error:
            await patience.wait(f"{error.what} ({error.why or 'Azure is unavailable'})", DeadlineExceeded)
            since += clock.now() - before  # its holder could not renew it either
            continue
        if not state.exists:
            raise NotFound(f"the endpoint {endpoint!r} is gone", hint="somebody deleted it: run the rollout again")
        held = decode(state.tags.get(LEASE))
        running = _running(state)
        if held is not None and held.holder == run_id and not running:
            return state
        if held != seen or running:
            seen, since = held, clock.now()
        is_ours_to_take = not running and (
            held is None
            or is_earlier_attempt(held.holder, run_id)
            or clock.now() - since >= held.ttl_seconds
            or await has_ended(held.holder)
        )
        if is_ours_to_take:
            try:
                fresh = state_of(await _get(session, endpoint))
                if decode(fresh.tags.get(LEASE)) == held:  # reading all the rest, and asking, has taken time
                    await _write(session, fresh, renewal(run_id))
                    writes += 1
                if writes == 1:
                    patience.interval = FIRST_INTERVAL_SECONDS
                    continue
            except Busy:
                pass
            except AzureUnavailable:  # it may have been written all the same: read again
                failures += 1
                if failures == MOST_FAILED_WRITES:
                    raise
        await patience.wait(_looks(held, running, is_ours_to_take, writes))


async def require(session: Session, endpoint: str, run_id: str) -> OnlineEndpoint:
    """The endpoint's entity as it is now, as proof that the lease is still this run attempt's own; else LeaseLost."""
    entity = await _get(session, endpoint)
    require_own(state_of(entity), run_id)
    return entity


def require_own(state: EndpointState, run_id: str) -> None:
    """Raises LeaseLost unless the lease on the endpoint is this run attempt's own."""
    held = decode(state.tags.get(LEASE))
    if held is None or held.holder != run_id:
        raise LeaseLost(
            f"another rollout took over the endpoint {state.name!r}",
            where=f"endpoint {state.name}, tag {LEASE}",
            why=f"it is held by {held.holder} since {held.renewed_at}"
            if held
            else "its lease was given back or removed",
            hint="nothing more was written; look at the other run, its outcome stands",
        )


@contextlib.asynccontextmanager
async def renewed(session: Session, endpoint: str, run_id: str, clock: Clock = SYSTEM_CLOCK) -> AsyncIterator[None]:
    """Keeps the lease alive during a block that writes nothing for long."""

    async def keep_renewing() -> None:
        while True:
            await clock.sleep(lease_seconds() / 3)
            with contextlib.suppress(AzureUnavailable):  # the next renewal, or the next write, will tell
                state = state_of(await require(session, endpoint, run_id))
                await _write(session, state, renewal(run_id))

    renewing = asyncio.create_task(keep_renewing())
    try:
        yield
    finally:
        renewing.cancel()
        await outlast(renewing)  # a renewal that outlived the block would undo the writes that follow it
        with contextlib.suppress(asyncio.CancelledError, RollwayError):  # a loss is found by the next write
            await renewing


async def write_tags(
    session: Session, endpoint: str, run_id: str, tags: Mapping[str, str], *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Writes tags of the endpoint, and renews the lease with them; raises LeaseLost when it is somebody else's."""

    async def write() -> None:
        state = await read_endpoint(session, endpoint)
        require_own(state, run_id)
        await _write(session, state, {**renewal(run_id), **tags})

    await when_free(write, what=f"endpoint {endpoint}", clock=clock)
    await settle(session, endpoint, clock)


async def release(
    session: Session,
    endpoint: str,
    run_id: str,
    tags: Mapping[str, str] | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> bool:
    """Gives the lease back, with other tags in the same write; False when there was nothing to give back.

    Raises Busy while an operation is running, LeaseLost when it is somebody else's.
    """
    state = await settle(session, endpoint, clock)
    if not state.exists or decode(state.tags.get(LEASE)) is None:
        return False
    state = state_of(await require(session, endpoint, run_id))
    await _write(session, state, {**(tags or {}), LEASE: FREE})
    await settle(session, endpoint, clock)
    return True


class _Patience:
    """The pauses between the looks at an endpoint: told, growing, and with a deadline."""

    def __init__(self, endpoint: str, timeout_seconds: float, on_progress: OnProgress | None, clock: Clock) -> None:
        self.interval = FIRST_INTERVAL_SECONDS
        self._endpoint, self._timeout_seconds = endpoint, timeout_seconds
        self._on_progress, self._clock, self._start = on_progress, clock, clock.now()

    async def wait(self, looks: str, kind: type[RollwayError] = AnotherRollout) -> None:
        """Pauses; after the deadline raises an error of class `kind` instead, with how it looks."""
        waited = self._clock.now() - self._start
        if self._on_progress is not None:
            await self._on_progress(looks, waited)
        if waited >= self._timeout_seconds:
            raise kind(
                f"the endpoint {self._endpoint!r} did not become free within {self._timeout_seconds:g} s",
                where=f"endpoint {self._endpoint}",
                why=looks,
                hint="wait until that has ended, or see what holds it up, and run the rollout again",
            )
        await self._clock.sleep(self.interval)
        self.interval = min(self.interval * 1.5, LONGEST_INTERVAL_SECONDS)


def renewal(run_id: str) -> dict[str, str]:
    """The tag that a write to the endpoint carries, so that each of them renews the lease."""
    # To the millisecond, because two renewals of the same second must not look like none.
    return {LEASE: Lease(holder=run_id, ttl_seconds=lease_seconds(), renewed_at=now("milliseconds")).encode()}


async def _get(session: Session, endpoint: str) -> OnlineEndpoint:
    with azure_errors(f"cannot read the endpoint {endpoint!r}", where=f"endpoint {endpoint}"):
        entity: OnlineEndpoint = await in_thread(session.ml.online_endpoints.get, endpoint)
    return entity


async def _write(session: Session, state: EndpointState, tags: Mapping[str, str]) -> None:
    with azure_errors(f"cannot write the lease on {state.name!r}", where=f"endpoint {state.name}"):
        # All tags, because it is not documented whether a PATCH merges them.
        await write_in_thread(session.patch_endpoint_tags, state.name, {**state.tags, **tags})


def _running(state: EndpointState) -> list[str]:
    running = [state.provisioning_state] if not state.is_settled else []
    return running + [f"{one.name} {one.provisioning_state}" for one in state.online_deployments if not one.is_settled]


def _looks(held: Lease | None, running: list[str], is_ours_to_take: bool, writes: int) -> str:
    if running:
        return f"an operation is running: {', '.join(running)}"
    if is_ours_to_take and writes:
        return f"the tag {LEASE} was written, but something removes it"
    if held is None or is_ours_to_take:
        return "Azure says that another operation is running"
    return f"another rollout holds it: {held.holder}, seen alive {held.renewed_at}"
