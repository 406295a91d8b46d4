"""Rules for changes of what is there: mirror traffic, and settings that cannot change. One endpoint for all of them."""

import json
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model
from azure.core.exceptions import HttpResponseError

from tests.contract.conftest import Arm, create_endpoint, describe, set_traffic
from tests.support.emulator_process import EmulatorProcess

Change = Callable[[str, dict[str, Any]], httpx.Response]


@pytest.fixture(scope="session")
def pair(client: MLClient, model: Model, environment: Environment) -> str:
    """An endpoint with blue, which has all traffic, and green, which is mirrored 10 %."""
    name = f"pair-{uuid.uuid4().hex[:8]}"
    create_endpoint(client, name)
    for colour in ("blue", "green"):
        client.online_deployments.begin_create_or_update(describe(name, model, environment, colour)).result()
    set_traffic(client, name, blue=100)
    endpoint = client.online_endpoints.get(name)
    endpoint.mirror_traffic = {"green": 10}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    return name


@pytest.fixture
def change(arm: Arm, pair: str) -> Change:
    """PUTs what is at a path below the endpoint with some properties changed."""

    def put(path: str, properties: dict[str, Any]) -> httpx.Response:
        document = arm.send("GET", f"/onlineEndpoints/{pair}{path}").raise_for_status().json()
        document["properties"] |= properties
        return arm.send("PUT", f"/onlineEndpoints/{pair}{path}", document)

    return put


def problems(answer: httpx.Response) -> dict[str, list[str]]:
    assert answer.status_code == 400, answer.text
    found: dict[str, list[str]] = json.loads(answer.json()["error"]["details"][0]["message"])["errors"]
    return found


def test_mirror_traffic_is_kept_beside_live_traffic(client: MLClient, pair: str) -> None:
    found = client.online_endpoints.get(pair)

    assert (found.mirror_traffic, found.traffic) == ({"green": 10}, {"blue": 100})


@pytest.mark.parametrize(
    ("traffic", "mirror", "text"),
    [
        ({"blue": 100}, {"green": 51}, "51% is more than the 50% allowed."),
        ({"blue": 0}, {"green": 10, "blue": 10}, "Only one deployment can receive mirror traffic."),
        ({"blue": 90, "green": 10}, {"green": 10}, "Deployment green receives live traffic already."),
        ({"blue": 100}, {"absent": 10}, "Deployment absent does not exist."),
        ({"blue": 100}, {"green": -1}, "must map names of online deployments to whole percents"),
    ],
)
def test_illegal_mirror_traffic_is_refused(
    change: Change, traffic: dict[str, int], mirror: dict[str, int], text: str
) -> None:
    found = problems(change("", {"traffic": traffic, "mirrorTraffic": mirror}))

    assert text in found["MirrorTraffic"][0]


def test_a_deployment_with_mirror_traffic_cannot_be_deleted(client: MLClient, pair: str) -> None:
    with pytest.raises(HttpResponseError, match="receives 10% of the endpoint's mirror traffic") as caught:
        client.online_deployments.begin_delete("green", pair).result()

    assert caught.value.status_code == 400
    assert client.online_deployments.get("green", pair).provisioning_state == "Succeeded"


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"instanceType": "Standard_F2s_v2"}, "InstanceType"),
        ({"egressPublicNetworkAccess": "Disabled"}, "EgressPublicNetworkAccess"),
    ],
)
def test_what_decides_the_machines_of_a_deployment_cannot_change(
    change: Change, properties: dict[str, str], field: str
) -> None:
    found = problems(change("/deployments/green", properties))

    assert list(found) == [field]
    assert "cannot be changed" in found[field][0]


def test_entries_of_the_bag_of_properties_are_added_and_not_removed(client: MLClient, pair: str, arm: Arm) -> None:
    document = arm.send("GET", f"/onlineEndpoints/{pair}/deployments/green").json()
    for bag in ({"first": "1"}, {"second": "2"}):
        document["properties"]["properties"] = bag
        started = arm.send("PUT", f"/onlineEndpoints/{pair}/deployments/green", document)
        assert arm.http.get(started.headers["Azure-AsyncOperation"]).json()["status"] == "Succeeded"

    found = client.online_deployments.get("green", pair).properties

    assert {name: found[name] for name in ("first", "second")} == {"first": "1", "second": "2"}


def test_a_deployment_answers_with_its_new_settings_only_when_the_update_has_ended(
    arm: Arm, change: Change, emulator: EmulatorProcess, pair: str
) -> None:
    emulator.fail(method="PUT", path=f"/{pair}/deployments/blue$", operation="stuck")

    def read() -> dict[str, Any]:
        document: dict[str, Any] = arm.send("GET", f"/onlineEndpoints/{pair}/deployments/blue").json()["properties"]
        return document

    started = change("/deployments/blue", {"environmentVariables": {"CHANGED": "1"}})

    during = read()
    emulator.delete_faults()
    while arm.http.get(started.headers["Azure-AsyncOperation"]).json()["status"] == "Updating":
        pass
    after = read()

    assert (during["provisioningState"], "CHANGED" in during["environmentVariables"]) == ("Updating", False)
    assert (after["provisioningState"], after["environmentVariables"]["CHANGED"]) == ("Succeeded", "1")


def test_a_patch_is_answered_with_202_and_a_location_that_gives_the_resource(
    arm: Arm, emulator: EmulatorProcess, pair: str
) -> None:
    path = f"/onlineEndpoints/{pair}/deployments/green"
    emulator.fail(method="PATCH", path=f"{path}$", operation="stuck")

    started = arm.send("PATCH", path, {"sku": {"capacity": 2}})
    during = arm.send("GET", path).json()
    emulator.delete_faults()
    while (polled := arm.http.get(started.headers["Location"])).status_code == 202:
        pass

    assert (started.status_code, started.content) == (202, b"")
    assert (during["properties"]["provisioningState"], during["sku"]["capacity"]) == ("Scaling", 1)
    assert "/mfeOperationResults/odidp:" in started.headers["Location"]
    assert (polled.status_code, polled.json()["sku"]["capacity"]) == (200, 2)


def test_a_patch_needs_the_right_to_write_and_something_that_is_there(
    arm: Arm, token: Callable[..., str], pair: str, name: str
) -> None:
    tags = {"tags": {"run": "7"}}

    forbidden = arm.send("PATCH", f"/onlineEndpoints/{pair}", tags, Authorization=f"Bearer {token(client_id='reader')}")
    absent = [arm.send("PATCH", f"/onlineEndpoints/{path}", tags) for path in (name, f"{pair}/deployments/{name}")]

    assert (forbidden.status_code, forbidden.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert [answer.status_code for answer in absent] == [404, 404]
