"""Online endpoints: create, update, traffic, keys and tokens, delete."""

import re
from secrets import token_urlsafe
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.identities import kept_identity, new_identity
from rollway.emulator.arm.kubernetes import KUBERNETES, check_compute
from rollway.emulator.arm.lists import select_endpoints
from rollway.emulator.arm.quota import check_endpoint_count
from rollway.emulator.arm.resource_manager import (
    OPERATION_ADDRESS,
    PROVIDER,
    Call,
    accepted_response,
    lags_of,
    operation_url,
    paginate,
    shown_to,
    workspace_route,
)
from rollway.emulator.arm.validation import (
    check_endpoint,
    check_field_types,
    check_name,
    check_tags,
    check_traffic,
    raise_problems,
)
from rollway.emulator.core import errors, faults
from rollway.emulator.core.errors import Document
from rollway.emulator.core.lags import LaggingView
from rollway.emulator.core.operations import Operation, new_operation_id
from rollway.emulator.core.store import Resource, Store
from rollway.emulator.runtime.routes import Routes
from rollway.emulator.state import Emulator

ENDPOINT_TYPE = f"{PROVIDER}/workspaces/onlineEndpoints"
DEPLOYMENT_TYPE = f"{ENDPOINT_TYPE}/deployments"
ENDPOINT_PATH = "/onlineEndpoints/{endpoint}"


def scoring_path(endpoint: Resource) -> str:
    """Return the path of an endpoint's scoring routes.

    The endpoint's name is in the path, because only `localhost` resolves on every machine.
    """
    return f"/inference/{endpoint.document['location']}/{endpoint.name}"


def find_by_region(emulator: Emulator, region: str, name: str) -> Resource | None:
    """Return the endpoint with this name in a region, or None. Names are unique per region."""
    for one in emulator.store.find(ENDPOINT_TYPE):
        if one.name.lower() == name.lower() and one.document["location"].lower() == region.lower():
            return one
    return None


def require_endpoint(call: Call, source: Store | LaggingView | None = None) -> Resource:
    """Return the endpoint in the path, from the store or from what a reader sees. Raises the 404."""
    found = (source or call.emulator.store).get(call.id(ENDPOINT_PATH))
    if found is None:
        raise errors.not_found("Endpoint", call.params["endpoint"])
    return found


def find_deployments(emulator: Emulator, endpoint_id: str) -> list[Resource]:
    """Return the online deployments of an endpoint, or of all endpoints if the id is empty."""
    return emulator.store.find(DEPLOYMENT_TYPE, endpoint_id)


def raise_if_busy(call: Call) -> None:
    """Raise the 409 while an operation changes the endpoint or one of its online deployments."""
    running = call.emulator.operations.running_on(call.id(ENDPOINT_PATH))
    if running is not None:
        raise errors.endpoint_busy(running.method, call.params["endpoint"])


def new_operation(call: Call, prefix: str, method: str, resource: Resource, action: str) -> Operation:
    """Return a new operation on `resource`, with declared faults applied. It is not stored yet.

    Args:
        action: Name of the profile's duration, such as `create endpoint`.
    """
    emulator, request = call.emulator, call.request
    now = emulator.clock.now()
    operation = Operation(
        id=new_operation_id(prefix, call.workspace.properties["workspaceId"]),
        method=method,  # type: ignore[arg-type]
        resource=resource.id,
        region=resource.document["location"],
        started=now,
        not_before=now + emulator.profile.seconds(action),
        lags=lags_of(call),
    )
    faults.apply_to_operation(emulator.faults, request.method, request.url.path, operation)
    return operation


def with_state(resource: Resource, state: str) -> Resource:
    """Return a copy of the resource in another provisioning state."""
    properties = {**resource.properties, "provisioningState": state}
    return Resource(resource.type, {**resource.document, "properties": properties}, resource.private, resource.sequence)


