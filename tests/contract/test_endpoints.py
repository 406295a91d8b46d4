"""Endpoints: creation, rules, traffic, keys and deletes, through azure-ai-ml and plain REST."""

import json
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.conftest import TAKEN_NAME, Arm, create_endpoint, error_of
from tests.support.emulator_process import EmulatorProcess


def body(**properties: Any) -> dict[str, Any]:
    return {"location": "westeurope", "properties": {"authMode": "Key", **properties}}


def problems(answer: Any) -> dict[str, list[str]]:
    """The fields' problems: JSON in the message of the only detail."""
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["details"][0]["code"]) == ("BadRequest", "InferencingClientCallFailed")
    found: dict[str, list[str]] = json.loads(error["details"][0]["message"])["errors"]
    return found


def test_a_new_endpoint_succeeds_and_has_a_scoring_uri(client: MLClient, name: str) -> None:
    created = create_endpoint(client, name)

    assert created.provisioning_state == "Succeeded"
    assert str(created.scoring_uri).endswith(f"/{name}/score")
    assert created.traffic == {}


def test_a_new_endpoint_is_answered_as_recorded(arm: Arm, name: str) -> None:
    answer = arm.send("PUT", f"/onlineEndpoints/{name}", body())

    assert answer.status_code == 201
    assert "/mfeOperationsStatus/oeidp:" in answer.headers["Azure-AsyncOperation"]
    assert answer.headers["x-ms-async-operation-timeout"] == "PT30M"
    properties = answer.json()["properties"]
    assert (properties["provisioningState"], properties["scoringUri"]) == ("Creating", None)


def test_the_status_of_an_operation_ends_as_succeeded(arm: Arm, name: str) -> None:
    started = arm.send("PUT", f"/onlineEndpoints/{name}", body())

    status = arm.http.get(started.headers["Azure-AsyncOperation"]).json()

    assert (status["status"], status["percentComplete"]) == ("Succeeded", 0.0)
    assert status["endTime"] >= status["startTime"]


@pytest.mark.parametrize("bad", ["ab", "1abc", "abc-", "a" * 33, "a_b_c"])
def test_a_bad_name_is_refused(arm: Arm, bad: str) -> None:
    assert "3 to 32 characters" in problems(arm.send("PUT", f"/onlineEndpoints/{bad}", body()))["Name"][0]


def test_a_name_seeded_as_taken_is_refused(client: MLClient) -> None:
    with pytest.raises(HttpResponseError) as caught:
        create_endpoint(client, TAKEN_NAME)

    assert (caught.value.status_code, error_of(caught.value).details[0].code) == (400, "BadArgument")
    assert f"An endpoint with name {TAKEN_NAME} already exists in region westeurope" in str(caught.value)


def test_a_name_used_in_another_workspace_of_the_region_is_refused(client: MLClient, arm: Arm, name: str) -> None:
    create_endpoint(client, name)
    other = arm.root.replace("/rollway/", "/others/").replace("/local", "/remote")

    answer = arm.http.put(f"{arm.url}{other}/onlineEndpoints/{name.upper()}?api-version=2023-04-01", json=body())

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "UserError")


def test_an_unknown_auth_mode_is_refused(arm: Arm, name: str) -> None:
    assert "AuthMode" in problems(arm.send("PUT", f"/onlineEndpoints/{name}", body(authMode="Password")))


def test_traffic_for_what_does_not_exist_is_refused(arm: Arm, name: str) -> None:
    found = problems(arm.send("PUT", f"/onlineEndpoints/{name}", body(traffic={"blue": 100})))

    assert found == {"Traffic": ["Deployment blue does not exist."]}


def test_settings_of_an_endpoint_are_kept_and_changed(client: MLClient, name: str) -> None:
    client.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=name, auth_mode="key", tags={"team": "a"}, description="first")
    ).result()
    endpoint = client.online_endpoints.get(name)
    endpoint.tags["rollway:run"] = "7"
    endpoint.public_network_access = "disabled"

    client.online_endpoints.begin_create_or_update(endpoint).result()

    found = client.online_endpoints.get(name)
    assert found.tags == {"team": "a", "rollway:run": "7"}
    assert (found.description, found.public_network_access.lower()) == ("first", "disabled")


def test_a_regenerated_key_is_new_and_the_other_stays(client: MLClient, name: str) -> None:
    create_endpoint(client, name)
    before = client.online_endpoints.get_keys(name)

    client.online_endpoints.begin_regenerate_keys(name, key_type="secondary").result()

    after = client.online_endpoints.get_keys(name)
    assert after.primary_key == before.primary_key
    assert after.secondary_key not in (before.primary_key, before.secondary_key)


def test_an_endpoint_with_aml_token_gives_tokens_that_expire(client: MLClient, name: str) -> None:
    create_endpoint(client, name, auth_mode="aml_token")

    token = client.online_endpoints.get_keys(name)

    assert token.access_token.count(".") == 2
    assert token.expiry_time_utc > token.refresh_after_time_utc > 0


