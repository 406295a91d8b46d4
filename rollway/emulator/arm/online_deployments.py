"""Online deployments: create, update, logs, delete. `provisioning` starts and stops their containers."""

from pathlib import Path

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.data_collection import check_collector, complete_collector
from rollway.emulator.arm.endpoints import (
    DEPLOYMENT_TYPE,
    ENDPOINT_PATH,
    find_deployments,
    merge_tags,
    new_operation,
    raise_if_busy,
    require_endpoint,
    with_state,
)
from rollway.emulator.arm.kubernetes import RESOURCES, check_compute_type, compute_type, with_default_capacity
from rollway.emulator.arm.lists import in_order
from rollway.emulator.arm.provisioning import BUILD_LOG, SERVER_LOG, STORAGE_LOG, provision, remove_deployment
from rollway.emulator.arm.quota import check_cores, check_deployment_count
from rollway.emulator.arm.registry import find_asset
from rollway.emulator.arm.resource_manager import (
    OPERATION_ADDRESS,
    Call,
    accepted_response,
    operation_url,
    paginate,
    shown_to,
    workspace_route,
)
from rollway.emulator.arm.validation import (
    Problems,
    check_capacity,
    check_deployment,
    check_field_types,
    check_name,
    check_tags,
    check_unchanged,
    raise_problems,
)
from rollway.emulator.core import errors
from rollway.emulator.core.errors import Document
from rollway.emulator.core.lags import LaggingView
from rollway.emulator.core.store import Resource, Store
from rollway.emulator.runtime.routes import Routes

DEPLOYMENT_PATH = ENDPOINT_PATH + "/deployments/{deployment}"
APP_FOLDER = "/var/azureml-app"  # of a container in Azure
# Defaults that Azure fills in (how-to-troubleshoot-online-endpoints, and recorded responses).
DEFAULT_PROBE = {
    "initialDelay": "PT10S",
    "period": "PT10S",
    "timeout": "PT2S",
    "failureThreshold": 30,
    "successThreshold": 1,
}
DEFAULT_REQUEST_SETTINGS = {"requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0S"}
# Properties that decide how containers run. An update that changes none of them leaves the containers running.
CONTAINER_SETTINGS = (
    "model",
    "environmentId",
    "codeConfiguration",
    "environmentVariables",
    "requestSettings",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "modelMountPath",
    "dataCollector",
)


def require_deployment(call: Call, source: Store | LaggingView | None = None) -> Resource:
    """Return the online deployment in the path, from the store or from what a reader sees. Raises the 404."""
    require_endpoint(call, source)
    found = (source or call.emulator.store).get(call.id(DEPLOYMENT_PATH))
    if found is None:
        raise errors.not_found("Deployment", call.params["deployment"])
    return found


FIELD_TYPES: dict[str, type] = {
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
    "properties.startupProbe": dict,
    "properties.modelMountPath": str,
    "properties.scaleSettings": dict,
    "properties.scaleSettings.scaleType": str,
    "properties.containerResourceRequirements": dict,
    "properties.egressPublicNetworkAccess": str,
    "properties.dataCollector": dict,
    "properties.dataCollector.collections": dict,
    "properties.dataCollector.rollingRate": str,
}


def put_deployment(call: Call) -> Response:
    emulator, name = call.emulator, call.params["deployment"]
    check_field_types(call.body, FIELD_TYPES)
    check_tags(call.body.get("tags"))
    endpoint = emulator.store.get(call.id(ENDPOINT_PATH))
    if endpoint is None:
        raise errors.endpoint_missing_for_deployment()
    if not call.body.get("location"):
        raise errors.location_required()
    before = emulator.store.get(call.id(DEPLOYMENT_PATH))
    _raise_if_busy(call, endpoint, before)
    if endpoint.state != "Succeeded":
        raise errors.endpoint_not_ready(endpoint.name, endpoint.state)
    if before is not None and not before.private.get("serving"):
        raise errors.deployment_creation_failed(name)
    properties = call.body.get("properties") or {}
    sku = with_default_capacity(properties, call.body.get("sku") or {})
    raise_problems(
        check_name(name, "Deployment"),
        check_compute_type(endpoint, properties),
        check_deployment(properties, sku),
        check_collector(properties.get("dataCollector")),
        _check_assets(call, properties),
        {} if before is None else check_unchanged(before.properties, properties),
    )
    existing = find_deployments(emulator, "")
    if before is None:
        raise_problems(check_deployment_count(emulator, endpoint.id, existing))
        _check_network(call)
    wanted = _build_document(call, endpoint, before, properties, int(sku["capacity"]))
    if compute_type(endpoint) == "Managed":
        raise_problems(check_cores(emulator, existing, wanted))
    return _start_operation(call, "PUT", before, wanted)


