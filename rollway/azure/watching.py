"""The watcher's look at a workspace: lists of endpoints and models, and more only where something seems due."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from azure.core.exceptions import ResourceNotFoundError

from rollway.azure.errors.translate import azure_errors
from rollway.azure.folder import load_folder
from rollway.azure.models import list_latest_versions, list_model_versions, with_live_versions
from rollway.azure.session import Session
from rollway.azure.state import list_endpoints, read_endpoint, with_online_deployments
from rollway.azure.threads import in_thread, limited
from rollway.rollout.follow import ModelSource, ModelVersion, followed_model, serves_latest, unread_version
from rollway.rollout.request import Models
from rollway.rollout.state import EndpointState
from rollway.rollout.watch import Finding, Look, Verdict, broken, find, must_look_behind, turns
from rollway.settings import rollout_name
from rollway.spec import RolloutSpec


async def look_at_workspace(
    session: Session, folders: Sequence[str], now: datetime, interval_seconds: int
) -> tuple[Look, ...]:
    """Return the look at each folder of a workspace; an error in one folder is its look.

    Args:
        folders: The folders of the workspace, as paths or as names in deployments/.
        interval_seconds: Time between two looks.

    Raises RollwayError if the endpoints cannot be listed.
    """
    read = await limited(_read, folders)
    specs = [spec for spec in read if isinstance(spec, RolloutSpec)]
    sources = tuple(dict.fromkeys(source for spec in specs if (source := followed_model(spec)) is not None))
    endpoints, latest = await asyncio.gather(list_endpoints(session), list_latest_versions(session, sources))
    of_this_look = turns((spec.endpoint.name for spec in specs), now, interval_seconds)
    versions = _Versions(session)

    async def look(folder: RolloutSpec | Look) -> Look:
        if isinstance(folder, Look):
            return folder
        name = folder.endpoint.name.lower()
        bare = endpoints.get(name) or EndpointState(name=folder.endpoint.name, exists=False)
        try:
            finding = _at_a_glance(session, folder, latest, bare, now) if name not in of_this_look else None
            if finding is None:
                finding = await _find(session, folder, versions, bare, now, is_turn=name in of_this_look)
        except Exception as error:  # noqa: BLE001 (the other folders go on)
            return broken(folder.name, error)
        return Look(rollout=folder.name, finding=finding)

    return tuple(await limited(look, read))


class _Versions:
    """The versions of the followed models; each model is listed at most once, and only if a folder needs it."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._listed: dict[ModelSource, asyncio.Task[tuple[ModelVersion, ...]]] = {}

    async def of(self, spec: RolloutSpec) -> Models:
        """Return the versions of the model that a folder follows; none if it follows none."""
        source = followed_model(spec)
        if source is None:
            return Models()
        if source not in self._listed:
            self._listed[source] = asyncio.create_task(list_model_versions(self._session, source))
        return Models(source=source, versions=await self._listed[source])


async def _read(folder: str) -> RolloutSpec | Look:
    try:
        return await in_thread(load_folder, folder)
    except Exception as error:  # noqa: BLE001 (the other folders go on)
        return broken(rollout_name(folder), error)


def _at_a_glance(
    session: Session, spec: RolloutSpec, latest: Mapping[ModelSource, str], bare: EndpointState, now: datetime
) -> Finding | None:
    """Return the finding if the lists alone prove that no run must be started, or None."""
    source = followed_model(spec)
    if source is None or source not in latest or must_look_behind(spec, bare, now, is_turn=False):
        return None
    if not serves_latest(source, version := latest[source], bare):
        return None
    models = Models(source=source, versions=(unread_version(spec, source, version),))
    finding = find(spec, models, bare, session.workspace, now)
    return finding if finding.verdict is not Verdict.START else None


async def _find(
    session: Session, spec: RolloutSpec, versions: _Versions, bare: EndpointState, now: datetime, *, is_turn: bool
) -> Finding:
    models = await with_live_versions(session, await versions.of(spec), bare)
    finding = find(spec, models, bare, session.workspace, now)
    must_read = finding.verdict is Verdict.START or must_look_behind(spec, bare, now, is_turn=is_turn)
    if bare.is_complete or not must_read:
        return finding
    complete = await _with_online_deployments(session, bare)
    return find(spec, await with_live_versions(session, models, complete), complete, session.workspace, now)


async def _with_online_deployments(session: Session, bare: EndpointState) -> EndpointState:
    with azure_errors(f"cannot read the endpoint {bare.name!r}", where=f"endpoint {bare.name}"):
        try:
            return await with_online_deployments(session, bare)
        except ResourceNotFoundError:  # deleted since it was listed, or a list that lags
            return await read_endpoint(session, bare.name)
