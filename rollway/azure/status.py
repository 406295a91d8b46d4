"""Status of the endpoints of a workspace; nothing is written."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import NoReturn

from azure.ai.ml.exceptions import ValidationException
from azure.core.exceptions import ResourceNotFoundError

from rollway.azure.endpoint_folders import EndpointFolder, all_folders
from rollway.azure.errors.translate import azure_errors
from rollway.azure.evidence import read_evidence
from rollway.azure.session import Session, sign_in
from rollway.azure.state import list_endpoints, unknown_endpoint, with_online_deployments
from rollway.azure.threads import in_thread, limited
from rollway.azure.waiting import SYSTEM_CLOCK, Clock
from rollway.errors import RollwayError
from rollway.rollout.progress import Evidence
from rollway.rollout.state import EndpointState
from rollway.rollout.status import WorkspaceStatus, models_of, status_of
from rollway.rollout.work import work_at
from rollway.settings import Identity, Workspace

WATCH_SECONDS = 10.0  # between two readings

FindEnded = Callable[[frozenset[str]], Awaitable[frozenset[str]]]


async def nothing_known(_: frozenset[str]) -> frozenset[str]:
    """Return none of the attempts: it is unknown which have ended."""
    return frozenset()


async def read_status(
    session: Session,
    names: Sequence[str] = (),
    *,
    find_ended: FindEnded = nothing_known,
    with_evidence: bool = False,
) -> WorkspaceStatus:
    """Return the status of the named endpoints, default: all of the workspace; raises NotFound for an unknown name.

    Args:
        find_ended: Returns those of the attempts that are known to have ended; called only if a rollout seems to run.
        with_evidence: Read the evidence of progressive rollouts, too.
    """
    found = await list_endpoints(session)
    for name in names:
        if name.lower() not in found:
            raise unknown_endpoint(session, name, found)
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
    now, folders = datetime.now(UTC), await in_thread(all_folders)

    def folder_of(endpoint: EndpointState) -> EndpointFolder:
        return folders.get(endpoint.name.lower()) or EndpointFolder(endpoint=endpoint.name)

    works = [work_at(one, folder_of(one).rollout, now) for one in endpoints]
    running = frozenset(work.run for work in works if work is not None)
    ended = await find_ended(running) if running else frozenset()
    return WorkspaceStatus(
        workspace=str(session.workspace),
        at=now,
        endpoints=tuple(
            status_of(
                one,
                newest,
                now,
                ended=ended,
                folder=folder_of(one).folder,
                rollout=folder_of(one).rollout,
                evidence=evidence.get(one.name),
            )
            for one in endpoints
        ),
    )


async def read_workspace_status(
    names: Sequence[str] = (),
    where: tuple[Workspace, Identity] | None = None,
    find_ended: FindEnded = nothing_known,
) -> WorkspaceStatus:
    """Sign in and return the status of endpoints; raises RollwayError if the workspace cannot be reached.

    Args:
        names: Names of endpoints; default: all.
        where: Workspace and identity; default: those of the environment.
        find_ended: As for `read_status`.
    """
    return await read_status(await sign_in(where), names, find_ended=find_ended)


async def watch_workspace_status(
    names: Sequence[str],
    where: tuple[Workspace, Identity] | None,
    show: Callable[[WorkspaceStatus, str], None],
    find_ended: FindEnded = nothing_known,
    clock: Clock = SYSTEM_CLOCK,
) -> NoReturn:
    """Sign in and show the status again and again, with the evidence of progressive rollouts.

    Raises RollwayError if the first reading fails. A later one that fails is tried again.

    Args:
        names: Names of endpoints; default: all.
        where: Workspace and identity; default: those of the environment.
        show: Called after each reading with the newest status, and with why it could not be read again, or "".
        find_ended: As for `read_status`.
    """
    session = await sign_in(where)
    status = await read_status(session, names, find_ended=find_ended, with_evidence=True)
    show(status, "")
    while True:
        # As many readings as Azure's limits bear: each is one request per endpoint, and some more.
        await clock.sleep(max(WATCH_SECONDS, len(status.endpoints)))
        problem = ""
        try:
            status = await read_status(session, names, find_ended=find_ended, with_evidence=True)
        except RollwayError as error:
            problem = f"{error.what}: {error.why or 'it is tried again'}"
        show(status, problem)
