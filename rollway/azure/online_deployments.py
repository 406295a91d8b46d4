"""Online deployments through the SDK: create, change, wait, read logs, delete.

Every function reads before it writes, so it is safe to repeat.
"""

from azure.ai.ml.entities import OnlineDeployment
from azure.core.exceptions import AzureError

from rollway.azure import lease
from rollway.azure.entities import text_of
from rollway.azure.errors.translate import azure_errors, operation_failed
from rollway.azure.folder import load_online_deployment_entity
from rollway.azure.session import Session
from rollway.azure.state import (
    CREATE_ONLINE_DEPLOYMENT_SECONDS,
    online_deployment_state_of,
    read_online_deployment,
    read_reason,
)
from rollway.azure.threads import in_thread, write_in_thread
from rollway.azure.waiting import SYSTEM_CLOCK, Clock, OnProgress, now, wait_for, write_when_free
from rollway.errors import ForeignChange, ProvisioningFailed
from rollway.masking import mask
from rollway.rollout.plan import Plan
from rollway.rollout.record import OnlineDeploymentRecord, with_record
from rollway.rollout.state import OnlineDeploymentState, is_settled
from rollway.spec import RolloutSpec

DELETE_TIMEOUT_SECONDS = 1800
LOG_LINES = 100


async def create_online_deployment(
    session: Session, spec: RolloutSpec, plan: Plan, run_id: str, *, clock: Clock = SYSTEM_CLOCK
) -> OnlineDeploymentState:
    """Start creating the online deployment of the plan at weight 0; do not wait until it is ready.

    An existing one is adopted, also while it is being created. A failed one is deleted first, because Azure cannot
    repair a failed first provisioning.
    """
    name = plan.online_deployment
    existing = await read_online_deployment(session, plan.endpoint, name)
    if existing is not None and existing.is_failed:
        await delete_online_deployment(session, plan.endpoint, name, run_id, clock=clock)
    elif existing is not None:
        return existing

    async def put() -> None:
        where = f"endpoint {plan.endpoint}, {spec.folder}/deployment.yml"
        with azure_errors(f"cannot create the online deployment {name!r}", where=where):
            entity = await in_thread(load_online_deployment_entity, spec.folder)
            entity.name = name
            entity.endpoint_name = plan.endpoint
            entity.model = plan.model.id if plan.model else None
            entity.environment = plan.environment.id if plan.environment else None
            entity.tags = with_record(plan.tags, plan.record.created(run_id, now()))
            if await read_online_deployment(session, plan.endpoint, name) is not None:
                return  # an earlier try succeeded, but its answer was lost
            await lease.require(session, plan.endpoint, run_id)
            await write_in_thread(session.ml.online_deployments.begin_create_or_update, entity)

    await write_when_free(put, what=f"endpoint {plan.endpoint}", clock=clock)
    created = await read_online_deployment(session, plan.endpoint, name)
    if created is None:
        raise ForeignChange(
            f"the online deployment {name!r} has disappeared",
            where=f"endpoint {plan.endpoint}",
            hint="somebody deleted it: find out who, and run the rollout again",
        )
    return created


