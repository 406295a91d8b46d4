"""Models and environments: resolve the version of a rollout, and register inline definitions."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from azure.ai.ml._utils._asset_utils import get_ignore_file, get_object_hash  # no public names; uploads use them
from azure.ai.ml.entities import Environment, Model
from azure.core.exceptions import ResourceNotFoundError
from pydantic import JsonValue

from rollway.azure.errors.translate import azure_errors
from rollway.azure.folder import load_online_deployment_entity
from rollway.azure.session import Session
from rollway.azure.threads import get_existing, in_thread
from rollway.errors import ConfigurationError, NotFound, RequestRefused
from rollway.rollout.state import ResolvedAsset
from rollway.spec import ROUTE_KINDS, RolloutSpec, did_you_mean

# /subscriptions/…/models/<name>/versions/<version> and azureml://registries/<registry>/models/<name>/versions/<version>
_FULL_ID = re.compile(r"^(?P<head>.*/(models|environments)/[^/]+/)versions/(?P<version>[^/]+)$")
_MODEL_LABEL = re.compile(
    r"^(?P<head>azureml://registries/(?P<registry>[^/]+)/models/(?P<name>[^/]+)/)labels/(?P<label>.+)$"
)


async def resolve_model(
    session: Session, spec: RolloutSpec, version: str | None = None, *, is_dry_run: bool = False
) -> ResolvedAsset | None:
    """Return the model version to roll out, or None if deployment.yml names no model.

    `@latest` is the version created last. A model given by `path` is registered unless the same content exists.

    Raises NotFound, or ConfigurationError if `version` is given but there is no version to choose.

    Args:
        version: Version to use instead of the one in deployment.yml.
    """
    wanted = spec.online_deployment.model
    if wanted is None or wanted.reference is None:
        if version is not None:
            raise ConfigurationError(
                f"model version {version!r} cannot be chosen",
                where=f"{spec.folder}/deployment.yml: model",
                why="the model is given by a path, or not at all, so there are no versions to choose from",
                hint="register the model and name it as azureml:<name>@latest",
            )
        if wanted is None:
            return None
        entity = await in_thread(load_online_deployment_entity, spec.folder)
        return await _register(session.ml.models, entity.model, _is_same_model, is_dry_run, "model")
    reference = wanted.reference
    if match := _MODEL_LABEL.match(reference):
        # Azure would resolve the label too, but the plan must tell one version from the next.
        chosen = version or await _version_by_label(session, match["registry"], match["name"], match["label"])
        reference = f"{match['head']}versions/{chosen}"
    return await _resolve(session.ml.models, reference, version, "model")


async def register_environment(
    session: Session, spec: RolloutSpec, *, is_dry_run: bool = False
) -> ResolvedAsset | None:
    """Return the environment version, or None if deployment.yml names no environment.

    An inline definition is registered unless an identical version exists. Raises NotFound, or RequestRefused if the
    named version exists with other content.
    """
    wanted = spec.online_deployment.environment
    if wanted is None:
        return None
    if wanted.reference is not None:
        return await _resolve(session.ml.environments, wanted.reference, None, "environment")
    entity = await in_thread(load_online_deployment_entity, spec.folder)
    return await _register(session.ml.environments, entity.environment, _is_same_environment, is_dry_run, "environment")


async def register_model(session: Session, path: str, name: str, version: str | None = None) -> ResolvedAsset:
    """Upload a file or folder as a new version of a model, unless the same content exists."""
    model = Model(path=path, name=name, version=version, type="custom_model")
    return await _register(session.ml.models, model, _is_same_model, False, "model")


async def _resolve(operations: Any, reference: str, version: str | None, kind: str) -> ResolvedAsset:
    if match := _FULL_ID.match(reference):
        return _resolved(f"{match['head']}versions/{version or match['version']}")
    if reference.startswith("azureml://"):  # a label in a registry, which Azure itself resolves
        return _resolved(reference)
    name, label, chosen = _split(reference, version)
    what = f"there is no {kind} {name}:{chosen}" if chosen else f"there is no {kind} {name!r}"
    where = f"{kind} {name}:{chosen}" if version else f"{kind} {reference}"
    try:
        with azure_errors(what, where=where):
            found = await get_existing(operations.get, name, **({"version": chosen} if chosen else {"label": label}))
    except (NotFound, RequestRefused) as error:  # an empty list of versions is a validation error in the SDK
        raise NotFound(
            what,
            where=where,
            hint=await _known_versions_hint(operations, name, kind),
            request_id=error.request_id,
        ) from error
    return _resolved(found.id)


async def _version_by_label(session: Session, registry: str, name: str, label: str) -> str:
    what = f"there is no model {name!r} in the registry {registry}"
    try:
        with azure_errors(what, where=f"azureml://registries/{registry}/models/{name}/labels/{label}"):
            models = (await in_thread(session.registry, registry)).models
            return str((await get_existing(models.get, name, label=label)).version)
    except RequestRefused as error:  # an empty list of versions is a validation error in the SDK
        raise NotFound(
            what,
            where=error.where,
            why=error.why,
            hint="correct the name of the registry or the model, or register the model there",
            request_id=error.request_id,
        ) from error


def _split(reference: str, version: str | None) -> tuple[str, str, str | None]:
    name, _, label = reference.partition("@")
    name, _, chosen = name.partition(":")
    return name, label or "latest", version or chosen or None


async def _known_versions_hint(operations: Any, name: str, kind: str) -> str:
    versions = [str(one.version) for one in await _versions(operations, name)]
    if versions:
        return f"it has the versions {', '.join(versions[:10])}"
    with azure_errors(f"cannot list {kind}s", where=name):
        names = [str(one.name) for one in await in_thread(lambda: list(operations.list()))]
    if not names:
        return f"the workspace has no {kind}s yet: register one, for example with `az ml {kind} create`"
    return f"the workspace has {', '.join(sorted(names)[:10])}{did_you_mean(name, names)}"


async def _versions(operations: Any, name: str) -> list[Any]:
    """Return every active version, newest first; empty for an unknown name."""
    try:
        found: Iterable[Any] = await get_existing(lambda: list(operations.list(name)))
    except ResourceNotFoundError:
        return []
    return sorted(
        found, key=lambda one: str(one.creation_context.created_at if one.creation_context else ""), reverse=True
    )


async def _register(
    operations: Any, entity: Any, is_same: Callable[[Any, Any], bool], is_dry_run: bool, kind: str
) -> ResolvedAsset:
    """Reuse a version with the same content, else register the next one or the one that the definition names.

    A dry run registers nothing, so its new version has no id yet.
    """
    with azure_errors(
        f"cannot register the {kind} {entity.name!r}", where=f"{kind} {entity.name}:{entity.version or 'next'}"
    ):
        known = await _candidates(operations, entity)
        same = next((one for one in known if is_same(one, entity)), None)
        if same is not None:
            return _resolved(same.id)
        if known and entity.version is not None:
            raise RequestRefused(
                f"the {kind} {entity.name}:{entity.version} exists with other content",
                where=known[0].id,
                why="a version never changes once it is registered",
                hint="give it another version, or none to let Rollway take the next one",
            )
        if is_dry_run:
            return ResolvedAsset(id=None, name=entity.name, version=entity.version, is_new=True)
        created = await in_thread(operations.create_or_update, entity)
    return _resolved(created.id, is_new=True)


def _resolved(asset_id: str, *, is_new: bool = False) -> ResolvedAsset:
    # Only the id tells name and version: of an anonymous environment the SDK computes others whenever it reads it,
    # azure/ai/ml/entities/_assets/environment.py.
    *_, name, _, version = asset_id.split("/")
    return ResolvedAsset(id=asset_id, name=name, version=version, is_new=is_new)


async def _candidates(operations: Any, entity: Any) -> list[Any]:
    """Return the registered versions that may have the content of a definition."""
    if entity.version is None:
        return await _versions(operations, entity.name)
    try:
        return [await get_existing(operations.get, entity.name, version=str(entity.version))]
    except ResourceNotFoundError:
        return []


def _is_same_model(known: Any, wanted: Model) -> bool:
    # An upload's folder is named by the hash of its content: azure/ai/ml/_artifacts/_artifact_utilities.py.
    return f"/LocalUpload/{_upload_hash(wanted.path)}/" in f"{known.path}/" and known.type == wanted.type


def _is_same_environment(known: Any, wanted: Environment) -> bool:
    if _routes(known) != _routes(wanted):
        return False
    if wanted.build is not None and wanted.build.path is not None:
        known_path = (known.build.path if known.build else None) or ""
        is_same_file = _dockerfile(known.build) == _dockerfile(wanted.build)
        return is_same_file and f"/LocalUpload/{_upload_hash(wanted.build.path)}/" in f"{known_path}/"
    return (known.image, _plain(known.conda_file)) == (wanted.image, _plain(wanted.conda_file))


def _routes(environment: Any) -> dict[str, tuple[str, int]]:
    """Return path and port of each route in an environment's `inference_config`."""
    found = {kind: getattr(environment.inference_config, f"{kind}_route", None) for kind in ROUTE_KINDS}
    return {kind: (str(route.path), int(route.port)) for kind, route in found.items() if route is not None}


def _dockerfile(build: Any) -> str:
    return str((build and build.dockerfile_path) or "Dockerfile")  # Azure's default


def _plain(conda_file: Any) -> JsonValue:
    """Return the content of a conda file as JSON has it, because Azure keeps it as JSON: dates become texts."""
    content: JsonValue = json.loads(json.dumps(conda_file or None, default=str))
    return content


def _upload_hash(path: Any) -> str:
    return str(get_object_hash(path, get_ignore_file(path)))
