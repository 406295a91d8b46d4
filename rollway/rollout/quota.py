"""Cores of virtual machines: what a region offers, what is used of it, and what an online deployment takes."""

from rollway.spec import Frozen

# Azure keeps 20 % more instances for upgrades, but not of these: "Managed online endpoints SKU list", its last note.
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
    """A size of virtual machines; `is_for_endpoints` is whether Azure lists it for managed online endpoints."""

    name: str
    family: str
    cores: int
    is_for_endpoints: bool = True


class FamilyUsage(Frozen):
    """The cores of one family in one region; `limit` is None when there is none."""

    family: str
    used: int
    limit: int | None


class Usage(Frozen):
    """What Azure says of one region: its sizes, and how many cores of each family are used."""

    sizes: tuple[VmSize, ...]
    families: tuple[FamilyUsage, ...]

    def size(self, name: str) -> VmSize | None:
        """The size of that name, in any letter case."""
        return next((one for one in self.sizes if one.name.lower() == name.lower()), None)

    def family(self, name: str) -> FamilyUsage | None:
        """The usage of a family, or None when Azure does not list it."""
        return next((one for one in self.families if self.is_same_family(one.family, name)), None)

    @staticmethod
    def is_same_family(one: str, other: str) -> bool:
        """Whether two names mean one family: `standardDSv2Family`, `Standard DSv2 Family Cluster Dedicated vCPUs`."""
        return _key(one) == _key(other)


def cores_needed(size: VmSize, instances: int) -> int:
    """The cores that so many instances take from the quota, Azure's reserve among them."""
    if size.name.lower() in EXEMPT_SIZES:
        return instances * size.cores
    return (6 * instances + 4) // 5 * size.cores  # ceil(1.2 x instances), in whole numbers


def _key(family: str) -> str:
    letters = "".join(letter for letter in family.lower() if letter.isalnum())
    return letters.removesuffix("clusterdedicatedvcpus")