async def update_online_deployment(session: Session, plan: Plan, run_id: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Start the in-place change of the plan: instance count and tags, but not what runs in it."""

    async def put() -> None:
        with azure_errors(f"cannot change {plan.online_deployment!r}", where=f"endpoint {plan.endpoint}"):
            entity = await in_thread(session.ml.online_deployments.get, plan.online_deployment, plan.endpoint)
            entity.instance_count = plan.instance_count
            record = OnlineDeploymentRecord.of(entity.tags or {}).changed(plan.record, run_id)
            entity.tags = with_record({**(entity.tags or {}), **plan.tags}, record)
            await lease.require(session, plan.endpoint, run_id)
            await write_in_thread(session.ml.online_deployments.begin_create_or_update, entity)

    await write_when_free(put, what=f"endpoint {plan.endpoint}", clock=clock)


async def wait_until_ready(
    session: Session,
    endpoint: str,
    name: str,
    *,
    timeout_seconds: float,
    on_progress: OnProgress | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> OnlineDeploymentState:
    """Wait until Azure reports the online deployment as ready.

    Raises ProvisioningFailed with Azure's reason and the containers' logs, or DeadlineExceeded.
    """

    async def read() -> OnlineDeployment:
        with azure_errors(f"cannot read the online deployment {name!r}", where=f"endpoint {endpoint}"):
            return await in_thread(session.ml.online_deployments.get, name, endpoint)

    entity = await wait_for(
        read,
        lambda entity: is_settled(text_of(entity.provisioning_state)),
        what=f"the provisioning of {name}",
        timeout_seconds=timeout_seconds,
        describe=lambda entity: text_of(entity.provisioning_state),
        hint="allow more time (ready_timeout_seconds in rollout.yml), or find out in Azure what delays it",
        rarely_before_seconds=CREATE_ONLINE_DEPLOYMENT_SECONDS,
        on_progress=on_progress,
        clock=clock,
    )
    state = online_deployment_state_of(entity)
    if state.is_succeeded:
        return state
    raise operation_failed(
        ProvisioningFailed,
        f"the online deployment {name!r} did not become ready",
        f"endpoint {endpoint}",
        state=state.provisioning_state,
        error=await read_reason(session, entity),
        details=await read_logs(session, endpoint, name),
    )


async def require_unchanged(session: Session, endpoint: str, seen: OnlineDeploymentState) -> None:
    """Raise ForeignChange unless the online deployment is still as it was when it became ready."""
    today = await read_online_deployment(session, endpoint, seen.name)
    if today is None:
        found = ["it is gone"]
    else:
        before, after = seen.model_dump(), today.model_dump()
        found = [f"{field}: {before[field]} -> {after[field]}" for field in before if before[field] != after[field]]
    if found:
        raise ForeignChange(
            f"the online deployment {seen.name!r} was changed by somebody else",
            where=f"endpoint {endpoint}",
            why="; ".join(found),
            hint="find out who changed it; then run the rollout again",
        )


async def read_logs(session: Session, endpoint: str, name: str, lines: int = LOG_LINES) -> str:
    """Return the last lines of both containers' logs under headings, without secrets."""
    parts = []
    for title, container in (("inference server", "inference-server"), ("storage initializer", "storage-initializer")):
        try:
            text = await in_thread(
                session.ml.online_deployments.get_logs, name, endpoint, lines, container_type=container
            )
        except AzureError as error:
            text = f"(no log: {str(error).splitlines()[0]})"
        parts.append(f"--- log of the {title} container, last {lines} lines ---\n{mask(text.strip()) or '(empty)'}")
    return "\n".join(parts)


async def delete_online_deployment(
    session: Session, endpoint: str, name: str, run_id: str, *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Delete an online deployment if it exists and wait until it is gone; Azure refuses if it has traffic."""

    async def delete() -> None:
        await lease.require(session, endpoint, run_id)
        with azure_errors(f"cannot delete the online deployment {name!r}", where=f"endpoint {endpoint}"):
            await write_in_thread(session.ml.online_deployments.begin_delete, name, endpoint)

    if await read_online_deployment(session, endpoint, name) is None:
        return
    await write_when_free(delete, what=f"endpoint {endpoint}", clock=clock)
    await wait_for(
        lambda: read_online_deployment(session, endpoint, name),
        lambda state: state is None,
        what=f"deleting {name}",
        timeout_seconds=DELETE_TIMEOUT_SECONDS,
        describe=lambda state: state.provisioning_state if state else "gone",
        rarely_before_seconds=DELETE_TIMEOUT_SECONDS,  # nobody waits for it: the new version serves
        clock=clock,
    )
