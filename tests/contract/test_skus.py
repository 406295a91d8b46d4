"""Sizes of online deployments: their list, and the order and pages of online deployments."""

from collections.abc import Iterator

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model

from tests.contract.conftest import Arm, create_endpoint, describe


@pytest.fixture(scope="module")
def path(client: MLClient, model: Model, environment: Environment) -> Iterator[str]:
    """The online deployments of an endpoint that has `old` and `new`."""
    name = "endpoint-with-skus"
    create_endpoint(client, name)
    for deployment in ("old", "new"):
        client.online_deployments.begin_create_or_update(describe(name, model, environment, deployment)).result()
    yield f"/onlineEndpoints/{name}/deployments"
    client.online_endpoints.begin_delete(name).result()


def test_an_online_deployment_has_one_sku_with_its_numbers_of_instances(arm: Arm, path: str) -> None:
    answer = arm.send("GET", f"{path}/old/skus?count=1").raise_for_status().json()

    assert answer == {
        "value": [
            {
                "resourceType": "Microsoft.MachineLearning.Services/endpoints/deployments",
                "sku": {"name": "Default", "tier": "Standard"},
                "capacity": {"minimum": 1, "maximum": 50, "default": 1, "scaleType": "Automatic"},
            }
        ]
    }
    assert arm.send("GET", f"{path}/old/skus?$skip=1").json() == {"value": []}
    assert arm.send("GET", f"{path}/absent/skus").status_code == 404


def test_a_patch_changes_the_capacity_of_a_sku_and_nothing_else(arm: Arm, path: str) -> None:
    body = {"sku": {"capacity": 1, "name": "Other", "tier": "Premium", "size": "L"}, "tags": {"why": "cost"}}

    answer = arm.send("PATCH", f"{path}/new", body)

    assert answer.status_code == 202
    found = arm.send("GET", f"{path}/new").json()
    assert found["sku"] == {"name": "Default", "tier": "Standard", "capacity": 1}
    assert found["tags"] == {"why": "cost"}


def test_online_deployments_are_listed_in_an_order_and_in_pages(arm: Arm, path: str) -> None:
    first = arm.send("GET", f"{path}?$top=1&$orderBy=CreatedAtDesc").raise_for_status().json()
    second = arm.http.get(first["nextLink"]).raise_for_status().json()

    assert [one["name"] for one in (*first["value"], *second["value"])] == ["new", "old"]
    assert [one["name"] for one in arm.send("GET", f"{path}?$skip=1").json()["value"]] == ["new"]
    assert arm.send("GET", f"{path}?$orderBy=weight").status_code == 400
