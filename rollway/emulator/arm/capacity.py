"""Virtual machine sizes of a region, and its cores in use by family."""

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.endpoints import find_deployments
from rollway.emulator.arm.quota import all_vm_sizes, used_cores
from rollway.emulator.arm.resource_manager import PROVIDER, ArmRoute, Call, paginate
from rollway.emulator.arm.workspaces import LOCATION_PATH
from rollway.emulator.core.errors import Document

NO_LIMIT = -1
# Compute types that can use a size. MIR, the inference runtime, is managed online endpoints.
COMPUTE_TYPES = ["AmlCompute", "ComputeInstance", "MIR"]


def list_vm_sizes(call: Call) -> Response:
    """GET `vmSizes`: the sizes that the emulator knows, which are the same in all regions."""
    sizes = [
        {"name": name, "family": size.family, "vCPUs": size.cores, "supportedComputeTypes": COMPUTE_TYPES}
        for name, size in all_vm_sizes(call.emulator).items()
    ]
    return JSONResponse({"value": sizes})


def list_usages(call: Call) -> Response:
    """GET `usages`: dedicated and low-priority cores of each family. Low-priority cores are never used."""
    emulator, region = call.emulator, call.params["location"]
    limits = {family.lower(): cores for family, cores in emulator.seed.vm_quotas.items()}
    deployments = find_deployments(emulator, "")
    families = {size.family.lower(): size.family for size in all_vm_sizes(emulator).values()}
    usages = []
    for key, family in families.items():
        used = used_cores(emulator, deployments, family, region)
        usages.append(_usage_document(call, "dedicatedCores", family, used, limits.get(key, NO_LIMIT)))
        usages.append(_usage_document(call, "lowPriorityCores", family, 0, NO_LIMIT))
    return paginate(call, usages, default_size=len(usages) or 1)


def _usage_document(call: Call, kind: str, family: str, used: int, limit: int) -> Document:
    return {
        "id": f"/subscriptions/{call.emulator.seed.subscription_id}/providers/{PROVIDER}/usages/{family}",
        "type": f"{PROVIDER}/vmFamily/{kind}/usages",
        "amlWorkspaceLocation": call.params["location"],
        "unit": "Count",
        "currentValue": used,
        "limit": limit,
        "name": {"value": family, "localizedValue": family},
    }


ROUTES = [
    ArmRoute("GET", f"{LOCATION_PATH}/vmSizes", list_vm_sizes),
    ArmRoute("GET", f"{LOCATION_PATH}/usages", list_usages),
]
