"""Status of the endpoints of a workspace; nothing is written."""

import functools
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NoReturn

from azure.ai.ml.exceptions import ValidationException
from azure.core.exceptions import ResourceNotFoundError

from rollway.azure.endpoint_folders import rollout_files
from rollway.azure.errors.translate import azure_errors
from rollway.azure.evidence import read_evidence
from rollway.azure.session import Session, connect, open_session
from rollway.azure.state import list_endpoints, with_online_deployments
from rollway.azure.threads import in_thread, limited
from rollway.azure.waiting import SYSTEM_CLOCK, Clock
from rollway.errors import NotFound, RollwayError
from rollway.rollout.entries import age
from rollway.rollout.progress import Evidence
from rollway.rollout.state import EndpointState
from rollway.rollout.status import WorkspaceStatus, models_of, status_of
from rollway.settings import DefaultIdentity, Identity, Workspace, workspace_from_environment
from rollway.spec import did_you_mean

WATCH_SECONDS = 10.0  # between two readings


async def read_status(session: Session, names: Sequence[str] = (), *, with_evidence: bool = False) -> WorkspaceStatus:
    """Return the status of the named endpoints, default: all of the workspace; raises NotFound for an unknown name.

    Args:
        with_evidence: Read the evidence of progressive rollouts, too.
    """
    found = await list_endpoints(session)
    for name in names:
        if name.lower() not in found:
            raise NotFound(
                f"there is no endpoint {name!r}",
                where=str(session.workspace),
                hint=f"the workspace has {', '.join(sorted(found)) or 'no endpoints'}{did_you_mean(name, found)}",
            )
    wanted = [found[key] for key in sorted({name.lower() for name in names} or found)]

    async def fill(endpoint: EndpointState) -> EndpointState | None:
        with azure_errors(f"cannot read the endpoint {endpoint.name!r}", where=f"endpoint {endpoint.name}"):
            try:
                return await with_online_deployments(session, endpoint)
            except ResourceNotFoundError:  # deleted since it was listed
                return None

    async def newest_version(model: str) -> str | None:
        with azure_errors(f"cannot list the versions of the model {model!r}", where=f"model {model}"):
            try:
                return str((await in_thread(session.ml.models.get, model, label="latest")).version)
            except (ResourceNotFoundError, ValidationException):  # deleted, or all its versions are archived
                return None

    endpoints = [one for one in await limited(fill, wanted) if one is not None]
    models = sorted(set[str]().union(*map(models_of, endpoints)))
    newest = dict(zip(models, await limited(newest_version, models), strict=True))
    evidence: dict[str, Evidence | None] = {}
    if with_evidence:
        found_of = await limited(functools.partial(read_evidence, session), endpoints)
        evidence = {one.name: gathered for one, gathered in zip(endpoints, found_of, strict=True)}
    now, files = datetime.now(UTC), await in_thread(rollout_files)
    return WorkspaceStatus(
        workspace=str(session.workspace),
        endpoints=tuple(
            status_of(one, newest, _lease_age_seconds(one, now), files.get(one.name.lower()), evidence.get(one.name))
            for one in endpoints
        ),
    )


async def read_workspace_status(
    names: Sequence[str] = (), where: tuple[Workspace, Identity] | None = None
) -> WorkspaceStatus:
    """Sign in and return the status of endpoints; raises RollwayError if the workspace cannot be reached.

    Args:
        names: Names of endpoints; default: all.
        where: Workspace and identity; default: those of the environment.
    """
    return await read_status(await _connected(where), names)


async def watch_workspace_status(
    names: Sequence[str],
    where: tuple[Workspace, Identity] | None,
    show: Callable[[WorkspaceStatus, str], None],
    clock: Clock = SYSTEM_CLOCK,
) -> NoReturn:
    """Sign in and show the status again and again, with the evidence of progressive rollouts.

    Raises RollwayError if the first reading fails. A later one that fails is tried again.

    Args:
        names: Names of endpoints; default: all.
        where: Workspace and identity; default: those of the environment.
        show: Called after each reading with the newest status, and with why it could not be read again, or "".
    """
    session = await _connected(where)
    status = await read_status(session, names, with_evidence=True)
    show(status, "")
    while True:
        # As many readings as Azure's limits bear: each is one request per endpoint, and some more.
        await clock.sleep(max(WATCH_SECONDS, len(status.endpoints)))
        problem = ""
        try:
            status = await read_status(session, names, with_evidence=True)
        except RollwayError as error:
            problem = f"{error.what}: {error.why or 'it is tried again'}"
        show(status, problem)


async def _connected(where: tuple[Workspace, Identity] | None) -> Session:
    workspace, identity = where or (workspace_from_environment(), DefaultIdentity())
    connected = await connect(workspace, identity)
    return await open_session(connected.workspace, identity)


def _lease_age_seconds(endpoint: EndpointState, now: datetime) -> float | None:
    held = endpoint.record.lease
    since = age(held.renewed_at, now) if held else None
    return None if since is None else since.total_seconds()
