"""Sizes of virtual machines and used cores of a region, read through the SDK."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from azure.core.exceptions import AzureError

from rollway.azure.session import Session
from rollway.azure.threads import in_thread
from rollway.rollout.quota import FamilyUsage, Usage, VmSize

# azure-rest-api-specs, Microsoft.MachineLearningServices, examples VirtualMachineSize/list.json and Usage/list.json.
_ONLINE_ENDPOINTS = "mir"  # among the compute types that a size supports
_FAMILY_OF_SUBSCRIPTION = (
    "/vmfamily/"  # in the type of a usage; other types repeat its cores for workspaces and clusters
)
_LOW_PRIORITY = "lowpriority"


async def read_usage(session: Session, region: str) -> Usage | None:
    """Return the region's sizes and usage, or None if they cannot be read.

    They belong to the subscription, so a role on the workspace is not enough, and they are only a forecast. Therefore
    no error here stops a rollout.
    """
    try:
        sizes, usages = await asyncio.gather(
            in_thread(session.ml.compute.list_sizes, location=region),
            in_thread(lambda: list(session.ml.compute.list_usage(location=region))),
        )
    except AzureError:
        return None
    return Usage(sizes=tuple(_sizes(sizes)), families=tuple(_families(usages)))


def _sizes(found: Iterable[Any]) -> Iterator[VmSize]:
    for size in found:
        values = _values(size)
        if values.get("name") and values.get("family") and values.get("vCPUs"):
            supported = [str(one).lower() for one in values.get("supportedComputeTypes") or []]
            yield VmSize(
                name=values["name"],
                family=values["family"],
                cores=values["vCPUs"],
                is_for_endpoints=not supported or _ONLINE_ENDPOINTS in supported,
            )


def _families(found: Iterable[Any]) -> Iterator[FamilyUsage]:
    for usage in found:
        values = _values(usage)
        name, kind = str((values.get("name") or {}).get("value") or ""), str(values.get("type") or "").lower()
        is_dedicated = _LOW_PRIORITY not in kind and _LOW_PRIORITY not in name.lower()
        if name and is_dedicated and _FAMILY_OF_SUBSCRIPTION in kind:
            limit = values.get("limit")
            yield FamilyUsage(
                family=name,
                used=values.get("currentValue") or 0,
                limit=None if limit is None or limit < 0 else limit,  # -1: unlimited
            )


def _values(entity: Any) -> dict[str, Any]:
    # The SDK fills its entities with the wire's names and leaves its own attributes empty:
    # azure/ai/ml/entities/_compute/_usage.py and _vm_size.py, _from_rest_object.
    values: dict[str, Any] = vars(entity)
    return values
