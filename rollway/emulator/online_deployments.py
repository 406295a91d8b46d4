"""Online deployments: create, update, logs, delete. The work itself is in `provisioning`."""

from pathlib import Path

from starlette.responses import JSONResponse, Response

from rollway.emulator import errors
from rollway.emulator.arm import Call, accepted, in_workspace, operation_url, page
from rollway.emulator.endpoints import (
    DEPLOYMENT_TYPE,
    TAIL,
    deployments_of,
    new_operation,
    refuse_if_busy,
    require_endpoint,
    with_state,
)
from rollway.emulator.errors import Document
from rollway.emulator.provisioning import BUILD_LOG, SERVER_LOG, STORAGE_LOG, provision, remove_deployment
from rollway.emulator.store import Resource
from rollway.emulator.validation import Problems, check_deployment, check_name, check_shapes, check_unchanged, refuse

DEPLOYMENT_TAIL = TAIL + "/deployments/{deployment}"
MOST_DEPLOYMENTS = 20
# What the service fills in on success, how-to-troubleshoot-online-endpoints and recorded answers.
PROBE = {"initialDelay": "PT10S", "period": "PT10S", "timeout": "PT2S", "failureThreshold": 30, "successThreshold": 1}
REQUESTS = {"requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0S"}
# What decides how the containers run; when nothing of it changes they are left alone.
RUN = ("model", "environmentId", "codeConfiguration", "environmentVariables", "requestSettings")


def require_deployment(call: Call) -> Resource:
    """The online deployment in the path; raises the 404."""
    require_endpoint(call)
    found = call.emulator.store.get(call.id(DEPLOYMENT_TAIL))
    if found is None:
        raise errors.not_found("Deployment", call.params["deployment"])
    return found


SHAPES: dict[str, type] = {
    "location": str,
    "tags": dict,
    "sku": dict,
    "properties": dict,
    "properties.model": str,
    "properties.environmentId": str,
    "properties.codeConfiguration": dict,
    "properties.codeConfiguration.codeId": str,
    "properties.codeConfiguration.scoringScript": str,
    "properties.instanceType": str,
    "properties.environmentVariables": dict,
    "properties.properties": dict,
    "properties.requestSettings": dict,
    "properties.livenessProbe": dict,
    "properties.readinessProbe": dict,
    "properties.scaleSettings": dict,
    "properties.egressPublicNetworkAccess": str,
}


def put_deployment(call: Call) -> Response:
    emulator, name = call.emulator, call.params["deployment"]
    check_shapes(call.body, SHAPES)
    endpoint = emulator.store.get(call.id(TAIL))
    if endpoint is None:
        raise errors.endpoint_missing_for_deployment()
    if not call.body.get("location"):
        raise errors.location_required()
    refuse_if_busy(call)
    if endpoint.state != "Succeeded":
        raise errors.endpoint_not_ready(endpoint.name, endpoint.state)
    before = emulator.store.get(call.id(DEPLOYMENT_TAIL))
    if before is not None and not before.private.get("serving"):
        raise errors.deployment_creation_failed(name)
    properties, sku = call.body.get("properties") or {}, call.body.get("sku") or {}
    refuse(
        check_name(name, "Deployment"),
        check_deployment(properties, sku),
        _check_assets(call, properties),
        check_unchanged(before.properties, properties) if before is not None else _check_count(call),
    )
    shown, wanted = _documents(call, endpoint, before, properties, int(sku["capacity"]))
    return _start(call, before, Resource(DEPLOYMENT_TYPE, shown), wanted)


def _check_assets(call: Call, properties: Document) -> Problems:
    """Model, environment and code must be registered."""
    wanted = {
        "Model": properties.get("model"),
        "EnvironmentId": properties.get("environmentId"),
        "CodeConfiguration.CodeId": (properties.get("codeConfiguration") or {}).get("codeId"),
    }
    problems: Problems = {}
    for field, reference in wanted.items():
        if not reference:
            if field != "Model":
                problems[field] = ["is required."]
        elif call.emulator.store.get(asset_id(reference)) is None:
            problems[field] = [f"{reference} was not found."]
    return problems


def asset_id(reference: str) -> str:
    """The ARM id of an asset: clients write `azureml:` before it at times."""
    return reference.removeprefix("azureml:")


def _check_count(call: Call) -> Problems:
    if len(deployments_of(call.emulator, call.id(TAIL))) < MOST_DEPLOYMENTS:
        return {}
    return {"Deployment": [f"An endpoint can have at most {MOST_DEPLOYMENTS} deployments."]}


