"""Workspaces, their datastore, and the status of long-running operations."""

from uuid import uuid4

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.endpoints import ENDPOINT_TYPE, endpoint_document
from rollway.emulator.arm.registry import create_curated_environments
from rollway.emulator.arm.resource_manager import (
    PROVIDER,
    WORKSPACE_PATH,
    ArmRoute,
    Call,
    paginate,
    poll_headers,
    shown_to,
    workspace_route,
)
from rollway.emulator.arm.workspace_document import system_data, workspace_document
from rollway.emulator.blob.blobs import SUFFIX
from rollway.emulator.core import errors
from rollway.emulator.core.clock import format_iso
from rollway.emulator.core.errors import Document
from rollway.emulator.core.numbers import parse_number
from rollway.emulator.core.operations import Operation
from rollway.emulator.core.store import Resource
from rollway.emulator.state import Emulator

WORKSPACE_TYPE = f"{PROVIDER}/workspaces"
DATASTORE = "workspaceblobstore"
LOCATION_PATH = f"/subscriptions/{{subscription}}/providers/{PROVIDER}/locations/{{location}}"
DEFAULT_SAS_HOURS, MAX_SAS_HOURS = 1.0, 24.0


def create_seeded_workspaces(emulator: Emulator) -> None:
    """Create the workspaces of the seed and the curated environments. Existing ones stay unchanged."""
    create_curated_environments(emulator)
    seed = emulator.seed
    for wanted in seed.workspaces:
        id_ = WORKSPACE_PATH.format(
            subscription=seed.subscription_id, group=wanted.resource_group, workspace=wanted.name
        )
        if emulator.store.get(id_) is not None:
            continue
        guid, now = str(uuid4()), format_iso(emulator.clock.now())
        document: Document = {
            "id": id_,
            "name": wanted.name,
            "type": WORKSPACE_TYPE,
            "location": wanted.location,
            "kind": "Default",
            "tags": {},
            "sku": {"name": "Basic", "tier": "Basic"},
            "identity": {"type": "SystemAssigned", "principalId": str(uuid4()), "tenantId": seed.tenant_id},
            "properties": {
                "friendlyName": wanted.name,
                "description": "",
                "workspaceId": guid,
                "provisioningState": "Succeeded",
                "publicNetworkAccess": "Enabled",
                "v1LegacyMode": wanted.v1_legacy_mode,
                "hbiWorkspace": False,
                "creationTime": now,
            },
            "systemData": {"createdAt": now, "lastModifiedAt": now},
        }
        if wanted.managed_network is not None:
            status = {"status": wanted.managed_network.capitalize(), "sparkReady": False}
            network = {"isolationMode": "AllowInternetOutbound", "outboundRules": {}, "status": status}
            document["properties"]["managedNetwork"] = network
        emulator.store.put(Resource(WORKSPACE_TYPE, document))


def default_container(workspace: Resource) -> str:
    """Return the blob container of a workspace's default datastore."""
    return f"azureml-blobstore-{workspace.properties['workspaceId']}"


def get_workspace(call: Call) -> Response:
    return JSONResponse(workspace_document(call.emulator, call.workspace))


def list_workspaces(call: Call) -> Response:
    found = call.emulator.store.find(WORKSPACE_TYPE)
    if group := call.params.get("group"):
        found = [one for one in found if f"/resourcegroups/{group.lower()}/" in one.id.lower()]
    return paginate(call, [workspace_document(call.emulator, one) for one in found])


def get_datastore(call: Call) -> Response:
    if call.params["datastore"].lower() != DATASTORE:
        raise errors.not_found("Datastore", call.params["datastore"])
    return JSONResponse(_datastore_document(call))


def list_datastores(call: Call) -> Response:
    return paginate(call, [_datastore_document(call)])


def _datastore_document(call: Call) -> Document:
    workspace = call.workspace
    return {
        "id": f"{workspace.id}/datastores/{DATASTORE}",
        "name": DATASTORE,
        "type": f"{WORKSPACE_TYPE}/datastores",
        "properties": {
            "datastoreType": "AzureBlob",
            "accountName": call.emulator.blobs.account_name,
            "containerName": default_container(workspace),
            "endpoint": SUFFIX,
            "protocol": "https",
            "credentials": {"credentialsType": "AccountKey"},
            "isDefault": True,
            "serviceDataAccessAuthIdentity": "None",
            "description": None,
            "properties": {},
            "tags": {},
        },
        "systemData": system_data(workspace),
    }


def list_datastore_secrets(call: Call) -> Response:
    if call.params["datastore"].lower() != DATASTORE:
        raise errors.not_found("Datastore", call.params["datastore"])
    given = call.body.get("expireAfterHours")
    hours = DEFAULT_SAS_HOURS if given is None else parse_number(given)
    if hours is None or hours <= 0:
        raise errors.invalid_content("expireAfterHours: a number of hours above 0 is expected")
    container, seconds = default_container(call.workspace), min(hours, MAX_SAS_HOURS) * 3600
    token = call.emulator.blobs.shared_access_signature(container, "racwdl", seconds)
    return JSONResponse({"secretsType": "Sas", "sasToken": token})


def get_operation_status(call: Call) -> Response:
    operation = _require_operation(call)
    return JSONResponse(operation.status(), headers=poll_headers(call.emulator) if operation.is_running else {})


def get_operation_result(call: Call) -> Response:
    """Return 202 while the operation runs; then the resource (PATCH) or no content (DELETE, POST)."""
    operation = _require_operation(call)
    if operation.is_running:
        return Response(status_code=202, headers=poll_headers(call.emulator))
    if operation.method == "PATCH" and (found := call.emulator.store.get(operation.resource)) is not None:
        is_endpoint = found.type == ENDPOINT_TYPE
        return JSONResponse(endpoint_document(call, found) if is_endpoint else shown_to(call, found.document))
    return Response(status_code=204)


def _require_operation(call: Call) -> Operation:
    """Return the operation in the path. Raises the 404."""
    operation = call.emulator.operations.get(call.params["operation"])
    if operation is None:
        raise errors.not_found("Operation", call.params["operation"])
    return operation


ROUTES = [
    workspace_route("GET", "", get_workspace),
    ArmRoute("GET", WORKSPACE_PATH.rpartition("/")[0], list_workspaces),
    ArmRoute("GET", f"/subscriptions/{{subscription}}/providers/{PROVIDER}/workspaces", list_workspaces),
    workspace_route("GET", "/datastores", list_datastores),
    workspace_route("GET", "/datastores/{datastore}", get_datastore),
    workspace_route("POST", "/datastores/{datastore}/listSecrets", list_datastore_secrets),
    # Who may start an operation may poll it: Azure asks for no right in the subscription, where these URLs are.
    ArmRoute("GET", f"{LOCATION_PATH}/mfeOperationsStatus/{{operation}}", get_operation_status, needs_right=False),
    ArmRoute("GET", f"{LOCATION_PATH}/mfeOperationResults/{{operation}}", get_operation_result, needs_right=False),
]
