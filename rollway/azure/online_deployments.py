"""Online deployments through the SDK: create, change, wait, read logs, delete.

Every function reads before it writes, so it is safe to repeat.
"""

from collections.abc import Mapping
from typing import Any, cast, get_args

from azure.ai.ml.entities import OnlineDeployment
from azure.core.exceptions import AzureError, ResourceNotFoundError

from rollway.azure.entities import text_of
from rollway.azure.errors.translate import NO_REASON, azure_errors, first_line, operation_failed
from rollway.azure.folder import load_unchanged
from rollway.azure.operations import Operation, delete_until_gone, has_failed
from rollway.azure.session import Session
from rollway.azure.state import (
    ABSENT,
    CREATE_ONLINE_DEPLOYMENT,
    OPERATION_ADDRESS,
    list_online_deployments,
    online_deployment_state_of,
    read_online_deployment,
    read_operation,
)
from rollway.azure.threads import get_existing, in_thread, write_in_thread
from rollway.azure.unpolled import Accepted
from rollway.azure.waiting import (
    LAG_SECONDS,
    OPERATION_TIMEOUT_SECONDS,
    SYSTEM_CLOCK,
    Clock,
    Lag,
    OnProgress,
    Usual,
    now,
    wait_for,
    write_when_free,
)
from rollway.errors import DeadlineExceeded, ForeignChange, ProvisioningFailed
from rollway.masking import mask
from rollway.rollout.choice import Container
from rollway.rollout.container_log import with_log
from rollway.rollout.moves import Move
from rollway.rollout.record import OnlineDeploymentRecord, with_record
from rollway.rollout.state import OnlineDeploymentState, is_settled
from rollway.rollout.wanted import Wanted
from rollway.spec import RolloutSpec

LOG_LINES = 100
UNKNOWN_REASON = (
    "Azure gives the reason only in the operation that failed, and this run does not know which one that was"
)


async def create_online_deployment(
    session: Session, spec: RolloutSpec, wanted: Wanted, move: Move, attempt: str, *, clock: Clock = SYSTEM_CLOCK
) -> str | None:
    """Start creating the online deployment of a move at weight 0; do not wait until it is ready.

    Return the address of the operation. None if nothing is written because it exists: an earlier try succeeded, or
    another rollout of the same content was faster.
    """
    endpoint, name = spec.endpoint.name, move.target

    async def put() -> str | None:
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
            if await read_online_deployment(session, endpoint, name) is not None:
                return None
            return await _put(session, entity, skip_script_validation=True)  # see rollway.files.scripts

    operation = await write_when_free(put, what=f"endpoint {endpoint}", clock=clock)
    await _wait_until_listed(session, endpoint, name, clock)
    return operation


async def change_online_deployment(
    session: Session, endpoint: str, tags: Mapping[str, str], move: Move, *, clock: Clock = SYSTEM_CLOCK
) -> str | None:
    """Start changing instance count and tags of an online deployment in place, but not what runs in it.

    Return the address of the operation.
    """

    async def put() -> str | None:
        with azure_errors(f"cannot change {move.target!r}", where=f"endpoint {endpoint}"):
            entity = await get_existing(session.ml.online_deployments.get, move.target, endpoint)
            entity.instance_count = move.instances
            record = move.made or OnlineDeploymentRecord.of(entity.tags or {})
            entity.tags = with_record({**(entity.tags or {}), **tags}, record)
            return await _put(session, entity)

    return await write_when_free(put, what=f"endpoint {endpoint}", clock=clock)


async def _put(session: Session, entity: OnlineDeployment, **options: bool) -> str | None:
    """Start the write and return the address of its operation."""
    put = session.ml.online_deployments.begin_create_or_update
    accepted = cast(Accepted, await write_in_thread(put, entity, **options))  # the session's client does not poll
    return accepted.operation


async def _wait_until_listed(session: Session, endpoint: str, name: str, clock: Clock) -> None:
    """Wait until the list shows a new online deployment: lists may lag behind, and decisions are made on them."""

    async def read() -> bool:
        with azure_errors(f"cannot list the online deployments of {endpoint!r}", where=f"endpoint {endpoint}"):
            try:
                return any(one.name == name for one in await list_online_deployments(session, endpoint))
            except ResourceNotFoundError:  # a list that lags, or a wrong answer
                return False

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
    since_seconds: float = 0.0,
    operation: str | None = None,
    on_progress: OnProgress | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> OnlineDeploymentState:
    """Wait until Azure reports the online deployment as ready.

    Raises ProvisioningFailed with Azure's reason and the containers' logs, or DeadlineExceeded.

    Args:
        timeout_seconds: The deadline.
        like_seconds: How long the last one of this endpoint took; 0 if that is unknown.
        since_seconds: How long this one has been running.
        operation: Address of the operation that this run started last on it. A failure that a read shows while it
            runs, or just after it succeeded, is an earlier one: reads lag.
    """
    reads = _Reads(session, endpoint, name, operation, clock)
    entity = await wait_for(
        reads.read,
        lambda _: reads.is_over,
        what=f"the provisioning of {name}",
        timeout_seconds=timeout_seconds,
        describe=lambda entity: text_of(entity.provisioning_state) if entity else ABSENT,
        hint="allow more time (ready_timeout_seconds in rollout.yml), or find out in Azure what delays it",
        usual=Usual.like(like_seconds, CREATE_ONLINE_DEPLOYMENT),
        since_seconds=since_seconds,
        on_progress=on_progress,
        clock=clock,
    )
    if entity is None:
        raise AssertionError("a wait for what is absent raises")
    state = online_deployment_state_of(entity)
    if state.is_succeeded:
        return state
    error, unknown = await _reason(session, entity, reads.operation.document)
    failed = operation_failed(
        ProvisioningFailed,
        f"the online deployment {name!r} did not become ready",
        f"endpoint {endpoint}",
        state=state.provisioning_state,
        error=error,
        unknown=unknown,
    )
    is_cause = failed.code is None or failed.is_models_fault  # without quota or an image no container has run
    raise with_log(failed, await read_logs(session, endpoint, name), is_cause=is_cause)


