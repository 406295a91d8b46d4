"""Sizes and quotas of a region through the unmodified SDK, and what the preflight makes of them."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model
from azure.core.exceptions import HttpResponseError

from rollway.azure.preflight import run_preflight
from rollway.azure.quota import read_usage
from rollway.azure.session import Session, WorkspaceFacts
from rollway.azure.session import connect as connect_to
from rollway.azure.state import read_endpoint
from rollway.rollout.preflight import NetworkFacts
from rollway.rollout.record import CREATED_BY
from rollway.settings import Workspace
from tests.contract.conftest import create_endpoint, describe, error_of
from tests.support.builders import a_plan, rollout_spec
from tests.support.emulator_process import EmulatorProcess

REGION, SIZE, FAMILY = "westeurope", "Standard_F4s_v2", "standardFSv2Family"


def session_of(client: MLClient) -> Session:
    return cast(Session, SimpleNamespace(ml=client))


def usages(client: MLClient, region: str = REGION) -> dict[tuple[str, str], tuple[int, int]]:
    """Return usage and limit by family and kind of cores."""
    found: list[dict[str, Any]] = [vars(one) for one in client.compute.list_usage(location=region)]
    return {
        (one["name"]["value"], one["type"].split("/")[2]): (one["currentValue"], one["limit"])
        for one in found
        if one["unit"] == "Count" and one["amlWorkspaceLocation"] == region
    }


@pytest.fixture
def held(
    client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess, name: str
) -> Callable[[int], str]:
    """Makes an endpoint whose online deployment `blue` holds so many machines; it failed, so it needs no container."""

    def hold(instances: int) -> str:
        create_endpoint(client, name)
        emulator.fail(operation="failed", method="PUT", path=f"/{name}/deployments/blue$", code="ResourceNotReady")
        wanted = describe(name, model, environment, instance_type=SIZE, instance_count=instances)
        with pytest.raises(HttpResponseError, match="ResourceNotReady"):
            client.online_deployments.begin_create_or_update(wanted).result()
        return name

    return hold


def test_the_sizes_of_a_region_have_family_and_cores(client: MLClient) -> None:
    sizes = {one.name: vars(one) for one in client.compute.list_sizes(location=REGION, compute_type="MIR")}

    assert (sizes[SIZE]["family"], sizes[SIZE]["vCPUs"]) == (FAMILY, 4)
    assert (sizes["Standard_DS3_v2"]["family"], sizes["Standard_DS3_v2"]["vCPUs"]) == ("standardDSv2Family", 4)


def test_usage_counts_the_cores_of_online_deployments_with_their_reserve(
    client: MLClient, held: Callable[[int], str]
) -> None:
    endpoint = held(2)
    during, elsewhere = usages(client), usages(client, "northeurope")
    client.online_endpoints.begin_delete(endpoint).result()

    assert during[FAMILY, "dedicatedCores"] == (12, 40)  # 1.2 x 2 = 2.4, so 3 instances of 4 cores
    assert during[FAMILY, "lowPriorityCores"] == (0, -1)
    assert elsewhere[FAMILY, "dedicatedCores"] == (0, 40)
    assert usages(client)[FAMILY, "dedicatedCores"] == (0, 40)


def test_a_family_without_a_quota_in_the_seed_has_no_limit(client: MLClient) -> None:
    assert usages(client)["standardNDSv2Family", "dedicatedCores"] == (0, -1)


@pytest.mark.parametrize("call", ["list_sizes", "list_usage"])
def test_sizes_and_usage_want_a_right_to_read(connect: Callable[..., MLClient], call: str) -> None:
    with pytest.raises(HttpResponseError) as caught:
        list(getattr(connect("stranger").compute, call)(location=REGION))

    assert (caught.value.status_code, error_of(caught.value).code) == (403, "AuthorizationFailed")
    assert "Microsoft.MachineLearningServices/locations/" in caught.value.message


def test_the_preflight_finds_a_full_quota_before_azure_does(
    client: MLClient, model: Model, environment: Environment, held: Callable[[int], str]
) -> None:
    endpoint = held(5)  # 24 of 40 cores
    state = asyncio.run(read_endpoint(session_of(client), endpoint))
    workspace = Workspace(subscription_id="any", resource_group="rollway", name="local")
    connected = WorkspaceFacts(
        workspace=workspace, region=REGION, public_network_access="Enabled", isolation_mode="Disabled"
    )

    def checked(instances: int, *, is_leftover: bool = False) -> list[str]:
        settings = {"type": "managed", "instance_type": SIZE}
        spec = rollout_spec(endpoint={"name": endpoint}, settings=settings, instance_count=instances)
        marked = [one.model_copy(update={"tags": {CREATED_BY: "dead/1"}}) for one in state.online_deployments]
        today = state.model_copy(update={"online_deployments": tuple(marked)}) if is_leftover else state
        made = run_preflight(session_of(client), connected, spec, a_plan(spec, today), today)
        return [str(one) for one in asyncio.run(made).findings]

    (full,) = checked(4)
    assert full.startswith("deployment.yml: instance_count: 4 x Standard_F4s_v2 take 20 cores of standardFSv2Family")
    assert "16 of 40 are free" in full
    wanted = describe(endpoint, model, environment, "green", instance_type=SIZE, instance_count=4)
    with pytest.raises(HttpResponseError, match="Not enough quota available for Standard_F4s_v2"):
        client.online_deployments.begin_create_or_update(wanted)
    assert checked(4, is_leftover=True) == []
    assert checked(3) == []
    assert (state.kind, state.location, state.identities) == ("managed", REGION, ("system_assigned",))
    client.online_endpoints.begin_delete(endpoint).result()


def test_without_the_right_the_quota_is_not_known_and_nothing_fails(connect: Callable[..., MLClient]) -> None:
    assert asyncio.run(read_usage(session_of(connect("stranger")), REGION)) is None


@pytest.mark.parametrize(
    ("workspace", "network"),
    [
        ("local", NetworkFacts(region=REGION)),
        ("legacy", NetworkFacts(region=REGION, is_v1_legacy=True)),
        (
            "networked",
            NetworkFacts(region=REGION, isolation_mode="AllowInternetOutbound", managed_network_status="Inactive"),
        ),
    ],
)
def test_connecting_tells_what_the_workspaces_network_is(
    emulator: EmulatorProcess, workspace: str, network: NetworkFacts
) -> None:
    subscription = emulator.environment["AZURE_SUBSCRIPTION_ID"]
    wanted = Workspace(subscription_id=subscription, resource_group="rollway", name=workspace)

    assert asyncio.run(connect_to(wanted)).network == network
