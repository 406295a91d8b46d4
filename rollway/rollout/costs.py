"""What machines cost, coarsely: a class by cores and family, never a price, because prices differ and change."""

import re
from enum import StrEnum


class CostClass(StrEnum):
    """How much virtual machines cost in a month, from their cores together; those with GPUs are their own class."""

    SMALL = "small"  # up to 4 cores
    MEDIUM = "medium"  # up to 16 cores
    LARGE = "large"  # more
    GPU = "gpu"  # any machine of the N family
    UNKNOWN = "unknown"  # not a size of Azure's virtual machines, such as an instance type of an own cluster


SMALL_CORES, MEDIUM_CORES = 4, 16
# learn.microsoft.com/azure/virtual-machines/vm-naming-conventions: family, cores, features, accelerator, version.
_SIZE = re.compile(r"standard_(?P<family>[a-z]+?)(?P<number>\d+)(?:-\d+)?[a-z]*(_[a-z0-9]+)*", re.IGNORECASE)
# The sizes of the D, DS and Dv2, DSv2 families are numbered instead.
_NUMBERED = {1: 1, 2: 2, 3: 4, 4: 8, 5: 16, 11: 2, 12: 4, 13: 8, 14: 16, 15: 20}
_IS_NUMBERED = re.compile(r"standard_ds?\d+(_v2)?", re.IGNORECASE)


def cost_class(instance_type: str | None, instance_count: int) -> CostClass:
    """The class of so many instances of a virtual machine size, such as `Standard_DS3_v2`, together."""
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