def endpoint_document(call: Call, endpoint: Resource) -> Document:
    """Return an endpoint as the caller sees it. It has scoring URIs once it has been created."""
    uris: Document = {"scoringUri": None, "swaggerUri": None}
    if endpoint.private["is_created"]:
        base = call.emulator.url + scoring_path(endpoint)
        uris = {"scoringUri": scoring_uri(call.emulator, endpoint), "swaggerUri": f"{base}/swagger.json"}
    return shown_to(call, {**endpoint.document, "properties": {**endpoint.properties, **uris}})


def scoring_uri(emulator: Emulator, endpoint: Resource) -> str:
    """Return the address for scoring requests."""
    return emulator.url + scoring_path(endpoint) + _scoring_route(emulator, endpoint)


def _scoring_route(emulator: Emulator, endpoint: Resource) -> str:
    """Return the scoring route of the online deployment that was created last, of those that can serve.

    An endpoint with a custom container was seen with its scoring route. Which of several it has is our choice.
    """
    routes = [one.private.get("scoring_route") for one in find_deployments(emulator, endpoint.id)]
    return next((str(route) for route in reversed(routes) if route), Routes().scoring.path)


FIELD_TYPES: dict[str, type] = {
    "location": str,
    "tags": dict,
    "properties": dict,
    "properties.authMode": str,
    "properties.description": str,
    "properties.compute": str,
    "properties.publicNetworkAccess": str,
    "properties.traffic": dict,
    "properties.mirrorTraffic": dict,
    "properties.properties": dict,
    "properties.keys": dict,
    "properties.keys.primaryKey": str,
    "properties.keys.secondaryKey": str,
}


def put_endpoint(call: Call) -> Response:
    emulator, name = call.emulator, call.params["endpoint"]
    check_field_types(call.body, FIELD_TYPES)
    check_tags(call.body.get("tags"))
    raise_problems(check_name(name, "Endpoint"))
    if not call.body.get("location"):
        raise errors.location_required()
    raise_if_busy(call)
    before = emulator.store.get(call.id(ENDPOINT_PATH))
    properties = call.body.get("properties") or {}
    usable = {
        one.name.lower(): bool(one.private.get("serving")) for one in find_deployments(emulator, call.id(ENDPOINT_PATH))
    }
    traffic, mirror = properties.get("traffic") or {}, properties.get("mirrorTraffic") or {}
    raise_problems(
        check_endpoint(properties), check_traffic(traffic, mirror, usable), check_compute(call, before, properties)
    )
    if before is None:
        return _create(call, name, properties)
    if not before.private["is_created"]:
        raise errors.endpoint_creation_failed(name)
    return _update(call, before, properties)


def _create(call: Call, name: str, properties: Document) -> Response:
    emulator, location = call.emulator, str(call.body["location"])
    if call.workspace.properties["v1LegacyMode"]:
        raise errors.workspace_in_legacy_mode(call.workspace.name)
    is_taken = name.lower() in (taken.lower() for taken in emulator.seed.taken_endpoint_names)
    if is_taken or find_by_region(emulator, location, name) is not None:
        raise errors.endpoint_name_taken(name, location)
    raise_problems(check_endpoint_count(emulator, emulator.store.find(ENDPOINT_TYPE), location))
    given = properties.get("keys") or {}
    keys = {which: given.get(f"{which}Key") or token_urlsafe(24) for which in ("primary", "secondary")}
    document: Document = {
        "id": call.id(ENDPOINT_PATH),
        "name": name,
        "type": ENDPOINT_TYPE,
        "location": location,
        "kind": KUBERNETES if properties.get("compute") else "Managed",
        "tags": call.body.get("tags") or {},
        "identity": new_identity(call.body, emulator.seed),
        "properties": _stored_properties(properties, {"azureml.onlineendpointid": call.id(ENDPOINT_PATH).lower()}),
        "systemData": call.endpoint_system_data(),
    }
    endpoint = Resource(ENDPOINT_TYPE, document, {"keys": keys, "is_created": False, "guid": str(uuid4())})
    operation = new_operation(call, "oeidp", "PUT", endpoint, "create endpoint")
    operation.result, operation.outcome = document, "Succeeded"
    operation.private = {"on_success": {"is_created": True}}
    return _start_operation(call, operation, with_state(endpoint, "Creating"), 201)


