"""Limits and quotas, on an emulator of their own whose seed has small ones."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import PlainRest

SEED = """
workspaces:
  - {resource_group: rollway, name: local}
  - {resource_group: others, name: elsewhere, location: northeurope}
limits: {endpoints_per_region: 12, deployments_per_subscription: 24}
vm_quotas: {standardDSv2Family: 24, standardFSv2Family: 100, standardNDSv2Family: 80, homemade: 10}
vm_sizes: {Standard_Own_v1: {family: homemade, cores: 5}}
"""


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    folder = tmp_path_factory.mktemp("limited")
    (folder / "seed.yaml").write_text(SEED)
    with running_emulator(folder / "state", "--seed", str(folder / "seed.yaml")) as running:
        yield running


@pytest.fixture
def rest(limited: EmulatorProcess) -> PlainRest:
    """A subscription in which there is nothing, with an environment and a code to refer to."""
    limited.reset()
    limited.http().delete(f"{limited.url}/_emulator/faults").raise_for_status()
    access = PlainRest(limited)
    image = {"properties": {"image": "docker.io/library/python:3.11"}}
    access.send("PUT", "/environments/any/versions/1", image).raise_for_status()
    access.send("PUT", "/codes/any/versions/1", {"properties": {"codeUri": "https://x/y"}}).raise_for_status()
    return access


def body(rest: PlainRest, size: str = "Standard_E2s_v3", instances: int = 1) -> dict[str, Any]:
    return {
        "location": "westeurope",
        "sku": {"name": "Default", "capacity": instances},
        "properties": {
            "endpointComputeType": "Managed",
            "instanceType": size,
            "environmentId": f"{rest.root}/environments/any/versions/1",
            "codeConfiguration": {"codeId": f"{rest.root}/codes/any/versions/1", "scoringScript": "score.py"},
        },
    }


def put_endpoint(rest: PlainRest, name: str) -> httpx.Response:
    return rest.send("PUT", f"/onlineEndpoints/{name}", {"location": "westeurope", "properties": {"authMode": "Key"}})


def put_deployment(
    rest: PlainRest, limited: EmulatorProcess, path: str, size: str = "Standard_E2s_v3", instances: int = 1
) -> httpx.Response:
    """Create an online deployment that ends as Failed at once: it holds its machines, and needs no container here."""
    limited.fail(operation="failed", method="PUT", path=f"{path}$", code="ResourceNotReady")
    answer = rest.send("PUT", path, body(rest, size, instances))
    if answer.status_code >= 400:
        limited.http().delete(f"{limited.url}/_emulator/faults").raise_for_status()
    else:
        assert rest.state(path) == "Failed"
    return answer


def problems(answer: httpx.Response) -> dict[str, list[str]]:
    assert answer.status_code == 400, answer.text
    found: dict[str, list[str]] = json.loads(answer.json()["error"]["details"][0]["message"])["errors"]
    return found


def test_a_region_has_room_for_so_many_endpoints(rest: PlainRest) -> None:
    for number in range(12):
        put_endpoint(rest, f"endpoint-{number}").raise_for_status()

    refused = put_endpoint(rest, "endpoint-12")
    rest.send("DELETE", "/onlineEndpoints/endpoint-0").raise_for_status()

    assert "at most 12 online endpoints in region westeurope" in problems(refused)["Endpoint"][0]
    assert put_endpoint(rest, "endpoint-1").status_code == 201
    assert put_endpoint(rest, "endpoint-12").status_code == 201


def test_an_endpoint_has_room_for_20_deployments_and_the_subscription_for_its_own_number(
    rest: PlainRest, limited: EmulatorProcess
) -> None:
    put_endpoint(rest, "first").raise_for_status()
    put_endpoint(rest, "second").raise_for_status()
    for number in range(20):
        put_deployment(rest, limited, f"/onlineEndpoints/first/deployments/number-{number}").raise_for_status()

    one_too_many = put_deployment(rest, limited, "/onlineEndpoints/first/deployments/number-20")
    for number in range(4):
        put_deployment(rest, limited, f"/onlineEndpoints/second/deployments/number-{number}").raise_for_status()
    too_many_of_all = put_deployment(rest, limited, "/onlineEndpoints/second/deployments/number-4")

    assert "an endpoint can have at most 20 deployments" in problems(one_too_many)["Deployment"][0]
    assert "a subscription can have at most 24 online deployments" in problems(too_many_of_all)["Deployment"][0]


@pytest.mark.parametrize(
    ("size", "fits", "too_many", "text"),
    [
        # 1.2 x 5 = 6 instances of 4 cores are 24; 1.2 x 6 = 7.2, so 8 instances.
        ("Standard_DS3_v2", 5, 6, "Current usage/limit: 0/24. Additional needed: 32."),
        # 1.2 x 10 = 12 exactly, not 13 by a rounding error: 96 of 100 cores.
        ("standard_f8s_v2", 10, 11, "Current usage/limit: 0/100. Additional needed: 112."),
        ("Standard_ND40rs_v2", 2, 3, "Current usage/limit: 0/80. Additional needed: 120."),
        ("Standard_Own_v1", 1, 2, "Current usage/limit: 0/10. Additional needed: 15."),
    ],
)
def test_a_quota_of_cores_has_the_reserve_of_20_percent(
    rest: PlainRest, limited: EmulatorProcess, size: str, fits: int, too_many: int, text: str
) -> None:
    put_endpoint(rest, "only").raise_for_status()

    refused = put_deployment(rest, limited, "/onlineEndpoints/only/deployments/blue", size, too_many)

    assert text in problems(refused)["VmSize"][0]
    assert problems(refused)["VmSize"][0].startswith(f"Not enough quota available for {size}")
    assert put_deployment(rest, limited, "/onlineEndpoints/only/deployments/blue", size, fits).status_code == 201


def test_other_deployments_of_the_family_use_the_quota_and_free_it_when_deleted(
    rest: PlainRest, limited: EmulatorProcess
) -> None:
    put_endpoint(rest, "first").raise_for_status()
    put_endpoint(rest, "second").raise_for_status()
    blue, green = "/onlineEndpoints/first/deployments/blue", "/onlineEndpoints/second/deployments/green"
    put_deployment(rest, limited, blue, "Standard_DS3_v2", 2).raise_for_status()

    refused = put_deployment(rest, limited, green, "Standard_DS4_v2", 1)
    rest.send("DELETE", blue).raise_for_status()
    assert rest.send("GET", blue).status_code == 404

    assert "Current usage/limit: 12/24. Additional needed: 16." in problems(refused)["VmSize"][0]
    assert put_deployment(rest, limited, green, "Standard_DS4_v2", 1).status_code == 201


def test_a_family_without_a_quota_has_no_limit(rest: PlainRest, limited: EmulatorProcess) -> None:
    put_endpoint(rest, "only").raise_for_status()

    answer = put_deployment(rest, limited, "/onlineEndpoints/only/deployments/blue", "Standard_E32s_v3", 50)

    assert answer.status_code == 201


def test_an_unknown_vm_size_is_refused(rest: PlainRest, limited: EmulatorProcess) -> None:
    put_endpoint(rest, "only").raise_for_status()

    answer = put_deployment(rest, limited, "/onlineEndpoints/only/deployments/blue", "Standard_DS3")

    assert "Standard_DS3 is not a size" in problems(answer)["VmSize"][0]


def test_more_than_50_instances_are_refused(rest: PlainRest, limited: EmulatorProcess) -> None:
    put_endpoint(rest, "only").raise_for_status()

    answer = put_deployment(rest, limited, "/onlineEndpoints/only/deployments/blue", instances=51)

    assert problems(answer) == {"Sku.Capacity": ["must be between 1 and 50."]}


def test_the_location_of_an_endpoint_cannot_change(rest: PlainRest) -> None:
    put_endpoint(rest, "only").raise_for_status()
    moved = {"location": "northeurope", "properties": {"authMode": "Key"}}

    answer = rest.send("PUT", "/onlineEndpoints/only", moved)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "InvalidResourceLocation")


def test_an_endpoint_whose_first_provisioning_failed_can_only_be_deleted(
    rest: PlainRest, limited: EmulatorProcess
) -> None:
    limited.fail(operation="failed", method="PUT", path="/onlineEndpoints/broken$", code="InternalServerError")
    put_endpoint(rest, "broken").raise_for_status()
    assert rest.state("/onlineEndpoints/broken") == "Failed"

    again = put_endpoint(rest, "broken")
    below = put_deployment(rest, limited, "/onlineEndpoints/broken/deployments/blue")
    rest.send("DELETE", "/onlineEndpoints/broken").raise_for_status()

    assert "unrecoverable. Delete and re-create" in problems(again)["Endpoint"][0]
    assert "has not been created successfully" in problems(below)["Endpoint"][0]
    assert rest.send("GET", "/onlineEndpoints/broken").status_code == 404
    assert put_endpoint(rest, "broken").status_code == 201