def _documents(
    call: Call, endpoint: Resource, before: Resource | None, properties: Document, capacity: int
) -> tuple[Document, Document]:
    """The online deployment as it is shown at first, and as it is wanted, with the service's defaults."""
    given = {key: value for key, value in properties.items() if value is not None}
    given |= {"endpointComputeType": "Managed", "scaleSettings": given.get("scaleSettings") or {"scaleType": "Default"}}
    given["properties"] = {**(before.properties["properties"] if before else {}), **(given.get("properties") or {})}
    shown: Document = {
        "id": call.id(DEPLOYMENT_TAIL) if before is None else before.id,
        "name": call.params["deployment"] if before is None else before.name,
        "type": DEPLOYMENT_TYPE,
        "location": endpoint.document["location"],
        "kind": "Managed",
        "tags": call.body.get("tags") or {},
        "sku": {"name": "Default", "tier": "Standard", "capacity": capacity},
        "properties": given,
        "systemData": call.system_data(before.document if before else None),
    }
    filled = {
        "environmentVariables": {},
        "appInsightsEnabled": False,
        "egressPublicNetworkAccess": "Enabled",
        **given,
        "requestSettings": {**REQUESTS, **(given.get("requestSettings") or {})},
        "livenessProbe": {**PROBE, **(given.get("livenessProbe") or {})},
        "readinessProbe": {**PROBE, **(given.get("readinessProbe") or {})},
    }
    return shown, {**shown, "properties": filled}


def _start(call: Call, before: Resource | None, shown: Resource, wanted: Document) -> Response:
    emulator = call.emulator
    action = "create online deployment" if before is None else "update online deployment"
    operation = new_operation(call, "odidp", "PUT", shown, action)
    status_url = operation_url(emulator, operation, call, "mfeOperationsStatus")
    wanted["properties"]["properties"]["AzureAsyncOperationUri"] = status_url
    operation.result = wanted
    operation.private = {"is_update": before is not None, "on_success": {"serving": wanted}}
    if before is None:
        shown = with_state(shown, "Creating")
    else:
        served: Document = before.private["serving"]
        is_scaling = _runs_alike(served, wanted) and served["sku"] != wanted["sku"]
        shown = with_state(before, "Scaling" if is_scaling else "Updating")
        if _runs_alike(served, wanted) and not is_scaling and before.state == "Succeeded":
            operation.outcome = "Succeeded"
    emulator.operations.start(operation, shown)
    if operation.outcome is None:
        emulator.spawn(provision(emulator, operation), f"provision {shown.id}")
    return accepted(call, operation, shown.document, 201 if before is None else 200, emulator.url + shown.id)


def _runs_alike(before: Document, after: Document) -> bool:
    return all(before["properties"].get(name) == after["properties"].get(name) for name in RUN)


def get_deployment(call: Call) -> Response:
    return JSONResponse(require_deployment(call).document)


def list_deployments(call: Call) -> Response:
    require_endpoint(call)
    return page(call, [one.document for one in deployments_of(call.emulator, call.id(TAIL))])


def delete_deployment(call: Call) -> Response:
    emulator, name = call.emulator, call.params["deployment"]
    endpoint, deployment = emulator.store.get(call.id(TAIL)), emulator.store.get(call.id(DEPLOYMENT_TAIL))
    if endpoint is None or deployment is None:
        return Response(status_code=204)
    refuse_if_busy(call)
    for field, kind in (("traffic", "traffic"), ("mirrorTraffic", "mirror traffic")):
        weights = {key.lower(): weight for key, weight in endpoint.properties[field].items()}
        if weight := weights.get(name.lower(), 0):
            raise errors.deployment_has_traffic(name, weight, kind)
    operation = new_operation(call, "odidp", "DELETE", deployment, "delete online deployment")
    emulator.operations.start(operation, with_state(deployment, "Deleting"))
    emulator.spawn(remove_deployment(emulator, operation), f"delete {deployment.id}")
    return accepted(call, operation, None, 202, operation_url(emulator, operation, call, "mfeOperationResults"))


def get_logs(call: Call) -> Response:
    """The log of a container type: of the newest revision, also when it has failed.

    Before there is a container, the inference server's log is the build log of the environment: the service keeps that
    one in its container registry, which the emulator has not.
    """
    deployment = require_deployment(call)
    container_type = str(call.body.get("containerType") or "InferenceServer")
    tail = call.body.get("tail")
    folder = call.emulator.fleet.newest_folder(deployment.id)
    files = {"inferenceserver": (SERVER_LOG, BUILD_LOG), "storageinitializer": (STORAGE_LOG,)}
    if container_type.lower() not in files:
        raise errors.invalid_request({"ContainerType": ["must be InferenceServer or StorageInitializer."]})
    if tail is not None and (not isinstance(tail, int) or tail < 0):
        raise errors.invalid_request({"Tail": ["must be 0 or more."]})
    content = "" if folder is None else _read_first(folder, files[container_type.lower()])
    lines = content.splitlines(keepends=True)
    return JSONResponse({"content": "".join(lines if tail is None else lines[max(len(lines) - tail, 0) :])})


def _read_first(folder: Path, names: tuple[str, ...]) -> str:
    for name in names:
        if (folder / name).is_file():
            return (folder / name).read_text(errors="replace")
    return ""


ROUTES = [
    in_workspace("GET", f"{TAIL}/deployments", list_deployments),
    in_workspace("GET", DEPLOYMENT_TAIL, get_deployment),
    in_workspace("PUT", DEPLOYMENT_TAIL, put_deployment),
    in_workspace("DELETE", DEPLOYMENT_TAIL, delete_deployment),
    in_workspace("POST", f"{DEPLOYMENT_TAIL}/getLogs", get_logs),
]