def _raise_if_busy(call: Call, endpoint: Resource, before: Resource | None) -> None:
    running = call.emulator.operations.running_on(endpoint.id)
    if before is None and running is not None and running.resource.lower() == endpoint.id.lower():
        raise errors.endpoint_not_provisioned(endpoint.name, endpoint.state)
    raise_if_busy(call)


def patch_deployment(call: Call) -> Response:
    """PATCH: change tags and `sku` only (PartialMinimalTrackedResourceWithSku), so it can scale without a PUT."""
    before = require_deployment(call)
    check_field_types(call.body, FIELD_TYPES)
    tags = merge_tags(before, call.body.get("tags"))
    raise_if_busy(call)
    if not before.private.get("serving"):
        raise errors.deployment_creation_failed(before.name)
    capacity = (call.body.get("sku") or {}).get("capacity")
    sku: Document = {**before.document["sku"], **({} if capacity is None else {"capacity": capacity})}
    raise_problems(check_capacity(sku))
    wanted = {
        **before.document,
        "tags": tags,
        "sku": sku,
    }
    if compute_type(require_endpoint(call)) == "Managed":
        raise_problems(check_cores(call.emulator, find_deployments(call.emulator, ""), wanted))
    return _start_operation(call, "PATCH", before, wanted)


def _check_network(call: Call) -> None:
    """Raise the 400 if the workspace has a managed virtual network that is not provisioned."""
    network: Document = call.workspace.properties.get("managedNetwork") or {}
    if network.get("status", {}).get("status") == "Inactive":
        raise errors.managed_network_not_ready(call.workspace.name)


def _check_assets(call: Call, properties: Document) -> Problems:
    """Return the problems with model, environment and code: each must be registered."""
    wanted = {
        "Model": properties.get("model"),
        "EnvironmentId": properties.get("environmentId"),
        "CodeConfiguration.CodeId": (properties.get("codeConfiguration") or {}).get("codeId"),
    }
    required = set[str]() if _is_no_code(call, properties) else {"EnvironmentId"}
    if properties.get("codeConfiguration"):
        required.add("CodeConfiguration.CodeId")
    problems: Problems = {}
    for field, reference in wanted.items():
        if not reference:
            if field in required:
                problems[field] = [f"is required{_why_required(call, properties)}."]
        elif find_asset(call.emulator, reference) is None:
            problems[field] = [f"{reference} was not found."]
    return problems


def _why_required(call: Call, properties: Document) -> str:
    """Return why a Triton model needs an environment here, unlike in Azure; empty for other models."""
    model = find_asset(call.emulator, properties["model"]) if properties.get("model") else None
    if model is None or str(model.properties.get("modelType")).lower() != "triton_model":
        return ""
    return (
        ": Triton is not emulated. Name an environment whose image is mapped to a command of your own, and start the "
        "emulator with --images FILE"
    )


def _is_no_code(call: Call, properties: Document) -> bool:
    """Return True if Azure makes script and environment itself: for an MLflow model with neither of them."""
    code, reference = properties.get("codeConfiguration") or {}, properties.get("model")
    if any(code.values()) or properties.get("environmentId") or not reference:
        return False
    model = find_asset(call.emulator, reference)
    return model is not None and str(model.properties["modelType"]).lower() == "mlflow_model"


