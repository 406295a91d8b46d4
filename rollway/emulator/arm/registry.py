"""Registries: the public, read-only `azureml` with a few curated environments, and the writable ones of the seed."""

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.asset_kinds import ENVIRONMENTS, REGISTRIES, REGISTRY_ENVIRONMENTS, REGISTRY_MODELS
from rollway.emulator.arm.asset_lists import is_archived
from rollway.emulator.arm.assets import asset_routes, blob_reference
from rollway.emulator.arm.resource_manager import DATA_PLANE, PROVIDER, ArmRoute, Call
from rollway.emulator.core import errors
from rollway.emulator.core.clock import format_iso
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource
from rollway.emulator.login.identity import AZURE_ML
from rollway.emulator.state import Emulator

PUBLIC_REGISTRY = "azureml"
PUBLIC_ROOT = f"{REGISTRIES}/{PUBLIC_REGISTRY}"
REFERENCE = re.compile(r"azureml://registries/([^/]+)/(\w+)/([^/]+)/(versions|labels)/([^/]+)", re.IGNORECASE)
# Names and images are Microsoft's (runtime/images.yml has the images). The set of versions is our choice.
CURATED = {
    "sklearn-1.5": ("mcr.microsoft.com/azureml/curated/sklearn-1.5", ("26", "27")),
    "minimal-py311-inference": ("mcr.microsoft.com/azureml/minimal-py311-inference", ("1",)),
    "minimal-py312-inference": ("mcr.microsoft.com/azureml/minimal-py312-inference", ("1",)),
    "mlflow-py312-inference": ("mcr.microsoft.com/azureml/mlflow-py312-inference", ("1",)),
}


def create_curated_environments(emulator: Emulator) -> None:
    """Create the curated environments that do not exist yet. Their ids are the references that clients use."""
    now = format_iso(emulator.clock.now())
    for name, (image, versions) in CURATED.items():
        for version in versions:
            properties: Document = {
                **ENVIRONMENTS.defaults,
                "environmentType": "Curated",
                "image": f"{image}:{version}",
                "tags": {},
                "properties": {},
            }
            document: Document = {
                "id": f"{PUBLIC_ROOT}/environments/{name}/versions/{version}",
                "name": version,
                "type": REGISTRY_ENVIRONMENTS.type,
                "properties": properties,
                "systemData": {"createdAt": now, "createdBy": "Microsoft", "lastModifiedAt": now},
            }
            if emulator.store.get(document["id"]) is None:
                emulator.store.put(Resource(REGISTRY_ENVIRONMENTS.type, document))


def find_asset(emulator: Emulator, reference: str) -> Resource | None:
    """Return the asset of a reference, or None.

    A reference is an ARM id, optionally after `azureml:`, or a registry id with a version or a label.
    """
    match = REFERENCE.fullmatch(reference)
    if match is None:
        return emulator.store.get(reference.removeprefix("azureml:"))
    registry, kind, name, selector, value = match.groups()
    if selector.lower() == "versions":
        return emulator.store.get(reference)
    type_ = f"{PROVIDER}/registries/{kind.lower()}/versions"
    versions = emulator.store.find(type_, f"{REGISTRIES}/{registry}/{kind}/{name}")
    active = [one for one in versions if not is_archived(emulator, one)]
    return active[-1] if active and value.lower() == "latest" else None


async def get_discovery(request: Request) -> Response:
    """GET `/registrymanagement/v1.0/registries/{name}/discovery`: location of a registry. Clients request it first."""
    emulator: Emulator = request.app.state.emulator
    identity = emulator.identity
    identity.check_token(request.headers.get("authorization"), (*identity.arm_audiences, AZURE_ML))
    name, seed = request.path_params["name"], emulator.seed
    _check_registry(emulator, name)
    return JSONResponse(
        {
            "registryName": name.lower(),
            "tenantId": seed.tenant_id,
            "primaryRegion": seed.workspaces[0].location,
            "regions": [seed.workspaces[0].location],
            "subscriptionId": seed.subscription_id,
            "resourceGroup": seed.workspaces[0].resource_group,
            # azure-ai-ml appends the path of DATA_PLANE without a slash.
            "primaryRegionResourceProviderUri": f"{emulator.url}/",
        }
    )


def _check_registry(emulator: Emulator, name: str) -> None:
    """Raise the 404 if the registry does not exist."""
    if name.lower() not in (PUBLIC_REGISTRY, *(one.lower() for one in emulator.seed.registries)):
        raise errors.not_found("Registry", name)


def _check_access(call: Call) -> None:
    """Raise the 404 if the registry does not exist, or the 403 for a write to the public one."""
    _check_registry(call.emulator, call.params["registry"])
    if call.request.method == "PUT" and call.params["registry"].lower() == PUBLIC_REGISTRY:
        path = call.request.url.path.removeprefix(DATA_PLANE)
        kind = "/".join(path.split("/")[9::2])  # `models`, or `models/versions`
        raise errors.authorization_failed(call.client_id, f"{PROVIDER}/registries/{kind}/write", path)


def _put_temporary_data_reference(call: Call) -> Response:
    """Return the blob container to which azure-ai-ml uploads a new version before it registers it."""
    _check_access(call)
    group = f"/subscriptions/{call.params['subscription']}/resourceGroups/{call.params['group']}"
    return JSONResponse({"blobReferenceForConsumption": blob_reference(call, call.params["registry"], group)})


_REGISTRY = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}/registries/{{registry}}"
ROUTES = [
    *asset_routes(REGISTRY_ENVIRONMENTS, _REGISTRY, _check_access),
    *asset_routes(REGISTRY_MODELS, _REGISTRY, _check_access),
    ArmRoute("PUT", f"{_REGISTRY}/tempdatarefs/{{name}}/versions/{{version}}", _put_temporary_data_reference),
]
