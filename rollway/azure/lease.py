"""The lease on an endpoint: acquire, renew, require and release it.

The lease names the run attempt that may write to the endpoint, for writers everywhere. Azure has no compare-and-set, so
every write is made only after reading that the lease is still the writer's own (fencing). Whoever waits for a lease
judges its age by its own clock, as the time since the lease last changed: clocks of different machines are never
compared.

The lease is written by a PATCH of the tags alone. Azure runs one write at a time per endpoint and refuses a second one
(409), so of two rollouts that want a free endpoint at the same moment one must wait and then finds the other's lease.
If both writes still succeed, the last one holds, and the other rollout learns that at its next write.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from azure.ai.ml.entities import OnlineEndpoint

from rollway.azure.errors.translate import azure_errors
from rollway.azure.session import Session
from rollway.azure.state import CHANGE_ENDPOINT_SECONDS, read_endpoint, state_of, wait_until_settled
from rollway.azure.threads import in_thread, wait_despite_cancellation, write_in_thread
from rollway.azure.waiting import MOST_FAILED_WRITES, SYSTEM_CLOCK, Clock, OnProgress, now, write_when_free
from rollway.errors import AnotherRollout, AzureUnavailable, Busy, DeadlineExceeded, LeaseLost, NotFound, RollwayError
from rollway.rollout.record import LEASE, EndpointRecord, Lease, is_earlier_attempt, with_record
from rollway.rollout.state import EndpointState
from rollway.settings import lease_seconds

FIRST_INTERVAL_SECONDS = 0.25
LONGEST_INTERVAL_SECONDS = 5.0
HasEnded = Callable[[str], Awaitable[bool]]  # returns True if the attempt of that id is known to have ended
ChangeRecord = Callable[[EndpointRecord], EndpointRecord]


def _unchanged(record: EndpointRecord) -> EndpointRecord:
    return record


async def never_known(holder: str) -> bool:  # noqa: ARG001
    """Return False: the default where nobody can tell whether an attempt has ended."""
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
    """Take the lease for this attempt and return the endpoint; no operation is running on it then.

    Waits while another rollout holds the lease. It takes over at once from an earlier attempt of the same flow run and
    from an attempt that has ended; from any other holder when the lease has not changed for as long as it is valid and
    no operation was running meanwhile. Time in which Azure is unavailable does not count.

    Raises AnotherRollout after the timeout, or DeadlineExceeded if Azure is unavailable then.

    Args:
        run_id: This attempt, `<flow run>/<attempt>`.
        timeout_seconds: How long to wait for the lease.
        has_ended: Asked about the holder.
        on_progress: Called with the state of the wait after each look.
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
        held = state.record.lease
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
                if fresh.record.lease == held:  # the reads and the question took time
                    await _write(session, fresh, fresh.record.claimed(new_lease(run_id)))
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
    """Return the endpoint's entity as it is now; raises LeaseLost unless this attempt holds the lease."""
    entity = await _get(session, endpoint)
    require_own(state_of(entity), run_id)
    return entity


def is_held_by(state: EndpointState, run_id: str) -> bool:
    """Return True if the attempt holds the lease."""
    held = state.record.lease
    return held is not None and held.holder == run_id


def require_own(state: EndpointState, run_id: str) -> None:
    """Raise LeaseLost unless this attempt holds the lease."""
    held = state.record.lease
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
    """Renew the lease during a block that writes nothing for a long time."""

    async def keep_renewing() -> None:
        while True:
            await clock.sleep(lease_seconds() / 3)
            with contextlib.suppress(AzureUnavailable):  # the next renewal, or the next write, will tell
                state = state_of(await require(session, endpoint, run_id))
                await _write(session, state, state.record.claimed(new_lease(run_id)))

    renewing = asyncio.create_task(keep_renewing())
    try:
        yield
    finally:
        renewing.cancel()
        await wait_despite_cancellation(renewing)  # a later renewal would overwrite the writes after the block
        with contextlib.suppress(asyncio.CancelledError, RollwayError):  # the next write finds a lost lease
            await renewing