def _build_document(
    call: Call, endpoint: Resource, before: Resource | None, properties: Document, capacity: int
) -> Document:
    """Return the document that a PUT asks for, with Azure's defaults."""
    given = {key: value for key, value in properties.items() if value is not None}
    for field in ("environmentId", "model"):
        if "/labels/" in str(given.get(field)) and (asset := find_asset(call.emulator, given[field])) is not None:
            given[field] = asset.id  # a label is resolved once, now
    given["endpointComputeType"] = compute_type(endpoint)
    given["scaleSettings"] = given.get("scaleSettings") or {"scaleType": "Default"}
    if given["endpointComputeType"] == "Kubernetes":
        given["containerResourceRequirements"] = given.get("containerResourceRequirements") or RESOURCES
    if given.get("dataCollector"):
        given["dataCollector"] = complete_collector(given["dataCollector"])
    given["properties"] = {**(before.properties["properties"] if before else {}), **(given.get("properties") or {})}
    filled = {
        "description": None,
        "environmentVariables": {},
        "modelMountPath": None,
        "appInsightsEnabled": False,
        "egressPublicNetworkAccess": "Enabled",
        "dataCollector": None,
        **given,
        "requestSettings": {**DEFAULT_REQUEST_SETTINGS, **(given.get("requestSettings") or {})},
        "livenessProbe": {**DEFAULT_PROBE, **(given.get("livenessProbe") or {})},
        "readinessProbe": {**DEFAULT_PROBE, **(given.get("readinessProbe") or {})},
    }
    if given.get("startupProbe"):
        filled["startupProbe"] = {**DEFAULT_PROBE, **given["startupProbe"]}
    return {
        "id": call.id(DEPLOYMENT_PATH) if before is None else before.id,
        "name": call.params["deployment"] if before is None else before.name,
        "type": DEPLOYMENT_TYPE,
        "location": endpoint.document["location"],
        "kind": endpoint.document["kind"],
        "tags": call.body.get("tags") or {},
        "sku": {"name": "Default", "tier": "Standard", "capacity": capacity},
        "properties": filled,
        # An update does not move its times (recorded).
        "systemData": call.endpoint_system_data() if before is None else before.document["systemData"],
    }


def _with_properties(document: Document, **changes: object) -> Document:
    return {**document, "properties": {**document["properties"], **changes}}


def _with_operation(document: Document, address: object) -> Document:
    """Return the document with the address of an operation in its property bag."""
    return _with_properties(document, properties={**document["properties"]["properties"], OPERATION_ADDRESS: address})


def _with_service_variables(call: Call, document: Document) -> Document:
    """Return the document with the environment variables that the service adds once it serves (recorded)."""
    properties = document["properties"]
    added: Document = {}
    if model := find_asset(call.emulator, properties.get("model") or ""):
        added["AZUREML_MODEL_DIR"] = f"{APP_FOLDER}/azureml-models/{model.id.split('/')[-3]}/{model.name}"
    settings = properties.get("codeConfiguration") or {}
    if code := find_asset(call.emulator, settings.get("codeId") or ""):
        folder = str(code.properties["codeUri"]).rstrip("/").rpartition("/")[2]
        added |= {"AZUREML_ENTRY_SCRIPT": settings["scoringScript"], "AML_APP_ROOT": f"{APP_FOLDER}/{folder}"}
    return _with_properties(document, environmentVariables={**(properties["environmentVariables"] or {}), **added})


