"""Endpoints and their traffic through the SDK.

Every function reads before it writes, so it is safe to repeat.
"""

from collections.abc import Mapping

from azure.ai.ml.entities import ManagedOnlineEndpoint, OnlineEndpoint

from rollway.azure import lease
from rollway.azure.errors.translate import azure_errors, operation_failed
from rollway.azure.folder import load_endpoint_entity
from rollway.azure.session import Session
from rollway.azure.state import (
    ABSENT,
    CHANGE_ENDPOINT_SECONDS,
    CREATE_ENDPOINT_SECONDS,
    read_endpoint,
    read_provisioning_state,
    read_reason,
    state_of,
    wait_until_settled,
)
from rollway.azure.threads import in_thread, write_in_thread
from rollway.azure.waiting import (
    OPERATION_TIMEOUT_SECONDS,
    SYSTEM_CLOCK,
    Clock,
    OnProgress,
    now,
    wait_for,
    write_when_free,
)
from rollway.errors import EndpointFailed, ForeignChange, NotFound
from rollway.rollout import traffic
from rollway.rollout.plan import Kind, Plan, endpoint_changes
from rollway.rollout.record import EndpointRecord, with_record
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec


async def ensure_endpoint(
    session: Session,
    spec: RolloutSpec,
    run_id: str,
    *,
    has_ended: lease.HasEnded = lease.never_known,
    on_progress: OnProgress | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> EndpointState:
    """Create the endpoint or change it to what endpoint.yml says; return it as Azure reports it.

    Traffic and tags that the file does not name are kept. An endpoint whose creation failed is deleted and created
    again, because Azure cannot repair it. An existing endpoint is changed under its lease, and the same write releases
    the lease.
    """
    today = await read_endpoint(session, spec.endpoint.name)
    if today.exists and today.provisioning_state == "Succeeded" and not endpoint_changes(spec.endpoint, today):
        return today
    today = await wait_until_settled(session, today.name, clock)
    if today.provisioning_state == "Failed" and not today.online_deployments:
        await delete_endpoint(session, today.name, clock)
        today = EndpointState(name=today.name, exists=False)
    if today.exists:
        today = await lease.acquire(
            session,
            today.name,
            run_id,
            timeout_seconds=lease_timeout_seconds(spec),
            has_ended=has_ended,
            on_progress=on_progress,
            clock=clock,
        )

    async def put() -> None:
        hint = "choose another name in endpoint.yml when it is taken; names are unique in a region"
        verb = "change" if today.exists else "create"
        with azure_errors(f"cannot {verb} the endpoint {today.name!r}", where=f"endpoint {today.name}", hint=hint):
            # This may be a second try after a lost answer: then the first one has released the lease as well.
            found = await read_endpoint(session, today.name)
            is_as_wanted = found.record.lease is None and not endpoint_changes(spec.endpoint, found)
            if found.exists and (is_as_wanted or not today.exists):
                return
            if today.exists:
                entity = await lease.require(session, today.name, run_id)
                record = EndpointRecord.of(entity.tags or {}).released()
                _bring_up_to_date(entity, spec)
            else:
                entity = await in_thread(load_endpoint_entity, spec.folder)
                record = EndpointRecord().created(run_id, now())
            entity.tags = with_record(entity.tags or {}, record)
            await write_in_thread(session.ml.online_endpoints.begin_create_or_update, entity)

    await write_when_free(put, what=f"endpoint {today.name}", clock=clock)
    usual = CHANGE_ENDPOINT_SECONDS if today.exists else CREATE_ENDPOINT_SECONDS
    after = await wait_until_settled(session, today.name, clock, rarely_before_seconds=usual)
    return await _require_succeeded(session, after)


def lease_timeout_seconds(spec: RolloutSpec) -> float:
    """Return how long to wait for another rollout of the endpoint, in seconds: as long as one may take."""
    return spec.rollout.ready_timeout_seconds + OPERATION_TIMEOUT_SECONDS


async def move_traffic(
    session: Session,
    endpoint: str,
    wanted: Mapping[str, int],
    *,
    expected: Mapping[str, int],
    proven: Mapping[str, int],
    run_id: str,
    clock: Clock = SYSTEM_CLOCK,
) -> dict[str, int]:
    """Set the traffic map and return the one that Azure reports afterwards, in percent by online deployment.

    Get, modify, put, read back: the service has no ETag, so any traffic other than `expected` or `wanted` is somebody
    else's change and raises ForeignChange. The same write updates the record and renews the lease; it raises LeaseLost
    if another attempt holds the lease.

    Args:
        wanted: The new traffic map.
        expected: The traffic map that the caller has seen.
        proven: The traffic to return to if the rollout ends here.
        run_id: This attempt, `<flow run>/<attempt>`.
    """
    where = f"endpoint {endpoint}"

    async def put() -> None:
        entity = await lease.require(session, endpoint, run_id)
        today = state_of(entity)
        if traffic.is_same(today.traffic, wanted):
            return
        if not traffic.is_same(today.traffic, expected):
            raise ForeignChange(
                f"the traffic of {endpoint!r} was changed by somebody else",
                where=where,
                why=f"expected {traffic.describe(expected)}, found {traffic.describe(today.traffic)}",
                hint="find out who changed it; then run the rollout again, it starts from what is there now",
            )
        entity.traffic = dict(wanted)
        # An online deployment must not get mirror and live traffic at once.
        mirror = entity.mirror_traffic or {}
        entity.mirror_traffic = {name: weight for name, weight in mirror.items() if not wanted.get(name)}
        record = today.record.moved(run_id, wanted, proven).claimed(lease.new_lease(run_id))
        entity.tags = with_record(today.tags, record)
        with azure_errors(f"cannot move the traffic of {endpoint!r}", where=where):
            await write_in_thread(session.ml.online_endpoints.begin_create_or_update, entity)

    await write_when_free(put, what=f"endpoint {endpoint}", clock=clock)
    settled = await wait_until_settled(session, endpoint, clock, rarely_before_seconds=CHANGE_ENDPOINT_SECONDS)
    after = await _require_succeeded(session, settled)
    if not traffic.is_same(after.traffic, wanted):
        raise ForeignChange(
            f"the traffic of {endpoint!r} is not what was written",
            where=where,
            why=f"wrote {traffic.describe(wanted)}, read back {traffic.describe(after.traffic)}",
            hint="find out who changed it; then run the rollout again, it starts from what is there now",
        )
    return after.serving


async def confirm_promotion(
    session: Session, plan: Plan, run_id: str, *, pause_reason: str = "", clock: Clock = SYSTEM_CLOCK
) -> None:
    """Record that the traffic passed its smoke test, and which online deployment it replaced.

    Args:
        pause_reason: Why automation must leave the endpoint alone from now on; empty if it need not.
    """
    has_moved = plan.has(Kind.MOVE_TRAFFIC) or plan.has(Kind.PROVE)

    def promoted(record: EndpointRecord) -> EndpointRecord:
        record = record.proved(plan.traffic_after).accepting(str(plan.model)).paused(pause_reason)
        record = record.replacing(plan.previous) if plan.previous else record
        return record.promoted(run_id, now()) if has_moved else record

    await lease.write_record(session, plan.endpoint, run_id, promoted, clock=clock)


async def delete_endpoint(session: Session, name: str, clock: Clock = SYSTEM_CLOCK) -> None:
    """Delete the endpoint with everything behind it and wait until it is gone."""

    async def delete() -> None:
        with azure_errors(f"cannot delete the endpoint {name!r}", where=f"endpoint {name}"):
            await write_in_thread(session.ml.online_endpoints.begin_delete, name)

    await write_when_free(delete, what=f"endpoint {name}", clock=clock)
    await wait_for(
        lambda: read_provisioning_state(session, name),
        lambda state: state == ABSENT,
        what=f"deleting the endpoint {name}",
        timeout_seconds=OPERATION_TIMEOUT_SECONDS,
        clock=clock,
    )


def _bring_up_to_date(entity: OnlineEndpoint, spec: RolloutSpec) -> None:
    entity.auth_mode = spec.endpoint.auth_mode
    if isinstance(entity, ManagedOnlineEndpoint):
        entity.public_network_access = spec.endpoint.public_network_access
    entity.tags = {**(entity.tags or {}), **spec.endpoint.tags}
    if spec.endpoint.description is not None:
        entity.description = spec.endpoint.description


async def _require_succeeded(session: Session, state: EndpointState) -> EndpointState:
    if not state.exists:
        raise NotFound(
            f"the endpoint {state.name!r} has disappeared", hint="somebody deleted it: run the rollout again"
        )
    if state.provisioning_state.lower() != "succeeded":
        where = f"endpoint {state.name}"
        with azure_errors(f"cannot read the endpoint {state.name!r}", where=where):
            entity = await in_thread(session.ml.online_endpoints.get, state.name)
        raise operation_failed(
            EndpointFailed,
            f"the operation on the endpoint {state.name!r} failed",
            where,
            state=state.provisioning_state,
            error=await read_reason(session, entity),
        )
    return state
