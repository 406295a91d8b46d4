"""Cores of virtual machines, by the names and the arithmetic of Azure."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.quota import FamilyUsage, Usage, VmSize, cores_needed


@given(st.integers(1, 50), st.integers(1, 96))
def test_a_fifth_more_instances_are_reserved_rounded_up(instances: int, cores: int) -> None:
    size = VmSize(name="any", family="any", cores=cores)

    assert cores_needed(size, instances) == math.ceil(instances * 12 / 10) * cores


def test_the_example_of_azures_documentation() -> None:
    assert cores_needed(VmSize(name="Standard_DS3_v2", family="any", cores=4), 10) == 48


@pytest.mark.parametrize("name", ["Standard_ND40rs_v2", "STANDARD_NC24ads_A100_v4"])
def test_nothing_is_reserved_for_exempt_sizes(name: str) -> None:
    assert cores_needed(VmSize(name=name, family="any", cores=40), 3) == 120


@pytest.mark.parametrize(
    ("listed", "asked", "is_found"),
    [
        ("Standard DSv2 Family Cluster Dedicated vCPUs", "standardDSv2Family", True),
        ("Standard NCASv3_T4 Family Cluster Dedicated vCPUs", "standardNCASv3_T4Family", True),
        ("Standard_DSv2_Family_Cluster_Dedicated_vCPUs", "standardDSv2Family", True),
        ("standardDSv2Family", "STANDARDDSV2FAMILY", True),
        ("standardDv2Family", "standardDSv2Family", False),
    ],
)
def test_a_family_is_found_under_any_of_its_names(listed: str, asked: str, is_found: bool) -> None:
    usage = Usage(sizes=(), families=(FamilyUsage(family=listed, used=1, limit=2),))

    assert (usage.family(asked) is not None) == is_found