class _Reads:
    """Readings of an online deployment, and of the operation that this run started on it once it seems to fail."""

    def __init__(self, session: Session, endpoint: str, name: str, address: str | None, clock: Clock) -> None:
        self._session, self._endpoint, self._name = session, endpoint, name
        self._absent = Lag(clock)
        self.operation = Operation(session, address, clock)
        self.is_over = False

    async def read(self) -> OnlineDeployment | None:
        """Read it, and find out whether the wait is over; None if reads do not show it, for as long as they may lag."""
        with azure_errors(f"cannot read the online deployment {self._name!r}", where=f"endpoint {self._endpoint}"):
            try:
                entity: OnlineDeployment = await in_thread(
                    self._session.ml.online_deployments.get, self._name, self._endpoint
                )
            except ResourceNotFoundError:
                if self._absent.is_over(is_seen=True):
                    raise
                return None
        self._absent.is_over(is_seen=False)
        state = text_of(entity.provisioning_state)
        self.is_over = is_settled(state) and (state.lower() == "succeeded" or await self._is_final())
        return entity

    async def _is_final(self) -> bool:
        """Return True unless the failure that was read is older than the operation."""
        await self.operation.look()
        return self.operation.has_ended


async def _reason(
    session: Session, entity: OnlineDeployment, operation: Mapping[str, Any]
) -> tuple[Mapping[str, Any] | None, str]:
    """Return the error body of the operation that failed, or None and why there is none.

    Args:
        operation: Status of the operation that this run started last; empty if it started none, or not this attempt.
    """
    if not has_failed(operation):
        # The resource names the operation that created it, even after an update. If the creation failed there was no
        # update: Azure refuses to change what has failed at first.
        operation = await read_operation(session, (entity.properties or {}).get(OPERATION_ADDRESS))
    return (operation.get("error"), NO_REASON) if has_failed(operation) else (None, UNKNOWN_REASON)


async def read_logs(session: Session, endpoint: str, name: str, lines: int = LOG_LINES) -> str:
    """Return the last lines of both containers' logs under headings, without secrets."""
    parts = []
    for container in get_args(Container):
        title = container.replace("-", " ")
        try:
            text = await fetch_log(session, endpoint, name, lines, container)
        except AzureError as error:
            text = f"(no log: {mask(first_line(str(error)))})"
        parts.append(f"--- log of the {title} container, last {lines} lines ---\n{text or '(empty)'}")
    return "\n".join(parts)


async def fetch_log(session: Session, endpoint: str, name: str, lines: int, container: Container) -> str:
    """Return the last lines of the log of one container, without secrets; raises the SDK's exceptions."""
    get = session.ml.online_deployments.get_logs
    return mask((await in_thread(get, name, endpoint, lines, container_type=container)).strip())


async def delete_online_deployment(session: Session, endpoint: str, name: str, *, clock: Clock = SYSTEM_CLOCK) -> None:
    """Delete an online deployment if it exists and wait until it is gone; Azure refuses if it has traffic.

    Another one of the same name, which somebody creates meanwhile, is not deleted.
    """
    decided: OnlineDeploymentRecord | None = None

    async def delete() -> Accepted | None:
        nonlocal decided
        with azure_errors(f"cannot delete the online deployment {name!r}", where=f"endpoint {endpoint}"):
            today = await read_online_deployment(session, endpoint, name)
            if today is None or today.record != (decided or today.record):
                return None
            decided = today.record
            return cast(Accepted, await write_in_thread(session.ml.online_deployments.begin_delete, name, endpoint))

    async def read_state() -> str:
        today = await read_online_deployment(session, endpoint, name)
        return today.provisioning_state if today else ABSENT

    await delete_until_gone(
        session,
        delete,
        read_state,
        what=f"the online deployment {name}",
        endpoint=endpoint,
        usual=Usual(least=OPERATION_TIMEOUT_SECONDS),  # nobody waits for it: the new version serves
        clock=clock,
    )