def test_a_deleted_endpoint_is_gone_and_its_name_free(client: MLClient, name: str) -> None:
    create_endpoint(client, name)

    client.online_endpoints.begin_delete(name).result()

    with pytest.raises(ResourceNotFoundError):
        client.online_endpoints.get(name)
    assert create_endpoint(client, name).provisioning_state == "Succeeded"


def test_deleting_what_does_not_exist_is_a_204(arm: Arm, name: str) -> None:
    assert arm.send("DELETE", f"/onlineEndpoints/{name}").status_code == 204


def test_a_delete_is_answered_as_recorded(arm: Arm, client: MLClient, name: str) -> None:
    create_endpoint(client, name)

    answer = arm.send("DELETE", f"/onlineEndpoints/{name}")

    assert (answer.status_code, answer.text) == (202, "null")
    assert "mfeOperationsStatus" in answer.headers["Azure-AsyncOperation"]
    assert "mfeOperationResults" in answer.headers["Location"]


def test_an_endpoint_needs_a_location(arm: Arm, name: str) -> None:
    answer = arm.send("PUT", f"/onlineEndpoints/{name}", {"properties": {"authMode": "Key"}})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "LocationRequired")


def test_a_request_without_api_version_is_refused(arm: Arm) -> None:
    answer = arm.http.get(f"{arm.url}{arm.root}")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "MissingApiVersionParameter")


def test_a_body_that_is_no_json_is_refused(arm: Arm, name: str) -> None:
    url = f"{arm.url}{arm.root}/onlineEndpoints/{name}?api-version=2023-04-01"

    answer = arm.http.put(url, content=b"{", headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")


@pytest.mark.parametrize(
    "properties",
    [
        {"traffic": ["blue"]},
        {"mirrorTraffic": 5},
        {"properties": ["x"]},
        {"keys": "secret"},
        {"publicNetworkAccess": 7},
    ],
)
def test_properties_of_a_wrong_type_are_refused(arm: Arm, name: str, properties: dict[str, Any]) -> None:
    answer = arm.send("PUT", f"/onlineEndpoints/{name}", body(**properties))

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")
    assert f"properties.{next(iter(properties))}" in answer.json()["error"]["message"]


def test_tags_that_are_no_strings_are_refused(arm: Arm, name: str) -> None:
    answer = arm.send("PUT", f"/onlineEndpoints/{name}", {**body(), "tags": {"count": 3}})

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")
    assert "tags.count: a string is expected, not int" in answer.json()["error"]["message"]


def test_what_is_not_emulated_says_so_and_is_logged(arm: Arm, emulator: EmulatorProcess) -> None:
    answer = arm.send("GET", "/batchEndpoints/some-batch")

    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotEmulated")
    assert f"GET {arm.root}/batchEndpoints/some-batch" in answer.json()["error"]["message"]
    assert f"not emulated: GET {arm.root}/batchEndpoints/some-batch" in emulator.log()


def test_a_declared_fault_reaches_the_client(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    error = {"error": {"code": "AuthorizationFailed", "message": "no write for you"}}
    emulator.fail(method="PUT", path=f"/onlineEndpoints/{name}", status=403, body=error)

    with pytest.raises(HttpResponseError, match="no write for you") as caught:
        create_endpoint(client, name)

    assert caught.value.status_code == 403
    assert create_endpoint(client, name).provisioning_state == "Succeeded"


def test_throttling_with_retry_after_is_retried_by_the_sdk(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    emulator.fail(method="PUT", path=f"/onlineEndpoints/{name}", status=429, retry_after=1)

    assert create_endpoint(client, name).provisioning_state == "Succeeded"


def test_a_put_that_is_dropped_before_it_is_handled_is_repeated_by_the_sdk(
    client: MLClient, emulator: EmulatorProcess, name: str
) -> None:
    emulator.fail(method="PUT", path=f"/onlineEndpoints/{name}", drop="before")

    assert create_endpoint(client, name).provisioning_state == "Succeeded"


def test_an_answer_that_is_dropped_leaves_the_write_applied(arm: Arm, emulator: EmulatorProcess, name: str) -> None:
    emulator.fail(method="PUT", path=f"/onlineEndpoints/{name}", drop="after")

    with pytest.raises(Exception, match=r"disconnected|reset|closed"):
        arm.send("PUT", f"/onlineEndpoints/{name}", body())

    assert arm.send("GET", f"/onlineEndpoints/{name}").status_code == 200


def test_handled_requests_are_listed_without_secrets(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    create_endpoint(client, name)

    handled = [one for one in emulator.get("requests") if name in one["path"]]

    assert [(one["method"], one["status"]) for one in handled][:2] == [("PUT", 201), ("GET", 200)]
    assert set(handled[0]) == {"number", "method", "path", "query", "status"}
