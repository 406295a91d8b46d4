"""Online deployments through the SDK: create, change, wait, read logs, delete.

Every function reads before it writes, so it is safe to repeat.
"""

from collections.abc import Mapping

from azure.ai.ml.entities import OnlineDeployment
from azure.core.exceptions import AzureError

from rollway.azure.endpoints import LAG_SECONDS
from rollway.azure.entities import text_of
from rollway.azure.errors.translate import azure_errors, first_line, operation_failed
from rollway.azure.folder import load_unchanged
from rollway.azure.session import Session
from rollway.azure.state import (
    CREATE_ONLINE_DEPLOYMENT,
    list_online_deployments,
    online_deployment_state_of,
    read_online_deployment,
    read_reason,
)
from rollway.azure.threads import in_thread, write_in_thread
from rollway.azure.waiting import SYSTEM_CLOCK, Clock, OnProgress, Usual, now, wait_for, write_when_free
from rollway.errors import DeadlineExceeded, ForeignChange, ProvisioningFailed
from rollway.masking import mask
from rollway.rollout.moves import Move
from rollway.rollout.record import OnlineDeploymentRecord, with_record
from rollway.rollout.state import OnlineDeploymentState, is_settled
from rollway.rollout.wanted import Wanted
from rollway.spec import RolloutSpec

DELETE_TIMEOUT_SECONDS = 1800
LOG_LINES = 100


async def create_online_deployment(
    session: Session, spec: RolloutSpec, wanted: Wanted, move: Move, attempt: str, *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Start creating the online deployment of a move at weight 0; do not wait until it is ready.

    Nothing is written if it exists: an earlier try succeeded, or another rollout of the same content was faster.
    """
    endpoint, name = spec.endpoint.name, move.target

    async def put() -> None:
        where = f"endpoint {endpoint}, {spec.folder}/deployment.yml"
        with azure_errors(f"cannot create the online deployment {name!r}", where=where):
            entity = await in_thread(load_unchanged, spec)
            entity.name = name
            entity.endpoint_name = endpoint
            entity.model = wanted.model.id if wanted.model else None
            entity.environment = wanted.environment.id if wanted.environment else None
            entity.instance_count = move.instances
            made = move.made or OnlineDeploymentRecord()
            entity.tags = with_record(spec.online_deployment.tags, made.created(attempt, now("milliseconds")))
            if await read_online_deployment(session, endpoint, name) is None:
                create = session.ml.online_deployments.begin_create_or_update
                await write_in_thread(create, entity, skip_script_validation=True)  # see rollway.azure.scripts

    await write_when_free(put, what=f"endpoint {endpoint}", clock=clock)
    await _wait_until_listed(session, endpoint, name, clock)


async def change_online_deployment(
    session: Session, endpoint: str, tags: Mapping[str, str], move: Move, *, clock: Clock = SYSTEM_CLOCK
) -> None:
    """Start changing instance count and tags of an online deployment in place, but not what runs in it."""

    async def put() -> None:
        with azure_errors(f"cannot change {move.target!r}", where=f"endpoint {endpoint}"):
            entity = await in_thread(session.ml.online_deployments.get, move.target, endpoint)
            entity.instance_count = move.instances
            record = move.made or OnlineDeploymentRecord.of(entity.tags or {})
            entity.tags = with_record({**(entity.tags or {}), **tags}, record)
            await write_in_thread(session.ml.online_deployments.begin_create_or_update, entity)

    await write_when_free(put, what=f"endpoint {endpoint}", clock=clock)


async def _wait_until_listed(session: Session, endpoint: str, name: str, clock: Clock) -> None:
    """Wait until the list shows a new online deployment: lists may lag behind, and decisions are made on them."""

    async def read() -> bool:
        with azure_errors(f"cannot list the online deployments of {endpoint!r}", where=f"endpoint {endpoint}"):
            return any(one.name == name for one in await list_online_deployments(session, endpoint))

    try:
        await wait_for(read, bool, what=f"the first sight of {name}", timeout_seconds=LAG_SECONDS, clock=clock)
    except DeadlineExceeded as error:
        raise ForeignChange(
            f"the online deployment {name!r} has disappeared",
            where=f"endpoint {endpoint}",
            hint="somebody deleted it: find out who, and run the rollout again",
        ) from error


async def wait_until_ready(
    session: Session,
    endpoint: str,
    name: str,
    *,
    timeout_seconds: float,
    like_seconds: float = 0.0,
    on_progress: OnProgress | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> OnlineDeploymentState:
    """Wait until Azure reports the online deployment as ready.

    Raises ProvisioningFailed with Azure's reason and the containers' logs, or DeadlineExceeded.

    Args:
        timeout_seconds: The deadline.
        like_seconds: How long the last one of this endpoint took; 0 if that is unknown.
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
        usual=Usual.like(like_seconds, CREATE_ONLINE_DEPLOYMENT),
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


async def read_logs(session: Session, endpoint: str, name: str, lines: int = LOG_LINES) -> str:
    """Return the last lines of both containers' logs under headings, without secrets."""
    parts = []
    for title, container in (("inference server", "inference-server"), ("storage initializer", "storage-initializer")):
        try:
            text = await in_thread(
                session.ml.online_deployments.get_logs, name, endpoint, lines, container_type=container
            )
        except AzureError as error:
            text = f"(no log: {first_line(str(error))})"
        parts.append(f"--- log of the {title} container, last {lines} lines ---\n{mask(text.strip()) or '(empty)'}")
    return "\n".join(parts)


async def delete_online_deployment(session: Session, endpoint: str, name: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Delete an online deployment if it exists and wait until it is gone; Azure refuses if it has traffic."""

    async def delete() -> None:
        with azure_errors(f"cannot delete the online deployment {name!r}", where=f"endpoint {endpoint}"):
            if await read_online_deployment(session, endpoint, name) is not None:
                await write_in_thread(session.ml.online_deployments.begin_delete, name, endpoint)

    await write_when_free(delete, what=f"endpoint {endpoint}", clock=clock)
    await wait_for(
        lambda: read_online_deployment(session, endpoint, name),
        lambda state: state is None,
        what=f"deleting {name}",
        timeout_seconds=DELETE_TIMEOUT_SECONDS,
        describe=lambda state: state.provisioning_state if state else "gone",
        usual=Usual(least=DELETE_TIMEOUT_SECONDS),  # nobody waits for it: the new version serves
        clock=clock,
    )
