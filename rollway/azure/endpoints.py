"""Writes to endpoints through the SDK: create, change, move traffic, write the record, delete.

Each write is made only if the endpoint is still as the decision saw it: the service has no ETag. If it is not, nothing
is written, and the caller decides again. So every function is safe to repeat.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import cast

from azure.ai.ml.entities import ManagedOnlineEndpoint, OnlineEndpoint

from rollway.azure.errors.known import BUSY
from rollway.azure.errors.translate import azure_errors, operation_failed
from rollway.azure.folder import load_endpoint_entity
from rollway.azure.operations import delete_until_gone, try_again
from rollway.azure.session import Session
from rollway.azure.state import (
    CHANGE_ENDPOINT,
    CREATE_ENDPOINT,
    read_bare_endpoint,
    read_reason,
    state_of,
)
from rollway.azure.threads import get_existing, in_thread, write_in_thread
from rollway.azure.unpolled import Accepted
from rollway.azure.waiting import (
    OPERATION_TIMEOUT_SECONDS,
    SHORTEST_INTERVAL_SECONDS,
    SYSTEM_CLOCK,
    UNKNOWN,
    Clock,
    Lag,
    Usual,
    now,
    wait_for,
    write_when_free,
)
from rollway.errors import Busy, EndpointFailed, ForeignChange, NotFound
from rollway.rollout import traffic
from rollway.rollout.changes import endpoint_changes
from rollway.rollout.moves import Move
from rollway.rollout.record import EndpointRecord, with_record
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec


async def create_endpoint(session: Session, spec: RolloutSpec, attempt: str, clock: Clock = SYSTEM_CLOCK) -> None:
    """Create the endpoint of endpoint.yml and wait until it is there; nothing if it exists."""
    name = spec.endpoint.name

    async def put() -> None:
        hint = "choose another name in endpoint.yml when it is taken; names are unique in a region"
        with azure_errors(f"cannot create the endpoint {name!r}", where=f"endpoint {name}", hint=hint):
            if (await read_bare_endpoint(session, name)).exists:
                return
            entity = await in_thread(load_endpoint_entity, spec.folder)
            entity.tags = with_record(entity.tags or {}, EndpointRecord().created(attempt, now()))
            await write_in_thread(session.ml.online_endpoints.begin_create_or_update, entity)

    await write_when_free(put, what=f"endpoint {name}", clock=clock)
    absent = EndpointState(name=name, exists=False)
    await _wait_until(session, absent, lambda state: state.exists, CREATE_ENDPOINT, clock)


async def change_endpoint(
    session: Session, spec: RolloutSpec, before: EndpointState, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Change the endpoint to what endpoint.yml says; traffic, and tags that the file does not name, are kept."""
    is_as_described = functools.partial(_is_as_described, spec)

    def change(entity: OnlineEndpoint) -> None:
        entity.auth_mode = spec.endpoint.auth_mode
        if isinstance(entity, ManagedOnlineEndpoint):
            entity.public_network_access = spec.endpoint.public_network_access
        entity.tags = {**(entity.tags or {}), **spec.endpoint.tags}
        if spec.endpoint.description is not None:
            entity.description = spec.endpoint.description

    async def change_once() -> None:
        found = await _write(session, before, is_as_described, functools.partial(_put, session, change), clock)
        if found is not None:
            await _wait_until(session, found, is_as_described, CHANGE_ENDPOINT, clock)

    await try_again(change_once, clock)


