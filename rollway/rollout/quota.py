"""Cores of virtual machines: quota and usage of a region, and the cores that an online deployment needs."""

from rollway.spec import Frozen

# Azure reserves 20 % more instances for upgrades, except of these: "Managed online endpoints SKU list", last note.
EXEMPT_SIZES = frozenset(
    {
        "standard_nc24ads_a100_v4",
        "standard_nc48ads_a100_v4",
        "standard_nc96ads_a100_v4",
        "standard_nd96asr_v4",
        "standard_nd96amsr_a100_v4",
        "standard_nd40rs_v2",
    }
)


class VmSize(Frozen):
    """A size of virtual machines; `is_for_endpoints` is True if Azure lists it for managed online endpoints."""

    name: str
    family: str
    cores: int
    is_for_endpoints: bool = True


class FamilyUsage(Frozen):
    """Used cores of one family in a region and their limit; None for no limit."""

    family: str
    used: int
    limit: int | None


class Usage(Frozen):
    """Sizes of a region and the usage of each family, as Azure reports them."""

    sizes: tuple[VmSize, ...]
    families: tuple[FamilyUsage, ...]

    def size(self, name: str) -> VmSize | None:
        """Return the size of that name, ignoring case, or None."""
        return next((one for one in self.sizes if one.name.lower() == name.lower()), None)

    def family(self, name: str) -> FamilyUsage | None:
        """Return the usage of a family, or None if Azure does not list it."""
        return next((one for one in self.families if self.is_same_family(one.family, name)), None)

    @staticmethod
    def is_same_family(one: str, other: str) -> bool:
        """Return True if both name one family, such as `standardDSv2Family` and `Standard DSv2 Family vCPUs`."""
        return _key(one) == _key(other)


def cores_needed(size: VmSize, instances: int) -> int:
    """Return the cores that the instances take from the quota, including Azure's reserve."""
    if size.name.lower() in EXEMPT_SIZES:
        return instances * size.cores
    return (6 * instances + 4) // 5 * size.cores  # ceil(1.2 x instances), in whole numbers


def _key(family: str) -> str:
    letters = "".join(letter for letter in family.lower() if letter.isalnum())
    return letters.removesuffix("clusterdedicatedvcpus")