def _start_operation(call: Call, method: str, before: Resource | None, asked: Document) -> Response:
    """Start the operation that brings an online deployment to the document `asked`, and answer as recorded.

    The address of the creation stays in the property bag. Only the answer to the PUT has that of its own operation.
    """
    emulator = call.emulator
    action = "create online deployment" if before is None else "update online deployment"
    operation = new_operation(call, "odidp", method, before or Resource(DEPLOYMENT_TYPE, asked), action)
    answer = _with_operation(_with_properties(asked, provisioningState="Creating"), operation_url(call, operation))
    if before is None:
        shown = Resource(DEPLOYMENT_TYPE, answer)
        wanted = _with_service_variables(call, answer)
    else:
        created_by = before.properties["properties"].get(OPERATION_ADDRESS)
        wanted = _with_operation(_with_service_variables(call, asked), created_by)
        operation.failed_result = wanted
        served: Document = before.private["serving"]
        is_scaling = _has_same_containers(served, wanted) and served["sku"] != wanted["sku"]
        shown = with_state(before, "Scaling" if is_scaling else "Updating")
        if _has_same_containers(served, wanted) and not is_scaling and before.state == "Succeeded":
            operation.outcome = "Succeeded"
        answer = {**_with_properties(answer, instanceType=None), "systemData": _modified_now(call)}
    environment = find_asset(emulator, wanted["properties"].get("environmentId") or "")
    routes = Routes.from_document(environment.properties.get("inferenceConfig") if environment else None)
    operation.result = wanted
    operation.private = {"on_success": {"serving": wanted, "scoring_route": routes.scoring.path}}
    emulator.operations.start(operation, shown)
    if operation.outcome is None:
        emulator.spawn(provision(emulator, operation), f"provision {operation.resource}")
    return accepted_response(call, operation, answer, 202 if method == "PATCH" else 201)


def _modified_now(call: Call) -> Document:
    return {"lastModifiedAt": call.endpoint_system_data()["lastModifiedAt"]}


def _has_same_containers(before: Document, after: Document) -> bool:
    """Return True if both documents run equal containers. The number of instances may differ."""
    return all(before["properties"].get(name) == after["properties"].get(name) for name in CONTAINER_SETTINGS)


def get_deployment(call: Call) -> Response:
    return JSONResponse(shown_to(call, require_deployment(call, call.emulator.operations.views["reads"]).document))


def list_deployments(call: Call) -> Response:
    view = call.emulator.operations.views["lists"]
    require_endpoint(call, view)
    found = in_order(view.find(DEPLOYMENT_TYPE, call.id(ENDPOINT_PATH)), call.query("$orderBy"))
    return paginate(call, [shown_to(call, one.document) for one in found], continued_by="$skip")


def delete_deployment(call: Call) -> Response:
    emulator, name = call.emulator, call.params["deployment"]
    endpoint, deployment = emulator.store.get(call.id(ENDPOINT_PATH)), emulator.store.get(call.id(DEPLOYMENT_PATH))
    if endpoint is None or deployment is None:
        return Response(status_code=204)
    raise_if_busy(call)
    for field, kind in (("traffic", "traffic"), ("mirrorTraffic", "mirror traffic")):
        weights = {key.lower(): weight for key, weight in endpoint.properties[field].items()}
        if weight := weights.get(name.lower(), 0):
            raise errors.deployment_has_traffic(name, weight, kind)
    operation = new_operation(call, "odidp", "DELETE", deployment, "delete online deployment")
    emulator.operations.start(operation, with_state(deployment, "Deleting"))
    if operation.outcome is None:
        emulator.spawn(remove_deployment(emulator, operation), f"delete {deployment.id}")
    return accepted_response(call, operation, None, 202)


def get_logs(call: Call) -> Response:
    """Return the log of a container type, from the newest revision, even if that one failed.

    Until there is a container, the log of the inference server is the environment's build log. Azure keeps that log in
    its container registry, which the emulator does not have.
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
    """Return the text of the first file that exists, or an empty string."""
    for name in names:
        if (folder / name).is_file():
            return (folder / name).read_text(errors="replace")
    return ""


ROUTES = [
    workspace_route("GET", f"{ENDPOINT_PATH}/deployments", list_deployments),
    workspace_route("GET", DEPLOYMENT_PATH, get_deployment),
    workspace_route("PUT", DEPLOYMENT_PATH, put_deployment),
    workspace_route("PATCH", DEPLOYMENT_PATH, patch_deployment),
    workspace_route("DELETE", DEPLOYMENT_PATH, delete_deployment),
    workspace_route("POST", f"{DEPLOYMENT_PATH}/getLogs", get_logs),
]
