"""Search for new versions of the models that rollouts follow; nothing is written."""

import asyncio
from datetime import UTC, datetime

from azure.ai.ml.entities import Model
from azure.ai.ml.operations import ModelOperations
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from rollway.azure.entities import tags_of
from rollway.azure.errors.translate import azure_errors
from rollway.azure.folder import load_folder
from rollway.azure.session import Session
from rollway.azure.state import read_endpoint
from rollway.azure.threads import in_thread
from rollway.rollout.follow import Finding, ModelSource, ModelVersion, find, followed_model, live_models
from rollway.rollout.state import EndpointState

_NEVER = datetime.min.replace(tzinfo=UTC)


async def read_finding(session: Session, rollout: str, now: datetime) -> Finding | None:
    """Return the finding about a rollout now, or None if it follows no model.

    Raises InvalidRollout, and RollwayError for Azure's errors.
    """
    spec = await in_thread(load_folder, rollout)
    source = followed_model(spec)
    if source is None:
        return None
    endpoint, versions = await asyncio.gather(
        read_endpoint(session, spec.endpoint.name), list_model_versions(session, source)
    )
    versions += await _archived_live_versions(session, source, versions, endpoint)
    return find(spec, source, versions, endpoint, session.workspace.name, now)


async def list_model_versions(session: Session, source: ModelSource) -> tuple[ModelVersion, ...]:
    """Return every active version, unsorted; none for an unknown model. Raises NotFound for an unknown registry."""

    def read() -> list[Model]:
        models = _models(session, source)
        try:
            return list(models.list(source.name))
        except HttpResponseError as error:  # a registry's 404 has no class of its own, azure/ai/ml/_utils
            if error.status_code == 404:
                return []
            raise

    with azure_errors(f"cannot list the versions of the model {source.name!r}", where=_where(source)):
        return tuple(_version(one) for one in await in_thread(read))


async def read_model_version(session: Session, source: ModelSource, version: str) -> ModelVersion | None:
    """Return one version, active or archived, or None."""
    where = _where(source)
    with azure_errors(f"cannot read version {version} of the model {source.name!r}", where=where):
        try:
            models = await in_thread(_models, session, source)
            return _version(await in_thread(models.get, source.name, version))
        except ResourceNotFoundError:
            return None


async def _archived_live_versions(
    session: Session, source: ModelSource, active: tuple[ModelVersion, ...], endpoint: EndpointState
) -> tuple[ModelVersion, ...]:
    # Lists leave archived versions out. A live one still counts, or an older version would replace it.
    known = {one.version.lower() for one in active}
    missing = [
        live.version
        for live in live_models(endpoint)
        if live.source.is_same(source) and live.version.lower() not in known
    ]
    found = [await read_model_version(session, source, version) for version in missing]
    return tuple(one.model_copy(update={"is_archived": True}) for one in found if one is not None)


def _models(session: Session, source: ModelSource) -> ModelOperations:
    return (session.registry(source.registry) if source.registry else session.ml).models


def _version(entity: Model) -> ModelVersion:
    created = entity.creation_context.created_at if entity.creation_context else None
    return ModelVersion.model_validate(
        {
            "name": str(entity.name),
            "version": str(entity.version),
            "id": str(entity.id),
            "created_at": created or _NEVER,
            "tags": tags_of(entity),
            "stage": entity.stage or None,
        }
    )


def _where(source: ModelSource) -> str:
    return f"registry {source.registry}, model {source.name}" if source.registry else f"model {source.name}"
