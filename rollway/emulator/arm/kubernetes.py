"""Kubernetes clusters that are attached to a workspace, and the rules for endpoints on them.

Only the control plane differs: containers still run on this machine, behind the same scoring gateway.
"""

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.resource_manager import PROVIDER, Call, paginate, workspace_route
from rollway.emulator.arm.validation import Problems
from rollway.emulator.core import errors
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource

COMPUTE_TYPE = f"{PROVIDER}/workspaces/computes"
KUBERNETES = "K8S"  # `kind` of endpoints and online deployments on a cluster
# Resources of the default instance type.
REQUESTS, LIMITS = {"cpu": "100m", "memory": "2Gi"}, {"cpu": "2", "memory": "2Gi"}
INSTANCE_TYPES = {
    "defaultinstancetype": {"nodeSelector": None, "resources": {"requests": REQUESTS, "limits": LIMITS}},
}
# azure-ai-ml crashes on a response without these.
RESOURCES = {"containerResourceRequests": REQUESTS, "containerResourceLimits": LIMITS}


def _attached_clusters(call: Call) -> list[str]:
    """Return the names of the clusters attached to the workspace."""
    parts = call.workspace.id.lower().split("/")
    for one in call.emulator.seed.workspaces:
        if (one.resource_group.lower(), one.name.lower()) == (parts[4], parts[8]):
            return list(one.kubernetes_computes)
    return []


def _compute_document(call: Call, name: str) -> Document:
    workspace = call.workspace
    group = workspace.id.partition("/providers/")[0]
    created = workspace.document["systemData"]["createdAt"]
    return {
        "id": f"{workspace.id}/computes/{name}",
        "name": name,
        "type": COMPUTE_TYPE,
        "location": workspace.document["location"],
        "tags": {},
        "properties": {
            "computeType": "Kubernetes",
            "computeLocation": workspace.document["location"],
            "description": None,
            "resourceId": f"{group}/providers/Microsoft.Kubernetes/connectedClusters/{name}",
            "isAttachedCompute": True,
            "disableLocalAuth": True,
            "provisioningState": "Succeeded",
            "provisioningErrors": None,
            "createdOn": created,
            "modifiedOn": created,
            "properties": {
                "namespace": "default",
                "defaultInstanceType": "defaultinstancetype",
                "instanceTypes": INSTANCE_TYPES,
            },
        },
    }


def list_computes(call: Call) -> Response:
    return paginate(call, [_compute_document(call, name) for name in _attached_clusters(call)])


def get_compute(call: Call) -> Response:
    for name in _attached_clusters(call):
        if name.lower() == call.params["compute"].lower():
            return JSONResponse(_compute_document(call, name))
    raise errors.not_found("Compute", call.params["compute"])


def check_compute(call: Call, before: Resource | None, properties: Document) -> Problems:
    """Return the problems with an endpoint's cluster.

    The cluster must be attached to the workspace and cannot be changed. Endpoints on it have no mirror traffic.
    """
    compute = properties.get("compute")
    if before is not None and compute and str(compute).lower() != str(before.properties["compute"]).lower():
        return {"Compute": [f"cannot be changed from {before.properties['compute']} to {compute}."]}
    known = {f"{call.workspace.id}/computes/{name}".lower() for name in _attached_clusters(call)}
    if compute and str(compute).lower() not in known:
        return {"Compute": [f"{compute} is not attached to the workspace."]}
    is_kubernetes = compute or (before is not None and before.properties["compute"])
    if is_kubernetes and any((properties.get("mirrorTraffic") or {}).values()):
        return {"MirrorTraffic": ["Kubernetes online endpoints have no mirror traffic."]}
    return {}


def compute_type(endpoint: Resource) -> str:
    """Return the compute type of an endpoint: `Managed` or `Kubernetes`."""
    return "Kubernetes" if endpoint.properties["compute"] else "Managed"


def check_compute_type(endpoint: Resource, properties: Document) -> Problems:
    """Return the problems with an online deployment's compute type and scale settings.

    The type must be the endpoint's. Only Kubernetes has scale type TargetUtilization.
    """
    wanted, problems = compute_type(endpoint), Problems()
    given = properties.get("endpointComputeType") or "Managed"
    if given != wanted:
        problems["EndpointComputeType"] = [f"{given} does not fit the endpoint, which is {wanted}."]
    settings = properties.get("scaleSettings") or {}
    kind = settings.get("scaleType", "Default")
    allowed = ("Default", "TargetUtilization") if wanted == "Kubernetes" else ("Default",)
    if kind not in allowed:
        problems["ScaleSettings.ScaleType"] = [f"must be {' or '.join(allowed)}."]
    if kind == "TargetUtilization":
        least, most = settings.get("minInstances") or 1, settings.get("maxInstances") or 1
        if not all(isinstance(one, int) and one >= 1 for one in (least, most)) or least > most:
            problems["ScaleSettings.MinInstances"] = ["must be 1 or more, and at most MaxInstances."]
    return problems


def with_default_capacity(properties: Document, sku: Document) -> Document:
    """Return the `sku`, with `minInstances` as capacity if scaling by utilization and the client gives none."""
    settings = properties.get("scaleSettings") or {}
    if settings.get("scaleType") == "TargetUtilization" and sku.get("capacity") is None:
        return {**sku, "capacity": settings.get("minInstances") or 1}
    return sku


ROUTES = [
    workspace_route("GET", "/computes", list_computes),
    workspace_route("GET", "/computes/{compute}", get_compute),
]
