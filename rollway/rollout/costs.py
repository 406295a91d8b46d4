"""Cost classes of machines, by cores and family. No prices: they differ by contract and change."""

import re
from enum import StrEnum


class CostClass(StrEnum):
    """Cost of the virtual machines of one online deployment, judged by the sum of their cores."""

    SMALL = "small"  # up to 4 cores
    MEDIUM = "medium"  # up to 16 cores
    LARGE = "large"  # more
    GPU = "gpu"  # any machine of the N family
    UNKNOWN = "unknown"  # not a size of Azure's virtual machines, for example an instance type of a Kubernetes cluster


SMALL_CORES, MEDIUM_CORES = 4, 16
# learn.microsoft.com/azure/virtual-machines/vm-naming-conventions: family, cores, features, accelerator, version.
_SIZE = re.compile(r"standard_(?P<family>[a-z]+?)(?P<number>\d+)(?:-\d+)?[a-z]*(_[a-z0-9]+)*", re.IGNORECASE)
# The sizes of the D, DS, Dv2 and DSv2 families have a number instead of their cores.
_NUMBERED = {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 11: 2, 12: 4, 13: 8, 14: 16, 15: 20}
_IS_NUMBERED = re.compile(r"standard_ds?\d+(_v2)?", re.IGNORECASE)


def cost_class(instance_type: str | None, instance_count: int) -> CostClass:
    """Return the class of all instances of a virtual machine size, such as `Standard_DS3_v2`, together."""
    size = _SIZE.fullmatch(instance_type or "")
    if size is None:
        return CostClass.UNKNOWN
    if size["family"].lower().startswith("n"):
        return CostClass.GPU
    cores = int(size["number"])
    if _IS_NUMBERED.fullmatch(size[0]):
        cores = _NUMBERED.get(cores, cores)
    total = cores * instance_count
    if total <= SMALL_CORES:
        return CostClass.SMALL
    return CostClass.MEDIUM if total <= MEDIUM_CORES else CostClass.LARGE
