"""Endpoints and their traffic, through the SDK.

Every function reads first, then acts, so running it twice is safe.
"""

from azure.ai.ml.entities import ManagedOnlineEndpoint, OnlineEndpoint
from azure.core.exceptions import ResourceNotFoundError

from rollway.azure.entities import identities_of, kind_of
from rollway.azure.failures import azure_errors, in_thread, now, word
from rollway.azure.folder import load_endpoint_entity
from rollway.azure.online_deployments import list_online_deployments
from rollway.azure.session import Session
from rollway.azure.waiting import SYSTEM_CLOCK, Clock, wait_for, when_free
from rollway.errors import ForeignChange, NotFound, ProvisioningFailed
from rollway.rollout import traffic
from rollway.rollout.plan import endpoint_changes
from rollway.rollout.state import CREATED_AT, CREATED_BY, PREVIOUS_TRAFFIC, RUN, WRITTEN_TRAFFIC, EndpointState
from rollway.spec import RolloutSpec

TIMEOUT_SECONDS = 1800  # x-ms-async-operation-timeout of the service is PT30M
_TRAFFIC_TAGS = (RUN, PREVIOUS_TRAFFIC, WRITTEN_TRAFFIC)


async def read_endpoint(session: Session, name: str) -> EndpointState:
    """The endpoint with all its online deployments; `exists` is False when there is none of that name."""
    with azure_errors(f"cannot read the endpoint {name!r}", where=f"endpoint {name}"):
        try:
            entity = await in_thread(session.ml.online_endpoints.get, name)
            found = await list_online_deployments(session, name)
        except ResourceNotFoundError:
            return EndpointState(name=name, exists=False, provisioning_state="Absent")
    return _endpoint_state(entity).model_copy(update={"online_deployments": found})


async def ensure_endpoint(
    session: Session, spec: RolloutSpec, run_id: str, *, is_dry_run: bool = False, clock: Clock = SYSTEM_CLOCK
) -> EndpointState:
    """The endpoint as endpoint.yml describes it: created, brought up to date, or left alone when nothing differs.

    Traffic and tags that the file does not name are kept. An endpoint whose creation failed is deleted and created
    again, because Azure cannot repair it. With `is_dry_run` nothing is written.
    """
    today = await read_endpoint(session, spec.endpoint.name)
    if is_dry_run or (
        today.exists and today.provisioning_state == "Succeeded" and not endpoint_changes(spec.endpoint, today)
    ):
        return today
    today = await settle(session, today.name, clock)
    if today.provisioning_state == "Failed" and not today.online_deployments:
        await delete_endpoint(session, today.name, clock)
        today = EndpointState(name=today.name, exists=False)

    async def put() -> None:
        hint = "choose another name in endpoint.yml when it is taken; names are unique in a region"
        verb = "change" if today.exists else "create"
        with azure_errors(f"cannot {verb} the endpoint {today.name!r}", where=f"endpoint {today.name}", hint=hint):
            if today.exists:
                entity = await in_thread(session.ml.online_endpoints.get, today.name)
                _bring_up_to_date(entity, spec)
            else:
                entity = await in_thread(load_endpoint_entity, spec.folder)
                entity.tags = {**(entity.tags or {}), CREATED_BY: run_id, CREATED_AT: now()}
            await in_thread(session.ml.online_endpoints.begin_create_or_update, entity)

    await when_free(put, what=f"endpoint {today.name}", clock=clock)
    return _require_succeeded(await settle(session, today.name, clock))


async def move_traffic(
    session: Session,
    endpoint: str,
    wanted: dict[str, int],
    *,
    expected: dict[str, int],
    run_id: str,
    is_restore: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> dict[str, int]:
    """Sets the traffic map and returns what Azure says afterwards, in percent by online deployment.

    Get, modify, put, read back: the service has no ETag, so traffic that is neither `expected` nor `wanted` is somebody
    else's change and raises ForeignChange. Both maps are kept in tags, in the same write, for `abort`; `is_restore`
    takes the tags off instead, so that a repeated `abort` has nothing left to restore.
    """
    where = f"endpoint {endpoint}"

    async def put() -> None:
        with azure_errors(f"cannot move the traffic of {endpoint!r}", where=where):
            entity: OnlineEndpoint = await in_thread(session.ml.online_endpoints.get, endpoint)
        today = entity.traffic or {}
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
        entity.tags = {key: value for key, value in (entity.tags or {}).items() if key not in _TRAFFIC_TAGS}
        if not is_restore:
            encoded = {PREVIOUS_TRAFFIC: traffic.encode(expected), WRITTEN_TRAFFIC: traffic.encode(wanted)}
            entity.tags |= {RUN: run_id, **encoded}
        with azure_errors(f"cannot move the traffic of {endpoint!r}", where=where):
            await in_thread(session.ml.online_endpoints.begin_create_or_update, entity)

    await when_free(put, what=f"endpoint {endpoint}", clock=clock)
    after = _require_succeeded(await settle(session, endpoint, clock))
    if not traffic.is_same(after.traffic, wanted):
        raise ForeignChange(
            f"the traffic of {endpoint!r} is not what was written",
            where=where,
            why=f"wrote {traffic.describe(wanted)}, read back {traffic.describe(after.traffic)}",
            hint="find out who changed it; then run the rollout again, it starts from what is there now",
        )
    return {name: weight for name, weight in after.traffic.items() if weight}


async def settle(session: Session, name: str, clock: Clock = SYSTEM_CLOCK) -> EndpointState:
    """Waits until no operation is running on the endpoint."""
    return await wait_for(
        lambda: read_endpoint(session, name),
        lambda state: not state.exists or state.is_settled,
        what=f"the operation on the endpoint {name}",
        timeout_seconds=TIMEOUT_SECONDS,
        describe=lambda state: state.provisioning_state,
        clock=clock,
    )


async def delete_endpoint(session: Session, name: str, clock: Clock = SYSTEM_CLOCK) -> None:
    """Deletes the endpoint with everything behind it and waits until it is gone."""

    async def delete() -> None:
        with azure_errors(f"cannot delete the endpoint {name!r}", where=f"endpoint {name}"):
            await in_thread(session.ml.online_endpoints.begin_delete, name)

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


def _require_succeeded(state: EndpointState) -> EndpointState:
    if not state.exists:
        raise NotFound(
            f"the endpoint {state.name!r} has disappeared", hint="somebody deleted it: run the rollout again"
        )
    if state.provisioning_state.lower() != "succeeded":
        raise ProvisioningFailed(
            f"the endpoint {state.name!r} is in state {state.provisioning_state}",
            where=f"endpoint {state.name}",
            hint="see the endpoint's activity log in Azure; running the rollout again repairs a failed creation",
        )
    return state


def _endpoint_state(entity: OnlineEndpoint) -> EndpointState:
    return EndpointState(
        name=str(entity.name),
        provisioning_state=word(entity.provisioning_state),
        auth_mode=word(entity.auth_mode).lower(),
        public_network_access=word(getattr(entity, "public_network_access", None) or "enabled").lower(),
        kind=kind_of(entity),
        location=entity.location,
        identities=identities_of(entity),
        description=entity.description,
        tags={str(key): str(value) for key, value in (entity.tags or {}).items()},
        scoring_uri=entity.scoring_uri,
        traffic={name: int(weight) for name, weight in (entity.traffic or {}).items()},
        mirror_traffic={name: int(weight) for name, weight in (entity.mirror_traffic or {}).items()},
    )
