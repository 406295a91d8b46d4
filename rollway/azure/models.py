"""The model versions that a run can roll out."""

import asyncio
import itertools
import logging
from collections.abc import Sequence
from typing import cast

from azure.ai.ml.entities import Model
from azure.ai.ml.operations import ModelOperations
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.core.paging import ItemPaged

from rollway.azure.assets import resolve_model
from rollway.azure.entities import tags_of
from rollway.azure.errors.translate import azure_errors, first_line
from rollway.azure.session import Session
from rollway.azure.threads import get_existing, in_thread
from rollway.rollout.follow import NEVER, ModelSource, ModelVersion, followed_model, live_models, parse_reference
from rollway.rollout.request import Models, Request
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec

FEW_MODELS = 3  # of a place: their versions are listed, which tells everything


async def find_models(session: Session, spec: RolloutSpec, request: Request) -> Models:
    """Return the model of a request, or the versions among which the endpoint's state decides.

    A model given by `path` is registered unless the same content exists. Raises NotFound.
    """
    reference = spec.online_deployment.model.reference if spec.online_deployment.model else None
    if request.takes_what_exists:
        return Models()
    version = request.version or (request.target.version if request.target else None)
    is_open = followed_model(spec) is not None and version is None
    if reference is None or not (is_open or request.requested_by.is_automatic):
        return Models(fixed=await resolve_model(session, spec, version, is_dry_run=request.is_dry_run))
    source, _ = parse_reference(reference)
    versions = await list_model_versions(session, source)
    if not versions:
        await resolve_model(session, spec, version)  # says which versions or models there are
    return Models(source=source, versions=versions)


async def with_live_versions(session: Session, models: Models, endpoint: EndpointState) -> Models:
    """Return the models together with the archived versions behind the endpoint.

    Lists leave archived versions out. A live one still counts, or an older version would replace it.
    """
    source = models.source
    if source is None:
        return models
    known = {one.version.lower() for one in models.versions}
    missing = [
        live.version
        for live in live_models(endpoint)
        if live.source.is_same(source) and live.version.lower() not in known
    ]
    found = [await read_model_version(session, source, version) for version in missing]
    archived = tuple(one.model_copy(update={"is_archived": True}) for one in found if one is not None)
    return models.model_copy(update={"versions": (*models.versions, *archived)})


async def list_model_versions(session: Session, source: ModelSource) -> tuple[ModelVersion, ...]:
    """Return every active version, unsorted; none for an unknown model. Raises NotFound for an unknown registry."""
    with azure_errors(f"cannot list the versions of the model {source.name!r}", where=_where(source)):
        models = await in_thread(_models, session, source)
        try:
            found = await get_existing(lambda: list(models.list(source.name)))
        except HttpResponseError as error:  # a registry's 404 has no class of its own, azure/ai/ml/_utils
            if error.status_code != 404:
                raise
            return ()
        return tuple(_version(one) for one in found)


async def list_latest_versions(session: Session, sources: Sequence[ModelSource]) -> dict[ModelSource, str]:
    """Return the latest version of each model, as the workspace's and the registries' lists of models tell it.

    A page of such a list replaces a list of versions per model. A model is left out if its place has few of the models,
    if too many other models come before it, or if the identity may not list models: its versions must be listed.
    """
    by_place: dict[str | None, list[ModelSource]] = {}
    for source in sources:
        by_place.setdefault(source.registry, []).append(source)
    many = [of_place for of_place in by_place.values() if len(of_place) > FEW_MODELS]
    found = await asyncio.gather(*(in_thread(_read_latest, session, of_place) for of_place in many))
    return {source: version for one in found for source, version in one.items()}


def _read_latest(session: Session, sources: Sequence[ModelSource]) -> dict[ModelSource, str]:
    missing = {one.name.lower(): one for one in sources}
    found: dict[ModelSource, str] = {}
    try:
        pages = cast("ItemPaged[Model]", _models(session, sources[0]).list()).by_page()
        for page in itertools.islice(pages, len(sources) // 2):
            for model in page:
                source = missing.pop(str(model.name).lower(), None)
                if source is not None and model.latest_version:
                    found[source] = str(model.latest_version)
            if not missing:
                break
    except Exception as error:  # noqa: BLE001 (the lists of versions say what is wrong, for each model)
        logging.getLogger(__name__).warning("The list of models cannot be read to its end: %s", first_line(str(error)))
    return found


async def read_model_version(session: Session, source: ModelSource, version: str) -> ModelVersion | None:
    """Return one version, active or archived, or None."""
    where = _where(source)
    with azure_errors(f"cannot read version {version} of the model {source.name!r}", where=where):
        try:
            models = await in_thread(_models, session, source)
            return _version(await get_existing(models.get, source.name, version))
        except ResourceNotFoundError:
            return None


def _models(session: Session, source: ModelSource) -> ModelOperations:
    return (session.registry(source.registry) if source.registry else session.ml).models


def _version(entity: Model) -> ModelVersion:
    created = entity.creation_context.created_at if entity.creation_context else None
    return ModelVersion.model_validate(
        {
            "name": str(entity.name),
            "version": str(entity.version),
            "id": str(entity.id),
            "created_at": created or NEVER,
            "tags": tags_of(entity),
            "stage": entity.stage or None,
        }
    )


def _where(source: ModelSource) -> str:
    return f"registry {source.registry}, model {source.name}" if source.registry else f"model {source.name}"