async def write_record(
    session: Session, endpoint: str, run_id: str, change: ChangeRecord, *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Change the endpoint's record and renew the lease in one write; raises LeaseLost if another attempt holds it."""

    async def write() -> None:
        state = await read_endpoint(session, endpoint)
        require_own(state, run_id)
        await _write(session, state, change(state.record).claimed(new_lease(run_id)))

    await write_when_free(write, what=f"endpoint {endpoint}", clock=clock)
    await wait_until_settled(session, endpoint, clock, rarely_before_seconds=CHANGE_ENDPOINT_SECONDS)


async def release(
    session: Session,
    endpoint: str,
    run_id: str,
    change: ChangeRecord = _unchanged,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> bool:
    """Release the lease, with other changes of the record in the same write; return False if nobody held it.

    Raises Busy while an operation is running, and LeaseLost if another attempt holds the lease.
    """
    state = await wait_until_settled(session, endpoint, clock)
    if not state.exists or state.record.lease is None:
        return False
    state = state_of(await require(session, endpoint, run_id))
    await _write(session, state, change(state.record).released())
    await wait_until_settled(session, endpoint, clock, rarely_before_seconds=CHANGE_ENDPOINT_SECONDS)
    return True


async def try_release(
    session: Session,
    endpoint: str,
    run_id: str,
    change: ChangeRecord = _unchanged,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> tuple[str, ...]:
    """Release the lease like `release`, but return remarks instead of raising: an unreleased lease ends by itself."""
    try:
        await release(session, endpoint, run_id, change, clock=clock)
    except LeaseLost as lost:
        return (taken_over(lost),)
    except Busy:
        return ("the lease stays until the running operation has ended",)
    except RollwayError as error:
        return (f"the lease could not be released: {error.why or error.what}",)
    return ()


def taken_over(lost: LeaseLost) -> str:
    """Return a remark for the report of an attempt that lost its lease."""
    return f"the rest is left to another rollout: {lost.why}"


class _Patience:
    """Backoff between polls, with progress reports and a deadline."""

    def __init__(self, endpoint: str, timeout_seconds: float, on_progress: OnProgress | None, clock: Clock) -> None:
        self.interval = FIRST_INTERVAL_SECONDS
        self._endpoint, self._timeout_seconds = endpoint, timeout_seconds
        self._on_progress, self._clock, self._start = on_progress, clock, clock.now()

    async def wait(self, looks: str, kind: type[RollwayError] = AnotherRollout) -> None:
        """Sleep; after the deadline raise an error of class `kind` that quotes the last state."""
        waited = self._clock.now() - self._start
        if self._on_progress is not None:
            await self._on_progress(looks, waited)
        if waited >= self._timeout_seconds:
            raise kind(
                f"the endpoint {self._endpoint!r} did not become free within {self._timeout_seconds:g} s",
                where=f"endpoint {self._endpoint}",
                why=looks,
                hint="wait until that has ended, or find out what delays it, and run the rollout again",
            )
        await self._clock.sleep(self.interval)
        self.interval = min(self.interval * 1.5, LONGEST_INTERVAL_SECONDS)


def new_lease(run_id: str) -> Lease:
    """Return a lease of the attempt from now on; every write to the endpoint carries one and so renews it."""
    # To the millisecond: two renewals within a second must differ.
    return Lease(holder=run_id, ttl_seconds=lease_seconds(), renewed_at=now("milliseconds"))


async def _get(session: Session, endpoint: str) -> OnlineEndpoint:
    with azure_errors(f"cannot read the endpoint {endpoint!r}", where=f"endpoint {endpoint}"):
        entity: OnlineEndpoint = await in_thread(session.ml.online_endpoints.get, endpoint)
    return entity


async def _write(session: Session, state: EndpointState, record: EndpointRecord) -> None:
    with azure_errors(f"cannot write the lease on {state.name!r}", where=f"endpoint {state.name}"):
        # All tags: it is not documented whether a PATCH merges them.
        await write_in_thread(session.patch_endpoint_tags, state.name, with_record(state.tags, record))


def _running(state: EndpointState) -> list[str]:
    running = [state.provisioning_state] if not state.is_settled else []
    return running + [f"{one.name} {one.provisioning_state}" for one in state.online_deployments if not one.is_settled]


def _looks(held: Lease | None, running: list[str], is_ours_to_take: bool, writes: int) -> str:
    if running:
        return f"an operation is running: {', '.join(running)}"
    if is_ours_to_take and writes:
        return f"the tag {LEASE} was written, but something removes it"
    if held is None or is_ours_to_take:
        return "Azure reports that another operation is running"
    return f"another rollout holds it: {held.holder}, last renewed {held.renewed_at}"
