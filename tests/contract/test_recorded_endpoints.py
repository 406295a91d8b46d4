"""Endpoints and online deployments as they were recorded on the real service; the tests share one of each."""

import re
import uuid
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model

from tests.contract.conftest import Arm, Served, create_endpoint
from tests.support.waiting import wait_for

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00")
PROBE = {
    "failureThreshold": 30,
    "successThreshold": 1,
    "timeout": "PT2S",
    "period": "PT10S",
    "initialDelay": "PT10S",
}


@dataclass
class Recorded:
    """An endpoint with one online deployment, and each answer on the way."""

    path: str
    created: httpx.Response  # the answer to the PUT that creates it
    ready: dict[str, Any]  # read when that has ended
    updated: httpx.Response  # the answer to the PUT of what was read, with one instance more
    after: dict[str, Any]
    moved: httpx.Response  # the answer to the PUT that gives it all traffic
    before_the_move: dict[str, Any]
    after_the_move: dict[str, Any]


@pytest.fixture(scope="session")
def recorded(client: MLClient, arm: Arm, served: Served) -> Recorded:
    """The calls of azure-ai-ml's own end-to-end tests, of which the recordings are."""
    name = f"recorded-{uuid.uuid4().hex[:8]}"
    path = f"/onlineEndpoints/{name}"
    create_endpoint(client, name)
    asked = arm.send("GET", f"/onlineEndpoints/{served.name}/deployments/blue").raise_for_status().json()
    kept = ("codeConfiguration", "environmentId", "model", "instanceType", "endpointComputeType")
    body = {
        "location": asked["location"],
        "sku": {"name": "Default", "capacity": 1},
        "properties": {key: asked["properties"][key] for key in kept} | {"environmentVariables": {"OWN": "1"}},
    }

    def put(where: str, document: dict[str, Any]) -> tuple[httpx.Response, dict[str, Any]]:
        answer = arm.send("PUT", where, document).raise_for_status()
        wait_for(lambda: read(where)["properties"]["provisioningState"] == "Succeeded", "end of the creation")
        return answer, read(where)

    def read(where: str) -> dict[str, Any]:
        document: dict[str, Any] = arm.send("GET", where).raise_for_status().json()
        return document

    blue = f"{path}/deployments/blue"
    created, ready = put(blue, body)
    updated, after = put(blue, {**ready, "sku": {"name": "Default", "capacity": 2}})
    before_the_move = read(path)
    traffic = {**before_the_move["properties"], "traffic": {"blue": 100}}
    moved, after_the_move = put(path, {**before_the_move, "properties": traffic})
    return Recorded(blue, created, ready, updated, after, moved, before_the_move, after_the_move)


def address(document: dict[str, Any]) -> str:
    return str(document["properties"]["properties"]["AzureAsyncOperationUri"])


def operation(answer: httpx.Response) -> str:
    """The address of the operation that a request started, without its signature."""
    return answer.headers["Azure-AsyncOperation"].partition("&t=")[0]


def test_a_creation_is_answered_with_all_defaults_at_once(recorded: Recorded) -> None:
    document = recorded.created.json()
    properties = document["properties"]

    assert (recorded.created.status_code, properties["provisioningState"]) == (201, "Creating")
    assert properties["requestSettings"] == {
        "requestTimeout": "PT5S",
        "maxConcurrentRequestsPerInstance": 1,
        "maxQueueWait": "PT0S",
    }
    assert (properties["livenessProbe"], properties["readinessProbe"]) == (PROBE, PROBE)
    assert properties["environmentVariables"] == {"OWN": "1"}
    fixed = {"modelMountPath": None, "dataCollector": None, "egressPublicNetworkAccess": "Enabled"}
    assert fixed.items() <= properties.items()
    assert properties["scaleSettings"] == {"scaleType": "Default"}
    assert document["sku"] == {"name": "Default", "tier": "Standard", "capacity": 1}
    assert address(document) == operation(recorded.created)


def test_the_service_adds_its_environment_variables_when_it_is_ready(recorded: Recorded, model: Model) -> None:
    assert recorded.ready["properties"]["environmentVariables"] == {
        "OWN": "1",
        "AZUREML_MODEL_DIR": f"/var/azureml-app/azureml-models/{model.name}/{model.version}",
        "AZUREML_ENTRY_SCRIPT": "score.py",
        "AML_APP_ROOT": "/var/azureml-app/good",
    }


def test_they_may_be_sent_back_and_are_no_change_of_what_runs(recorded: Recorded) -> None:
    variables = recorded.ready["properties"]["environmentVariables"]

    assert recorded.updated.json()["properties"]["environmentVariables"] == variables
    assert recorded.after["properties"]["environmentVariables"] == variables
    assert (recorded.after["sku"]["capacity"], recorded.after["properties"]["provisioningState"]) == (2, "Succeeded")


