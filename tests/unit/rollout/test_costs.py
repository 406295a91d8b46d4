"""Coarse classes of what machines cost."""

import pytest

from rollway.rollout.costs import CostClass, cost_class


@pytest.mark.parametrize(
    ("instance_type", "count", "expected"),
    [
        ("Standard_DS1_v2", 4, CostClass.SMALL),
        ("Standard_DS3_v2", 1, CostClass.SMALL),  # 4 cores: the number counts sizes
        ("Standard_DS3_v2", 2, CostClass.MEDIUM),
        ("Standard_D4", 2, CostClass.MEDIUM),
        ("Standard_DS14_v2", 1, CostClass.MEDIUM),
        ("Standard_DS15_v2", 1, CostClass.LARGE),
        ("Standard_D2as_v4", 2, CostClass.SMALL),
        ("Standard_D4as_v4", 2, CostClass.MEDIUM),
        ("Standard_D16as_v4", 1, CostClass.MEDIUM),
        ("Standard_D16as_v4", 2, CostClass.LARGE),
        ("standard_f2s_v2", 1, CostClass.SMALL),
        ("Standard_E64-16ds_v4", 1, CostClass.LARGE),
        ("Standard_NC6s_v3", 1, CostClass.GPU),
        ("Standard_NC4as_T4_v3", 1, CostClass.GPU),
        ("Standard_ND96amsr_A100_v4", 1, CostClass.GPU),
        ("defaultinstancetype", 1, CostClass.UNKNOWN),
        ("Standard_", 1, CostClass.UNKNOWN),
        (None, 1, CostClass.UNKNOWN),
    ],
)
def test_the_class_follows_from_family_cores_and_instances(
    instance_type: str | None, count: int, expected: CostClass
) -> None:
    assert cost_class(instance_type, count) is expected