async def write_endpoint(session: Session, before: EndpointState, move: Move, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Write the traffic of a move and the record together, or the record alone; wait until the write is visible.

    Return False if it must be decided again: nothing was written, because the endpoint is no longer as the decision saw
    it, or another rollout has written since. Raises ForeignChange if the traffic is not what was written.

    Args:
        before: The endpoint that the move was decided on.
    """
    record = move.record or before.record
    wanted = traffic.significant(before.traffic if move.traffic is None else move.traffic)

    def is_made(state: EndpointState) -> bool:
        return state.record == record and traffic.is_same(state.traffic, wanted)

    def change(entity: OnlineEndpoint) -> None:
        entity.traffic = dict(move.traffic or {})
        # An online deployment must not get mirror and live traffic at once.
        mirror = (entity.mirror_traffic if move.mirror is None else move.mirror) or {}
        entity.mirror_traffic = {name: weight for name, weight in mirror.items() if name.lower() not in wanted}
        entity.tags = with_record(entity.tags or {}, record)

    async def patch(entity: OnlineEndpoint) -> None:
        # All tags: it is not documented whether a PATCH merges them.
        await write_in_thread(session.patch_endpoint_tags, before.name, with_record(entity.tags or {}, record))

    write = patch if move.traffic is None else functools.partial(_put, session, change)

    async def write_once() -> EndpointState | None:
        found = await _write(session, before, is_made, write, clock)
        if found is None:
            return None
        return await _wait_until(session, found, lambda state: state.record == record, CHANGE_ENDPOINT, clock)

    after = await try_again(write_once, clock)
    if after is None:
        return False
    if move.traffic is None or traffic.is_same(after.traffic, wanted):
        return True
    if after.record not in (before.record, record):
        return False
    raise ForeignChange(
        f"the traffic of {before.name!r} is not what was written",
        where=f"endpoint {before.name}",
        why=f"wrote {traffic.describe(wanted)}, read back {traffic.describe(after.traffic)}",
        hint="find out who changed it; then run the rollout again, it starts from what is there now",
    )


async def delete_failed_endpoint(session: Session, name: str, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Delete an endpoint whose creation failed, and wait until it is gone.

    Return False if nothing was deleted, because somebody has created it again since the decision.
    """
    is_failed = True

    async def delete() -> Accepted | None:
        nonlocal is_failed
        with azure_errors(f"cannot delete the endpoint {name!r}", where=f"endpoint {name}"):
            today = await read_bare_endpoint(session, name)
            is_failed = not today.exists or today.is_failed or not today.is_settled
            if not today.exists or not is_failed:
                return None
            return cast(Accepted, await write_in_thread(session.ml.online_endpoints.begin_delete, name))

    async def read_state() -> str:
        return (await read_bare_endpoint(session, name)).provisioning_state

    await delete_until_gone(
        session, delete, read_state, what=f"the endpoint {name}", endpoint=name, usual=UNKNOWN, clock=clock
    )
    return is_failed


async def _write(
    session: Session,
    before: EndpointState,
    is_made: Callable[[EndpointState], bool],
    write: Callable[[OnlineEndpoint], Awaitable[None]],
    clock: Clock,
) -> EndpointState | None:
    """Read the endpoint and write it; return the reading, or None if it is no longer as it was before.

    Args:
        is_made: Returns True if the endpoint is as it shall be: an earlier try wrote it, and its answer was lost.
        write: Called with the endpoint as it is now.
    """

    async def attempt() -> EndpointState | None:
        with azure_errors(f"cannot change the endpoint {before.name!r}", where=f"endpoint {before.name}"):
            entity = await get_existing(session.ml.online_endpoints.get, before.name)
            today = state_of(entity)
            if is_made(today) and not today.is_failed:
                return today
            if not is_made(today) and not _is_as(before, today):
                return None
            if not today.is_settled:  # what is running hides its changes, and may end before the write arrives
                raise Busy(
                    f"cannot change the endpoint {before.name!r}",
                    where=f"endpoint {before.name}",
                    why=f"it is {today.provisioning_state}",
                    hint=BUSY,
                )
            await write(entity)
            return today

    return await write_when_free(attempt, what=f"endpoint {before.name}", clock=clock)


async def _put(session: Session, change: Callable[[OnlineEndpoint], None], entity: OnlineEndpoint) -> None:
    change(entity)
    await write_in_thread(session.ml.online_endpoints.begin_create_or_update, entity)


def _is_as_described(spec: RolloutSpec, state: EndpointState) -> bool:
    return not endpoint_changes(spec.endpoint, state)


def _is_as(before: EndpointState, today: EndpointState) -> bool:
    return today.record == before.record and traffic.is_same(today.traffic, before.traffic)


async def _wait_until(
    session: Session,
    before: EndpointState,
    is_visible: Callable[[EndpointState], bool],
    usual: Usual,
    clock: Clock,
) -> EndpointState:
    """Wait until the operation on the endpoint has ended and the write is visible, or reads have lagged too long.

    Args:
        before: The endpoint just before the write.
    """
    name, absent, settled = before.name, Lag(clock), Lag(clock)
    await clock.sleep(SHORTEST_INTERVAL_SECONDS)  # it has just begun

    def is_done(state: EndpointState) -> bool:
        is_gone = absent.is_over(is_seen=not state.exists)  # one 404 does not prove it
        if not state.exists:
            return is_gone
        is_late = settled.is_over(is_seen=state.is_settled)
        has_failed = state.is_failed and not before.is_failed  # a read that lags shows an earlier failure
        return state.is_settled and (is_visible(state) or has_failed or is_late)

    state = await wait_for(
        lambda: read_bare_endpoint(session, name),
        is_done,
        what=f"the operation on the endpoint {name}",
        timeout_seconds=OPERATION_TIMEOUT_SECONDS,
        describe=lambda state: state.provisioning_state,
        usual=usual,
        clock=clock,
    )
    return await _require_succeeded(session, state)


async def _require_succeeded(session: Session, state: EndpointState) -> EndpointState:
    if not state.exists:
        raise NotFound(
            f"the endpoint {state.name!r} has disappeared",
            where=f"endpoint {state.name}",
            hint="somebody deleted it: run the rollout again",
        )
    if state.is_failed:
        where = f"endpoint {state.name}"
        with azure_errors(f"cannot read the endpoint {state.name!r}", where=where):
            entity = await get_existing(session.ml.online_endpoints.get, state.name)
        raise operation_failed(
            EndpointFailed,
            f"the operation on the endpoint {state.name!r} failed",
            where,
            state=state.provisioning_state,
            error=await read_reason(session, entity),
        )
    return state
