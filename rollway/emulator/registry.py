"""The public registry `azureml` with a few of its curated environments, read-only as it is for all but Microsoft."""

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from rollway.emulator import errors
from rollway.emulator.arm import DATA_PLANE, PROVIDER, ArmRoute, Call, page
from rollway.emulator.assets import ENVIRONMENTS, container, is_viewed
from rollway.emulator.clock import iso
from rollway.emulator.errors import Document
from rollway.emulator.identity import AZURE_ML
from rollway.emulator.state import Emulator
from rollway.emulator.store import Resource

NAME = "azureml"
ROOT = f"azureml://registries/{NAME}"
ENVIRONMENT_TYPE = f"{PROVIDER}/registries/environments/versions"
REFERENCE = re.compile(r"azureml://registries/([^/]+)/(\w+)/([^/]+)/(versions|labels)/([^/]+)", re.IGNORECASE)
# Names and images are Microsoft's (the images are those of runtime/images.yml); which versions there are is our choice.
CURATED = {
    "sklearn-1.5": ("mcr.microsoft.com/azureml/curated/sklearn-1.5", ("26", "27")),
    "minimal-py311-inference": ("mcr.microsoft.com/azureml/minimal-py311-inference", ("1",)),
    "minimal-py312-inference": ("mcr.microsoft.com/azureml/minimal-py312-inference", ("1",)),
    "mlflow-py312-inference": ("mcr.microsoft.com/azureml/mlflow-py312-inference", ("1",)),
}


def create_curated_environments(emulator: Emulator) -> None:
    """The curated environments exist; their ids are the references that clients write."""
    now = iso(emulator.clock.now())
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
                "id": f"{ROOT}/environments/{name}/versions/{version}",
                "name": version,
                "type": ENVIRONMENT_TYPE,
                "properties": properties,
                "systemData": {"createdAt": now, "createdBy": "Microsoft", "lastModifiedAt": now},
            }
            if emulator.store.get(document["id"]) is None:
                emulator.store.put(Resource(ENVIRONMENT_TYPE, document))


def find_asset(emulator: Emulator, reference: str) -> Resource | None:
    """What an asset reference means: an ARM id, also after `azureml:`, or a registry's id with a version or a label."""
    match = REFERENCE.fullmatch(reference)
    if match is None:
        return emulator.store.get(reference.removeprefix("azureml:"))
    registry, kind, name, what, which = match.groups()
    if what.lower() == "versions":
        return emulator.store.get(reference)
    versions = emulator.store.find(ENVIRONMENT_TYPE, f"azureml://registries/{registry}/{kind}/{name}")
    return versions[-1] if versions and which.lower() == "latest" else None


async def get_discovery(request: Request) -> Response:
    """GET `/registrymanagement/v1.0/registries/{name}/discovery`: where a registry is, before any of its requests."""
    emulator: Emulator = request.app.state.emulator
    identity = emulator.identity
    identity.check(request.headers.get("authorization"), (*identity.arm_audiences, AZURE_ML))
    _check_registry(request.path_params["name"])
    seed = emulator.seed
    return JSONResponse(
        {
            "registryName": NAME,
            "tenantId": seed.tenant_id,
            "primaryRegion": seed.workspaces[0].location,
            "regions": [seed.workspaces[0].location],
            "subscriptionId": seed.subscription_id,
            "resourceGroup": seed.workspaces[0].resource_group,
            # azure-ai-ml appends the path of DATA_PLANE without a slash.
            "primaryRegionResourceProviderUri": f"{emulator.url}/",
        }
    )


def _check_registry(name: str) -> None:
    if name.lower() != NAME:
        raise errors.not_found("Registry", name)


def _versions(call: Call) -> list[Resource]:
    """The versions of an environment, oldest first; raises the 404."""
    _check_registry(call.params["registry"])
    found = call.emulator.store.find(ENVIRONMENT_TYPE, f"{ROOT}/environments/{call.params['name']}")
    if not found:
        raise errors.asset_not_found("Environment", call.params["name"])
    return found


def get_environment(call: Call) -> Response:
    for one in _versions(call):
        if one.name.lower() == call.params["version"].lower():
            return JSONResponse(one.document)
    raise errors.asset_not_found("Environment", f"{call.params['name']}:{call.params['version']}")


def list_versions(call: Call) -> Response:
    versions = _versions(call)
    if not (call.query("$orderBy") or "").lower().endswith(" asc"):
        versions.reverse()
    return page(call, [one.document for one in versions if is_viewed(call, one)])


def get_container(call: Call) -> Response:
    return JSONResponse(container(ENVIRONMENTS, _versions(call)))


def list_containers(call: Call) -> Response:
    _check_registry(call.params["registry"])
    names: dict[str, list[Resource]] = {}
    for one in call.emulator.store.find(ENVIRONMENT_TYPE, f"{ROOT}/environments"):
        if is_viewed(call, one):
            names.setdefault(one.id.split("/")[-3], []).append(one)
    return page(call, [container(ENVIRONMENTS, versions) for versions in names.values()])


def _refuse_write(call: Call) -> Response:
    """Any asset's PUT; azure-ai-ml begins with the place of an upload (`tempdatarefs`)."""
    _check_registry(call.params["registry"])
    action = f"{PROVIDER}/registries/{call.params['kind']}/versions/write"
    raise errors.authorization_failed(call.client_id, action, call.request.url.path.removeprefix(DATA_PLANE))


_REGISTRY = f"/subscriptions/{{subscription}}/resourceGroups/{{group}}/providers/{PROVIDER}/registries/{{registry}}"
_ENVIRONMENTS = f"{_REGISTRY}/environments"
ROUTES = [
    ArmRoute("GET", _ENVIRONMENTS, list_containers),
    ArmRoute("GET", f"{_ENVIRONMENTS}/{{name}}", get_container),
    ArmRoute("GET", f"{_ENVIRONMENTS}/{{name}}/versions", list_versions),
    ArmRoute("GET", f"{_ENVIRONMENTS}/{{name}}/versions/{{version}}", get_environment),
    ArmRoute("PUT", f"{_REGISTRY}/{{kind}}/{{name}}/versions/{{version}}", _refuse_write),
]
