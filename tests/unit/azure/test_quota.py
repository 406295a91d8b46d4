"""Sizes and quotas in the shapes of the API's examples."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.ai.ml._restclient.arm_ml_service.models import Usage as RestUsage
from azure.ai.ml._restclient.arm_ml_service.models import VirtualMachineSize
from azure.ai.ml.entities import Usage, VmSize
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ServiceRequestError

from rollway.azure.quota import read_usage
from rollway.azure.session import Session
from tests.support.fake_azure import run

AML = "Microsoft.MachineLearningServices"
DSV2 = "Standard DSv2 Family Cluster Dedicated vCPUs"


def a_session(sizes: Any = (), usages: Any = ()) -> Session:
    """Return a session whose SDK returns these values; exceptions are raised."""

    def give(answer: Any) -> Any:
        def call(location: str) -> Any:
            assert location == "westeurope"
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    compute = SimpleNamespace(list_sizes=give(sizes), list_usage=give(usages))
    return cast(Session, SimpleNamespace(ml=SimpleNamespace(compute=compute)))


def a_usage(name: str = DSV2, kind: str = "vmFamily", used: int = 2, limit: int = 24) -> Usage:
    wire = {"type": f"{AML}/{kind}/usages", "currentValue": used, "limit": limit, "name": {"value": name}}
    return Usage._from_rest_object(RestUsage(wire))


def a_size(**wire: Any) -> VmSize:
    return VmSize._from_rest_object(
        VirtualMachineSize({"name": "Standard_DS3_v2", "family": "standardDSv2Family", "vCPUs": 4, **wire})
    )


def test_only_the_dedicated_cores_of_the_subscriptions_families_are_read() -> None:
    usages = [
        a_usage("Total Cluster Dedicated Regional vCPUs", "dedicatedCores", 14),
        a_usage(),
        a_usage("standardNCSv3Family", "vmFamily/dedicatedCores", 12),
        a_usage("standardNCSv3Family", "vmFamily/lowPriorityCores", 5),
        a_usage("Standard DSv2 Family Cluster LowPriority vCPUs", "vmFamily", 18, -1),
        a_usage(kind="workspaces", used=1),
        a_usage(kind="workspaces/computes", used=1),
        a_usage("standardFSv2Family", limit=-1),
    ]

    found = run(read_usage(a_session(usages=usages), "westeurope"))

    assert found is not None
    assert [(one.family, one.used, one.limit) for one in found.families] == [
        (DSV2, 2, 24),
        ("standardNCSv3Family", 12, 24),
        ("standardFSv2Family", 2, None),
    ]


@pytest.mark.parametrize(
    ("types", "is_for_endpoints"),
    [(["AmlCompute", "MIR"], True), (["AmlCompute", "ComputeInstance"], False), (None, True)],
)
def test_a_size_says_whether_online_endpoints_may_use_it(types: list[str] | None, is_for_endpoints: bool) -> None:
    found = run(read_usage(a_session(sizes=[a_size(supportedComputeTypes=types)]), "westeurope"))

    assert found is not None
    (size,) = found.sizes
    assert (size.name, size.family, size.cores) == ("Standard_DS3_v2", "standardDSv2Family", 4)
    assert size.is_for_endpoints is is_for_endpoints


@pytest.mark.parametrize(
    "error", [HttpResponseError("AuthorizationFailed"), ClientAuthenticationError("x"), ServiceRequestError("x")]
)
def test_usage_that_cannot_be_read_is_not_an_error(error: AzureError) -> None:
    assert run(read_usage(a_session(sizes=error), "westeurope")) is None
    assert run(read_usage(a_session(usages=error), "westeurope")) is None