def test_an_update_is_answered_like_a_creation_of_what_was_sent(recorded: Recorded) -> None:
    document = recorded.updated.json()

    assert recorded.updated.status_code == 201
    assert (document["properties"]["provisioningState"], document["properties"]["instanceType"]) == ("Creating", None)
    assert document["sku"]["capacity"] == 2
    assert address(document) == operation(recorded.updated)
    assert list(document["systemData"]) == ["lastModifiedAt"]


def test_after_an_update_the_resource_still_names_the_operation_that_created_it(recorded: Recorded, arm: Arm) -> None:
    listed = arm.send("GET", recorded.path.rpartition("/")[0]).json()["value"]

    assert operation(recorded.created) != operation(recorded.updated)
    assert [address(one) for one in (recorded.ready, recorded.after, *listed)] == [operation(recorded.created)] * 3


def test_an_endpoint_names_its_last_operation(recorded: Recorded) -> None:
    assert address(recorded.before_the_move) != operation(recorded.moved)
    assert address(recorded.moved.json()) == operation(recorded.moved) == address(recorded.after_the_move)


def test_system_data_has_three_fields_and_that_of_an_online_deployment_does_not_move(recorded: Recorded) -> None:
    for document in (recorded.created.json(), recorded.ready, recorded.before_the_move, recorded.after_the_move):
        assert list(document["systemData"]) == ["createdAt", "createdBy", "lastModifiedAt"]
        assert TIME.fullmatch(document["systemData"]["createdAt"])
        assert TIME.fullmatch(document["systemData"]["lastModifiedAt"])
    assert recorded.after["systemData"] == recorded.ready["systemData"] == recorded.created.json()["systemData"]
    before, after = recorded.before_the_move["systemData"], recorded.after_the_move["systemData"]
    assert after["lastModifiedAt"] > before["lastModifiedAt"] >= before["createdAt"] == after["createdAt"]


def test_a_creation_names_its_operation_and_where_the_online_deployment_can_be_read(
    recorded: Recorded, arm: Arm
) -> None:
    assert "/mfeOperationsStatus/odidp:" in operation(recorded.created)
    assert arm.http.get(recorded.created.headers["Location"]).raise_for_status().json()["name"] == "blue"


@pytest.mark.parametrize("answer", ["created", "updated", "moved"])
def test_no_answer_has_an_etag_or_says_when_to_ask_again(recorded: Recorded, answer: str) -> None:
    headers = getattr(recorded, answer).headers

    assert not {"etag", "retry-after"} & set(headers)


def test_a_move_of_traffic_is_answered_with_201_and_the_traffic_before_it(recorded: Recorded) -> None:
    document = recorded.moved.json()["properties"]

    assert (recorded.moved.status_code, document["provisioningState"], document["traffic"]) == (201, "Updating", {})
    assert recorded.after_the_move["properties"]["traffic"] == {"blue": 100}


def test_an_endpoint_has_its_id_in_lower_case_among_its_properties(recorded: Recorded) -> None:
    for document in (recorded.before_the_move, recorded.after_the_move, recorded.moved.json()):
        assert document["properties"]["properties"]["azureml.onlineendpointid"] == document["id"].lower()


def test_metrics_are_read_under_the_id_in_lower_case(recorded: Recorded, arm: Arm) -> None:
    lower = recorded.after_the_move["properties"]["properties"]["azureml.onlineendpointid"]
    query = "api-version=2023-10-01&metricnames=RequestsPerMinute"

    answer = arm.http.get(f"{arm.url}{lower}/providers/Microsoft.Insights/metrics?{query}")

    assert (answer.status_code, answer.json()["value"][0]["name"]["value"]) == (200, "RequestsPerMinute")


def test_writes_of_an_online_deployment_are_counted_as_requests_of_its_type(recorded: Recorded, arm: Arm) -> None:
    prefix = "x-ms-ratelimit-remaining-subscription-"
    read = arm.send("GET", recorded.path)

    for answer in (recorded.created, recorded.updated):
        counted = {key: value for key, value in answer.headers.items() if key.startswith(prefix)}
        assert counted == {f"{prefix}resource-requests": "24"}
    assert read.headers[f"{prefix}reads"] == "249"


def test_a_patch_has_no_body_and_locates_its_result(recorded: Recorded, arm: Arm) -> None:
    answer = arm.send("PATCH", recorded.path, {"tags": {"run": "7"}})

    assert (answer.status_code, answer.content) == (202, b"")
    assert "/mfeOperationResults/odidp:" in answer.headers["Location"]
    wait_for(lambda: arm.http.get(answer.headers["Location"]).status_code == 200, "result of the operation")
    assert arm.http.get(answer.headers["Location"]).json()["tags"] == {"run": "7"}