def _update(call: Call, before: Resource, properties: Document) -> Response:
    if str(call.body["location"]).lower() != before.document["location"].lower():
        raise errors.location_is_immutable(before.id, before.document["location"], str(call.body["location"]))
    kept = {key: value for key, value in before.properties["properties"].items() if key.startswith("azureml.")}
    document = {
        **before.document,
        "tags": call.body.get("tags") or {},
        "identity": kept_identity(call.body, before.document["identity"]),
        "properties": _stored_properties({**properties, "compute": before.properties["compute"]}, kept),
        "systemData": call.endpoint_system_data(before.document),
    }
    operation = new_operation(call, "oeidp", "PUT", before, "update endpoint")
    operation.result, operation.outcome = document, "Succeeded"
    return _start_operation(call, operation, with_state(before, "Updating"), 201)


def patch_endpoint(call: Call) -> Response:
    """PATCH: change tags and identity only (PartialMinimalTrackedResourceWithIdentity)."""
    before = require_endpoint(call)
    check_field_types(call.body, FIELD_TYPES)
    tags = merge_tags(before, call.body.get("tags"))
    raise_if_busy(call)
    if not before.private["is_created"]:
        raise errors.endpoint_creation_failed(before.name)
    document = {
        **before.document,
        "tags": tags,
        "identity": kept_identity(call.body, before.document["identity"]),
        "properties": {**before.properties, "properties": dict(before.properties["properties"])},
        "systemData": call.endpoint_system_data(before.document),
    }
    operation = new_operation(call, "oeidp", "PATCH", before, "update endpoint")
    operation.result, operation.outcome = document, "Succeeded"
    return _start_operation(call, operation, with_state(before, "Updating"), 202)


def merge_tags(before: Resource, given: Document | None) -> Document:
    """Return a resource's tags after a PATCH, which adds tags, and removes those with null (RFC 7396, as ARM requires).

    Raises ARM's error if they exceed the limits of tags.
    """
    merged = {**before.document["tags"], **(given or {})}
    tags = {name: value for name, value in merged.items() if value is not None}
    check_tags(tags)
    return tags


def _stored_properties(properties: Document, always: Document) -> Document:
    """Return the properties to store: the caller's, with Azure's defaults and spelling, without secrets.

    `always` is added to the property bag `properties`.
    """
    spelled = {mode.lower(): mode for mode in ("Key", "AMLToken", "AADToken")}
    access = str(properties.get("publicNetworkAccess") or "Enabled").capitalize()
    return {
        "authMode": spelled[str(properties["authMode"]).lower()],
        "description": properties.get("description"),
        "compute": properties.get("compute"),
        "publicNetworkAccess": access,
        "traffic": properties.get("traffic") or {},
        "mirrorTraffic": properties.get("mirrorTraffic") or {},
        "properties": {**(properties.get("properties") or {}), **always},
    }


def _start_operation(call: Call, operation: Operation, shown: Resource, status: int) -> Response:
    for document in (shown.document, operation.result):
        if document is not None:
            document["properties"]["properties"][OPERATION_ADDRESS] = operation_url(call, operation)
    call.emulator.operations.start(operation, shown)
    return accepted_response(call, operation, endpoint_document(call, shown), status)


def get_endpoint(call: Call) -> Response:
    return JSONResponse(endpoint_document(call, require_endpoint(call, call.emulator.operations.views["reads"])))


def list_endpoints(call: Call) -> Response:
    found = select_endpoints(call, call.emulator.operations.views["lists"].find(ENDPOINT_TYPE, call.workspace.id))
    documents = [endpoint_document(call, one) for one in found]
    return paginate(call, documents, size="count", continued_by="$skip")


