"""Endpoints and their traffic, through the SDK.

Every function reads first, then acts, so running it twice is safe.
"""

from collections.abc import Mapping

from azure.ai.ml.entities import ManagedOnlineEndpoint, OnlineEndpoint

from rollway.azure import lease
from rollway.azure.errors.translate import azure_errors, operation_failed
from rollway.azure.folder import load_endpoint_entity
from rollway.azure.session import Session
from rollway.azure.state import TIMEOUT_SECONDS, read_endpoint, read_reason, settle, state_of
from rollway.azure.threads import in_thread, write_in_thread
from rollway.azure.waiting import SYSTEM_CLOCK, Clock, OnProgress, now, wait_for, when_free
from rollway.errors import EndpointFailed, ForeignChange, NotFound
from rollway.rollout import traffic
from rollway.rollout.lease import FREE, decode
from rollway.rollout.plan import Kind, Plan, endpoint_changes
from rollway.rollout.state import (
    CREATED_AT,
    CREATED_BY,
    LAST,
    LEASE,
    PINNED,
    PREVIOUS,
    PROMOTED_AT,
    PROVEN_TRAFFIC,
    REJECTED,
    RUN,
    WRITTEN_TRAFFIC,
    EndpointState,
)
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
    """The endpoint as endpoint.yml describes it: created, brought up to date, or left alone when nothing differs.

    Traffic and tags that the file does not name are kept. An endpoint whose creation failed is deleted and created
    again, because Azure cannot repair it. One that is there is changed under its lease, which is given back by the same
    write.
    """
    today = await read_endpoint(session, spec.endpoint.name)
    if today.exists and today.provisioning_state == "Succeeded" and not endpoint_changes(spec.endpoint, today):
        return today
    today = await settle(session, today.name, clock)
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
            # A write whose answer was lost is tried again, and may have been made: it gave the lease back as well.
            found = await read_endpoint(session, today.name)
            is_as_wanted = decode(found.tags.get(LEASE)) is None and not endpoint_changes(spec.endpoint, found)
            if found.exists and (is_as_wanted or not today.exists):
                return
            if today.exists:
                entity = await lease.require(session, today.name, run_id)
                _bring_up_to_date(entity, spec)
            else:
                entity = await in_thread(load_endpoint_entity, spec.folder)
                entity.tags = {**(entity.tags or {}), CREATED_BY: run_id, CREATED_AT: now()}
            entity.tags = {**(entity.tags or {}), LEASE: FREE}
            await write_in_thread(session.ml.online_endpoints.begin_create_or_update, entity)

    await when_free(put, what=f"endpoint {today.name}", clock=clock)
    return await _require_succeeded(session, await settle(session, today.name, clock))


def lease_timeout_seconds(spec: RolloutSpec) -> float:
    """How long to wait for another rollout of the endpoint: as long as one may take, in seconds."""
    return spec.rollout.ready_timeout_seconds + TIMEOUT_SECONDS


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
    """Sets the traffic map and returns what Azure says afterwards, in percent by online deployment.

    Get, modify, put, read back: the service has no ETag, so traffic that is neither `expected` nor `wanted` is somebody
    else's change and raises ForeignChange. The same write keeps in tags what was written and what to return to
    (`proven`), for whoever has to repair a rollout that ends here; it also renews the lease, and needs it (LeaseLost).
    """
    where = f"endpoint {endpoint}"

    async def put() -> None:
        entity = await lease.require(session, endpoint, run_id)
        today = state_of(entity).traffic
        if traffic.is_same(today, wanted):
            return
        if not traffic.is_same(today, expected):
            raise ForeignChange(
                f"the traffic of {endpoint!r} was changed by somebody else",
                where=where,
                why=f"expected {traffic.describe(expected)}, found {traffic.describe(today)}",
                hint="find out who changed it; then run the rollout again, it starts from what is there now",
            )
        entity.traffic = dict(wanted)
        # A target of mirror traffic must not carry live traffic as well.
        mirror = entity.mirror_traffic or {}
        entity.mirror_traffic = {name: weight for name, weight in mirror.items() if not wanted.get(name)}
        encoded = {WRITTEN_TRAFFIC: traffic.encode(wanted), PROVEN_TRAFFIC: traffic.encode(proven)}
        entity.tags = {**(entity.tags or {}), RUN: run_id, **encoded, **lease.renewal(run_id)}
        with azure_errors(f"cannot move the traffic of {endpoint!r}", where=where):
            await write_in_thread(session.ml.online_endpoints.begin_create_or_update, entity)

    await when_free(put, what=f"endpoint {endpoint}", clock=clock)
    after = await _require_succeeded(session, await settle(session, endpoint, clock))
    if not traffic.is_same(after.traffic, wanted):
        raise ForeignChange(
            f"the traffic of {endpoint!r} is not what was written",
            where=where,
            why=f"wrote {traffic.describe(wanted)}, read back {traffic.describe(after.traffic)}",
            hint="find out who changed it; then run the rollout again, it starts from what is there now",
        )
    return {name: weight for name, weight in after.traffic.items() if weight}


async def confirm_promotion(
    session: Session, plan: Plan, run_id: str, *, pinned: str = "", clock: Clock = SYSTEM_CLOCK
) -> None:
    """Notes on the endpoint that live traffic has passed: from now on that is what traffic returns to.

    Also what served before, for a rollback, and `pinned`: why new model versions are not to be rolled out by themselves
    from now on; empty: they are.
    """
    state = await read_endpoint(session, plan.endpoint)
    encoded = traffic.encode(plan.traffic_after)
    rejected = [one for one in state.tags.get(REJECTED, "").split(",") if one and one != str(plan.model)]
    tags = {PROVEN_TRAFFIC: encoded, WRITTEN_TRAFFIC: encoded, PINNED: pinned, REJECTED: ",".join(rejected)}
    if plan.previous is not None:
        tags[PREVIOUS] = plan.previous
    is_noted = state.tags.get(LAST, "").startswith(f"promoted {run_id} ")
    if not is_noted and (plan.has(Kind.MOVE_TRAFFIC) or plan.has(Kind.PROVE)):
        at = now()
        tags |= {PROMOTED_AT: at, LAST: f"promoted {run_id} {at}"}
    await lease.write_tags(session, plan.endpoint, run_id, tags, clock=clock)


async def delete_endpoint(session: Session, name: str, clock: Clock = SYSTEM_CLOCK) -> None:
    """Deletes the endpoint with everything behind it and waits until it is gone."""

    async def delete() -> None:
        with azure_errors(f"cannot delete the endpoint {name!r}", where=f"endpoint {name}"):
            await write_in_thread(session.ml.online_endpoints.begin_delete, name)

    await when_free(delete, what=f"endpoint {name}", clock=clock)
    await wait_for(
        lambda: read_endpoint(session, name),
        lambda state: not state.exists,
        what=f"deleting the endpoint {name}",
        timeout_seconds=TIMEOUT_SECONDS,
        describe=lambda state: state.provisioning_state,
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
