"""Endpoints and online deployments through the SDK.

Every function reads first, then acts, so running it twice is safe.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal

from azure.ai.ml.entities import ManagedOnlineEndpoint, OnlineDeployment, OnlineEndpoint
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError

from rollway.azure.failures import azure_errors, explain, in_thread, word
from rollway.azure.folder import load_endpoint_entity, load_online_deployment_entity, settings_of
from rollway.azure.session import Session
from rollway.azure.waiting import SYSTEM_CLOCK, Clock, wait_for
from rollway.errors import ForeignChange, NotFound, ProvisioningFailed
from rollway.rollout import traffic
from rollway.rollout.plan import Plan, endpoint_changes
from rollway.rollout.state import (
    CREATED_AT,
    CREATED_BY,
    PREVIOUS_TRAFFIC,
    RUN,
    EndpointState,
    OnlineDeploymentState,
)
from rollway.spec import RolloutSpec

ENDPOINT_TIMEOUT_SECONDS = 1800  # x-ms-async-operation-timeout of the service is PT30M
DELETE_TIMEOUT_SECONDS = 1800
LOG_LINES = 100
_TERMINAL = ("succeeded", "failed", "canceled")

OnProgress = Callable[[str, float], Awaitable[None]]  # state, seconds so far


async def read_endpoint(session: Session, name: str) -> EndpointState:
    """The endpoint with all its online deployments; `exists` is False when there is none of that name."""
    with azure_errors(f"cannot read the endpoint {name!r}", where=f"endpoint {name}"):
        try:
            entity = await in_thread(session.ml.online_endpoints.get, name)
            found = await in_thread(lambda: list(session.ml.online_deployments.list(name)))
        except ResourceNotFoundError:
            return EndpointState(name=name, exists=False, provisioning_state="Absent")
    return _endpoint_state(entity).model_copy(
        update={"online_deployments": tuple(_online_deployment_state(one) for one in found)}
    )


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
    hint = "choose another name in endpoint.yml when it is taken; names are unique in a region"
    with azure_errors(f"cannot create the endpoint {today.name!r}", where=f"endpoint {today.name}", hint=hint):
        if today.exists and today.provisioning_state.lower() not in _TERMINAL:
            today = await _settle(session, today.name, clock)
        if today.exists and today.provisioning_state == "Failed" and not today.online_deployments:
            await _delete_endpoint(session, today.name, clock)
            today = EndpointState(name=today.name, exists=False)
        if not today.exists:
            entity = await in_thread(load_endpoint_entity, spec.folder)
            entity.tags = {**(entity.tags or {}), CREATED_BY: run_id, CREATED_AT: _now()}
        else:
            entity = await in_thread(session.ml.online_endpoints.get, today.name)
            entity.auth_mode = spec.endpoint.auth_mode
            if isinstance(entity, ManagedOnlineEndpoint):
                entity.public_network_access = spec.endpoint.public_network_access
            entity.tags = {**(entity.tags or {}), **spec.endpoint.tags}
            if spec.endpoint.description is not None:
                entity.description = spec.endpoint.description
        await in_thread(session.ml.online_endpoints.begin_create_or_update, entity)
    return _require_succeeded(await _settle(session, today.name, clock))


async def create_online_deployment(
    session: Session, spec: RolloutSpec, plan: Plan, run_id: str, *, clock: Clock = SYSTEM_CLOCK
) -> OnlineDeploymentState:
    """Starts creating the online deployment of the plan at weight 0 and returns without waiting until it is ready.

    One that is there already, or on its way, is adopted; one that failed is deleted first, because Azure cannot
    repair a failed first provisioning.
    """
    endpoint = await read_endpoint(session, plan.endpoint)
    existing = endpoint.online_deployment(plan.online_deployment)
    if existing is not None and not existing.is_failed:
        return existing
    if existing is not None:
        await delete_online_deployment(session, plan.endpoint, existing.name, clock=clock)
    what = f"cannot create the online deployment {plan.online_deployment!r}"
    with azure_errors(what, where=f"endpoint {plan.endpoint}, {spec.folder}/deployment.yml"):
        entity = await in_thread(load_online_deployment_entity, spec.folder)
        entity.name = plan.online_deployment
        entity.endpoint_name = plan.endpoint
        entity.model = plan.model.id if plan.model else None
        entity.environment = plan.environment.id if plan.environment else None
        entity.tags = {**plan.tags, RUN: run_id, CREATED_BY: run_id, CREATED_AT: _now()}
        await in_thread(session.ml.online_deployments.begin_create_or_update, entity)
        return _online_deployment_state(
            await in_thread(session.ml.online_deployments.get, plan.online_deployment, plan.endpoint)
        )


async def update_online_deployment(session: Session, plan: Plan, run_id: str) -> None:
    """Starts the in-place change of the plan: instance count and tags; what it runs stays as it is."""
    with azure_errors(f"cannot change {plan.online_deployment!r}", where=f"endpoint {plan.endpoint}"):
        entity: OnlineDeployment = await in_thread(
            session.ml.online_deployments.get, plan.online_deployment, plan.endpoint
        )
        entity.instance_count = plan.instance_count
        entity.tags = {**(entity.tags or {}), **plan.tags, RUN: run_id}
        await in_thread(session.ml.online_deployments.begin_create_or_update, entity)


async def wait_until_ready(
    session: Session,
    endpoint: str,
    name: str,
    *,
    timeout_seconds: float,
    on_progress: OnProgress | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> OnlineDeploymentState:
    """Waits until Azure says the online deployment is ready.

    Raises ProvisioningFailed with Azure's own reason and the containers' logs, or DeadlineExceeded.
    """

    async def read() -> OnlineDeployment:
        with azure_errors(f"cannot read the online deployment {name!r}", where=f"endpoint {endpoint}"):
            return await in_thread(session.ml.online_deployments.get, name, endpoint)

    async def on_read(entity: OnlineDeployment, waited: float) -> None:
        if on_progress is not None:
            await on_progress(word(entity.provisioning_state), waited)

    entity = await wait_for(
        read,
        lambda entity: word(entity.provisioning_state).lower() in _TERMINAL,
        what=f"the provisioning of {name}",
        timeout_seconds=timeout_seconds,
        describe=lambda entity: word(entity.provisioning_state),
        hint="allow more time (ready_timeout_seconds in rollout.yml), or see in Azure what holds it up",
        on_read=on_read,
        clock=clock,
    )
    state = _online_deployment_state(entity)
    if state.is_succeeded:
        return state
    code, reason = await _why_it_failed(session, entity)
    logs = await read_logs(session, endpoint, name)
    raise ProvisioningFailed(
        f"the online deployment {name!r} did not become ready",
        where=f"endpoint {endpoint}",
        why=f"{code}: {reason}" if code else reason,
        hint="read the log below, mend what it complains about and run the rollout again",
        details=logs,
    )


async def read_logs(session: Session, endpoint: str, name: str, lines: int = LOG_LINES) -> str:
    """The last lines of both containers' logs under headings; says so when Azure has none."""
    parts = []
    for title, container in (("inference server", "inference-server"), ("storage initializer", "storage-initializer")):
        try:
            text = await in_thread(
                session.ml.online_deployments.get_logs, name, endpoint, lines, container_type=container
            )
        except AzureError as error:
            text = f"(no log: {str(error).splitlines()[0]})"
        parts.append(f"--- log of the {title} container, last {lines} lines ---\n{text.strip() or '(empty)'}")
    return "\n".join(parts)


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
    else's change and raises ForeignChange. The map before is kept in a tag, in the same write, for `abort`;
    `is_restore` takes the tag off instead, so that a repeated `abort` has nothing left to restore.
    """
    where = f"endpoint {endpoint}"

    async def put() -> bool:
        entity: OnlineEndpoint = await in_thread(session.ml.online_endpoints.get, endpoint)
        today = entity.traffic or {}
        if traffic.is_same(today, wanted):
            return True
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
        tags = {key: value for key, value in (entity.tags or {}).items() if key not in (PREVIOUS_TRAFFIC, RUN)}
        entity.tags = tags if is_restore else {**tags, PREVIOUS_TRAFFIC: traffic.encode(expected), RUN: run_id}
        try:
            await in_thread(session.ml.online_endpoints.begin_create_or_update, entity)
        except ResourceExistsError:  # another operation holds the endpoint: look again at what it did
            return False
        return True

    with azure_errors(f"cannot move the traffic of {endpoint!r}", where=where):
        await wait_for(
            put,
            bool,
            what=f"another operation on the endpoint {endpoint}",
            timeout_seconds=ENDPOINT_TIMEOUT_SECONDS,
            describe=lambda written: "written" if written else "still running",
            clock=clock,
        )
    after = _require_succeeded(await _settle(session, endpoint, clock))
    if not traffic.is_same(after.traffic, wanted):
        raise ForeignChange(
            f"the traffic of {endpoint!r} is not what was written",
            where=where,
            why=f"wrote {traffic.describe(wanted)}, read back {traffic.describe(after.traffic)}",
            hint="find out who changed it; then run the rollout again, it starts from what is there now",
        )
    return {name: weight for name, weight in after.traffic.items() if weight}


async def delete_online_deployment(
    session: Session, endpoint: str, name: str, *, clock: Clock = SYSTEM_CLOCK
) -> Literal["deleted", "absent"]:
    """Deletes an online deployment and waits until it is gone; Azure refuses one that has traffic."""
    with azure_errors(f"cannot delete the online deployment {name!r}", where=f"endpoint {endpoint}"):
        try:
            await in_thread(session.ml.online_deployments.begin_delete, name, endpoint)
        except ResourceNotFoundError:
            return "absent"

    async def is_gone() -> bool:
        with azure_errors(f"cannot read the online deployment {name!r}", where=f"endpoint {endpoint}"):
            try:
                await in_thread(session.ml.online_deployments.get, name, endpoint)
            except ResourceNotFoundError:
                return True
        return False

    await wait_for(
        is_gone,
        bool,
        what=f"deleting {name}",
        timeout_seconds=DELETE_TIMEOUT_SECONDS,
        describe=lambda gone: "gone" if gone else "still there",
        clock=clock,
    )
    return "deleted"


async def abort(session: Session, endpoint: str, run_id: str, *, clock: Clock = SYSTEM_CLOCK) -> tuple[str, ...]:
    """Undoes what a run left: its traffic change, its online deployment, an endpoint it created. Says what it did.

    Works from the tags in Azure alone, so it is right in a fresh process too, and safe to repeat.
    """
    done = []
    state = await _settle(session, endpoint, clock)  # a running operation hides what it is about to change
    if not state.exists:
        return ()
    if state.tags.get(RUN) == run_id and PREVIOUS_TRAFFIC in state.tags:
        before = traffic.decode(state.tags[PREVIOUS_TRAFFIC])
        if not traffic.is_same(state.traffic, before):
            await move_traffic(
                session, endpoint, before, expected=state.traffic, run_id=run_id, is_restore=True, clock=clock
            )
            done.append(f"traffic restored: {traffic.describe(before)}")
            state = await read_endpoint(session, endpoint)
    for one in state.online_deployments:
        if one.tags.get(CREATED_BY) == run_id and not state.traffic.get(one.name):
            await delete_online_deployment(session, endpoint, one.name, clock=clock)
            done.append(f"online deployment {one.name} deleted")
            state = await read_endpoint(session, endpoint)
    if state.tags.get(CREATED_BY) == run_id and not state.online_deployments:
        await _delete_endpoint(session, endpoint, clock)
        done.append(f"endpoint {endpoint} deleted, this run had created it")
    return tuple(done)


async def _settle(session: Session, name: str, clock: Clock) -> EndpointState:
    """Waits until no operation is running on the endpoint."""
    return await wait_for(
        lambda: read_endpoint(session, name),
        lambda state: not state.exists or state.provisioning_state.lower() in _TERMINAL,
        what=f"the operation on the endpoint {name}",
        timeout_seconds=ENDPOINT_TIMEOUT_SECONDS,
        describe=lambda state: state.provisioning_state,
        clock=clock,
    )


async def _delete_endpoint(session: Session, name: str, clock: Clock) -> None:
    with azure_errors(f"cannot delete the endpoint {name!r}", where=f"endpoint {name}"):
        await in_thread(session.ml.online_endpoints.begin_delete, name)
    await wait_for(
        lambda: read_endpoint(session, name),
        lambda state: not state.exists,
        what=f"deleting the endpoint {name}",
        timeout_seconds=DELETE_TIMEOUT_SECONDS,
        describe=lambda state: state.provisioning_state,
        clock=clock,
    )


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


async def _why_it_failed(session: Session, entity: OnlineDeployment) -> tuple[str | None, str]:
    # The resource only says "Failed"; its operation knows why, and the service leaves the address among the properties.
    url = (entity.properties or {}).get("AzureAsyncOperationUri")
    try:
        operation: dict[str, Any] = await in_thread(session.read_arm, str(url)) if url else {}
    except HttpResponseError:
        operation = {}
    error = operation.get("error")
    return explain(error) if error else (None, f"Azure gives no reason; the state is {entity.provisioning_state}")


def _endpoint_state(entity: OnlineEndpoint) -> EndpointState:
    return EndpointState(
        name=str(entity.name),
        provisioning_state=word(entity.provisioning_state),
        auth_mode=word(entity.auth_mode).lower(),
        public_network_access=word(getattr(entity, "public_network_access", None) or "enabled").lower(),
        description=entity.description,
        tags={str(key): str(value) for key, value in (entity.tags or {}).items()},
        scoring_uri=entity.scoring_uri,
        traffic={name: int(weight) for name, weight in (entity.traffic or {}).items()},
        mirror_traffic={name: int(weight) for name, weight in (entity.mirror_traffic or {}).items()},
    )


def _online_deployment_state(entity: OnlineDeployment) -> OnlineDeploymentState:
    return OnlineDeploymentState(
        name=str(entity.name),
        provisioning_state=word(entity.provisioning_state),
        instance_count=int(entity.instance_count or 1),
        tags={str(key): str(value) for key, value in (entity.tags or {}).items()},
        model=str(entity.model) if entity.model else None,
        environment=str(entity.environment) if entity.environment else None,
        settings=settings_of(entity),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