def delete_endpoint(call: Call) -> Response:
    emulator = call.emulator
    endpoint = emulator.store.get(call.id(ENDPOINT_PATH))
    if endpoint is None:
        return Response(status_code=204)
    raise_if_busy(call)
    action = "delete endpoint" if find_deployments(emulator, endpoint.id) else "delete empty endpoint"
    operation = new_operation(call, "oeidp", "DELETE", endpoint, action)
    emulator.operations.start(operation, with_state(endpoint, "Deleting"))
    if operation.outcome is None:
        emulator.spawn(remove_endpoint(emulator, operation), f"delete {endpoint.id}")
    return accepted_response(call, operation, None, 202)


async def remove_endpoint(emulator: Emulator, operation: Operation) -> None:
    """Delete an endpoint: drain and stop all its online deployments, then end the operation."""
    for deployment in find_deployments(emulator, operation.resource):
        await emulator.fleet.remove(deployment.id)
    emulator.operations.set_outcome(operation)


def list_keys(call: Call) -> Response:
    keys = require_endpoint(call).private["keys"]
    return JSONResponse({"primaryKey": keys["primary"], "secondaryKey": keys["secondary"]})


def regenerate_keys(call: Call) -> Response:
    endpoint = require_endpoint(call)
    which = str(call.body.get("keyType")).lower()
    if which not in ("primary", "secondary"):
        raise errors.invalid_request({"KeyType": ["must be Primary or Secondary."]})
    raise_if_busy(call)
    keys: dict[str, str] = endpoint.private["keys"]
    wanted = call.body.get("keyValue")  # azure-ai-ml sends the current key here, and expects a new one
    is_given = isinstance(wanted, str) and bool(wanted) and wanted != keys[which]
    keys = {**keys, which: str(wanted) if is_given else token_urlsafe(24)}
    operation = new_operation(call, "oeidp", "POST", endpoint, "regenerate keys")
    operation.outcome, operation.result = "Succeeded", endpoint.document
    operation.private = {"on_success": {"keys": keys}}
    call.emulator.operations.start(operation, with_state(endpoint, "Updating"))
    return accepted_response(call, operation, None, 202)


def get_token(call: Call) -> Response:
    """Issue a token of the endpoint, for auth mode `aml_token`."""
    endpoint = require_endpoint(call)
    if endpoint.properties["authMode"] != "AMLToken":
        raise errors.invalid_request({"AuthMode": ["Tokens are given out only with auth mode AMLToken."]})
    return JSONResponse(call.emulator.endpoint_tokens.issue(call.workspace, endpoint, call.client_id))


def without_deployment(endpoint: Resource, name: str) -> Resource:
    """Return the endpoint with an online deployment's name removed from its weights."""
    weights = {
        field: {key: value for key, value in endpoint.properties[field].items() if key.lower() != name.lower()}
        for field in ("traffic", "mirrorTraffic")
    }
    document = {**endpoint.document, "properties": {**endpoint.properties, **weights}}
    return Resource(endpoint.type, document, endpoint.private, endpoint.sequence)


def parent_endpoint_id(deployment_id: str) -> str:
    """Return the endpoint's id from the id of an online deployment. An endpoint's id is returned unchanged."""
    return re.sub(r"/deployments/[^/]+$", "", deployment_id, flags=re.IGNORECASE)


ROUTES = [
    workspace_route("GET", "/onlineEndpoints", list_endpoints),
    workspace_route("GET", ENDPOINT_PATH, get_endpoint),
    workspace_route("PUT", ENDPOINT_PATH, put_endpoint),
    workspace_route("PATCH", ENDPOINT_PATH, patch_endpoint),
    workspace_route("DELETE", ENDPOINT_PATH, delete_endpoint),
    workspace_route("POST", f"{ENDPOINT_PATH}/listKeys", list_keys),
    workspace_route("POST", f"{ENDPOINT_PATH}/regenerateKeys", regenerate_keys),
    workspace_route("POST", f"{ENDPOINT_PATH}/token", get_token),
]
