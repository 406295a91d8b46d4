"""The watcher's look at a workspace: one list of endpoints, one list per model, and online deployments where needed."""

from collections.abc import Sequence
from datetime import datetime

from azure.core.exceptions import ResourceNotFoundError

from rollway.azure.errors.translate import azure_errors
from rollway.azure.folder import load_folder
from rollway.azure.models import list_model_versions, with_live_versions
from rollway.azure.session import Session
from rollway.azure.state import list_endpoints, read_endpoint, with_online_deployments
from rollway.azure.threads import in_thread, limited
from rollway.rollout.follow import ModelSource, followed_model
from rollway.rollout.request import Models
from rollway.rollout.state import EndpointState
from rollway.rollout.watch import Finding, Look, Verdict, broken, find, must_look_behind
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
    specs = {spec.name: spec for spec in read if isinstance(spec, RolloutSpec)}
    sources = dict.fromkeys(source for spec in specs.values() if (source := followed_model(spec)) is not None)
    endpoints = await list_endpoints(session)

    async def models(source: ModelSource) -> Models | Exception:
        try:
            return Models(source=source, versions=await list_model_versions(session, source))
        except Exception as error:  # noqa: BLE001 (the folders that follow other models go on)
            return error

    known = dict(zip(sources, await limited(models, list(sources)), strict=True))

    async def look(folder: RolloutSpec | Look) -> Look:
        if isinstance(folder, Look):
            return folder
        try:
            endpoint = endpoints.get(folder.endpoint.name.lower())
            bare = endpoint or EndpointState(name=folder.endpoint.name, exists=False)
            finding = await _find(session, folder, _or_raise(known, folder), bare, now, interval_seconds)
        except Exception as error:  # noqa: BLE001 (the other folders go on)
            return broken(folder.name, error)
        return Look(rollout=folder.name, finding=finding)

    return tuple(await limited(look, read))


async def _read(folder: str) -> RolloutSpec | Look:
    try:
        return await in_thread(load_folder, folder)
    except Exception as error:  # noqa: BLE001 (the other folders go on)
        return broken(rollout_name(folder), error)


def _or_raise(known: dict[ModelSource, Models | Exception], spec: RolloutSpec) -> Models:
    source = followed_model(spec)
    if source is None:
        return Models()
    found = known[source]
    if isinstance(found, Exception):
        raise found
    return found


async def _find(
    session: Session, spec: RolloutSpec, models: Models, bare: EndpointState, now: datetime, interval_seconds: int
) -> Finding:
    models = await with_live_versions(session, models, bare)
    finding = find(spec, models, bare, session.workspace, now)
    if bare.is_complete or not (
        finding.verdict is Verdict.START or must_look_behind(spec, bare, now, interval_seconds)
    ):
        return finding
    complete = await _with_online_deployments(session, bare)
    return find(spec, await with_live_versions(session, models, complete), complete, session.workspace, now)


async def _with_online_deployments(session: Session, bare: EndpointState) -> EndpointState:
    with azure_errors(f"cannot read the endpoint {bare.name!r}", where=f"endpoint {bare.name}"):
        try:
            return await with_online_deployments(session, bare)
        except ResourceNotFoundError:  # deleted since it was listed, or a list that lags
            return await read_endpoint(session, bare.name)
