"""Sizes of online deployments: GET `…/skus`, and the `sku` of a PATCH."""

from starlette.responses import Response

from rollway.emulator.arm.online_deployments import DEPLOYMENT_PATH, require_deployment
from rollway.emulator.arm.resource_manager import Call, paginate, workspace_route
from rollway.emulator.arm.validation import MAX_INSTANCES
from rollway.emulator.core.errors import Document

# The type in the only documented answer, the example of the REST specification (ManagedOnlineDeployment/listSkus).
RESOURCE_TYPE = "Microsoft.MachineLearning.Services/endpoints/deployments"


def list_skus(call: Call) -> Response:
    """List the one `sku` that online deployments have, with its numbers of instances.

    `Automatic` says that autoscale settings can scale it.
    """
    sku: Document = require_deployment(call).document["sku"]
    capacity = {"minimum": 1, "maximum": MAX_INSTANCES, "default": 1, "scaleType": "Automatic"}
    one = {"resourceType": RESOURCE_TYPE, "sku": {"name": sku["name"], "tier": sku["tier"]}, "capacity": capacity}
    return paginate(call, [one], size="count", continued_by="$skip")


ROUTES = [workspace_route("GET", f"{DEPLOYMENT_PATH}/skus", list_skus)]
