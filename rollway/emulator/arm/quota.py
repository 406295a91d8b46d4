"""Limits of the subscription: endpoints, online deployments, and cores with Azure's reserve."""

from dataclasses import dataclass
from math import ceil

from rollway.emulator.arm.validation import Problems
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource
from rollway.emulator.state import Emulator

# how-to-manage-quotas: Azure reserves 20 % more instances for upgrades.
RESERVE = 1.2
HELP = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-outofquota"


@dataclass(frozen=True)
class VmSize:
    """A virtual machine size: the family of its quota, its cores, and `is_exempt` if it needs no reserve."""

    family: str
    cores: int
    is_exempt: bool = False


def _sizes(family: str, *sizes: tuple[str, int], is_exempt: bool = False) -> dict[str, VmSize]:
    return {f"Standard_{name}": VmSize(family, cores, is_exempt) for name, cores in sizes}


# A small part of reference-managed-online-endpoints-vm-sku-list. A seed can add others. Exempt: how-to-manage-quotas.
VM_SIZES = {
    **_sizes("standardDSv2Family", ("DS1_v2", 1), ("DS2_v2", 2), ("DS3_v2", 4), ("DS4_v2", 8), ("DS5_v2", 16)),
    **_sizes("standardDASv4Family", ("D2as_v4", 2), ("D4as_v4", 4), ("D8as_v4", 8), ("D16as_v4", 16)),
    **_sizes("standardFSv2Family", ("F2s_v2", 2), ("F4s_v2", 4), ("F8s_v2", 8), ("F16s_v2", 16), ("F32s_v2", 32)),
    **_sizes("standardESv3Family", ("E2s_v3", 2), ("E4s_v3", 4), ("E8s_v3", 8), ("E16s_v3", 16), ("E32s_v3", 32)),
    **_sizes("standardNCASv3_T4Family", ("NC4as_T4_v3", 4), ("NC8as_T4_v3", 8), ("NC16as_T4_v3", 16)),
    **_sizes("standardNCSv3Family", ("NC6s_v3", 6), ("NC12s_v3", 12), ("NC24s_v3", 24)),
    **_sizes("standardNDSv2Family", ("ND40rs_v2", 40), is_exempt=True),
    **_sizes(
        "standardNCADSA100v4Family",
        *(("NC24ads_A100_v4", 24), ("NC48ads_A100_v4", 48), ("NC96ads_A100_v4", 96)),
        is_exempt=True,
    ),
    **_sizes("standardNDASv4_A100Family", ("ND96asr_v4", 96), is_exempt=True),
    **_sizes("standardNDAMSv4_A100Family", ("ND96amsr_A100_v4", 96), is_exempt=True),
}


def find_vm_size(emulator: Emulator, name: str) -> VmSize | None:
    """Return a size of the table or the seed by name, ignoring case, or None."""
    return next((size for known, size in all_vm_sizes(emulator).items() if known.lower() == name.lower()), None)


def all_vm_sizes(emulator: Emulator) -> dict[str, VmSize]:
    """Return all sizes by name. A size of the seed replaces one of the table."""
    seeded = {name: VmSize(size.family, size.cores) for name, size in emulator.seed.vm_sizes.items()}
    hidden = {name.lower() for name in seeded}
    return {**seeded, **{name: size for name, size in VM_SIZES.items() if name.lower() not in hidden}}


def cores_needed(size: VmSize, instances: int) -> int:
    """Return the cores that `instances` take from the quota, including Azure's reserve."""
    return (instances if size.is_exempt else ceil(round(RESERVE * instances, 6))) * size.cores


def check_cores(emulator: Emulator, deployments: list[Resource], wanted: Document) -> Problems:
    """Return the problems if the size is unknown, or the quota of its family has no room for `wanted`.

    A family without a quota in the seed has no limit. Failed online deployments count, because they keep their
    machines.

    Args:
        deployments: All online deployments.
        wanted: Document of the online deployment to create or update.
    """
    name = str(wanted["properties"].get("instanceType") or "")
    size = find_vm_size(emulator, name)
    if size is None:
        return {"VmSize": [f"{name} is not a size that managed online endpoints offer, or the emulator knows."]}
    limits = {family.lower(): cores for family, cores in emulator.seed.vm_quotas.items()}
    limit = limits.get(size.family.lower())
    if limit is None:
        return {}
    same = [one for one in deployments if one.id.lower() == wanted["id"].lower()]
    used = used_cores(emulator, deployments, size.family, wanted["location"])
    before = used_cores(emulator, same, size.family, wanted["location"])
    additional = cores_needed(size, wanted["sku"]["capacity"]) - before
    if used + max(additional, 0) <= limit:
        return {}
    text = (
        f"Not enough quota available for {name} in SubscriptionId {emulator.seed.subscription_id}. "
        f"Current usage/limit: {used}/{limit}. Additional needed: {additional}. {HELP}"
    )
    return {"VmSize": [text]}


def used_cores(emulator: Emulator, deployments: list[Resource], family: str, region: str) -> int:
    """Return the cores that online deployments take from a family's quota in a region, including the reserve."""
    used = 0
    for document in (_largest_document(emulator, one) for one in deployments):
        size = find_vm_size(emulator, str(document["properties"].get("instanceType") or ""))
        if size is not None and (size.family.lower(), region.lower()) == (family.lower(), document["location"].lower()):
            used += cores_needed(size, document["sku"]["capacity"])
    return used


def _largest_document(emulator: Emulator, deployment: Resource) -> Document:
    """Return the document with the most instances: the current one, or the result of a running operation."""
    documents = [deployment.document]
    for operation in emulator.operations.running.values():
        if operation.resource.lower() == deployment.id.lower() and operation.result is not None:
            documents.append(operation.result)
    return max(documents, key=lambda document: int(document["sku"]["capacity"]))


def check_endpoint_count(emulator: Emulator, existing: list[Resource], region: str) -> Problems:
    """Return the problems if the region has no room for one more endpoint, across all workspaces."""
    most = emulator.seed.limits.endpoints_per_region
    if sum(one.document["location"].lower() == region.lower() for one in existing) < most:
        return {}
    text = f"OutOfQuota: a subscription can have at most {most} online endpoints in region {region}. {HELP}"
    return {"Endpoint": [text]}


def check_deployment_count(emulator: Emulator, endpoint_id: str, existing: list[Resource]) -> Problems:
    """Return the problems if endpoint or subscription has no room for one more online deployment.

    `existing` are all online deployments of the subscription.
    """
    limits = emulator.seed.limits
    if len(existing) >= limits.deployments_per_subscription:
        most = limits.deployments_per_subscription
        return {"Deployment": [f"OutOfQuota: a subscription can have at most {most} online deployments. {HELP}"]}
    if sum(one.id.lower().startswith(f"{endpoint_id.lower()}/") for one in existing) < limits.deployments_per_endpoint:
        return {}
    most = limits.deployments_per_endpoint
    return {"Deployment": [f"OutOfQuota: an endpoint can have at most {most} deployments. {HELP}"]}
