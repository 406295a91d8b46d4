"""Long-running operations and the headers of Azure Resource Manager, as they were recorded on the real service."""

import re
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from rollway.emulator.core.clock import Profile
from tests.contract.conftest import Arm
from tests.support.emulator_process import EmulatorProcess
from tests.support.plain_rest import PlainRest

BODY = {"location": "westeurope", "properties": {"authMode": "Key"}}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}\+00:00")
NOT_ENDED = "0001-01-01T00:00:00+00:00"
COUNTER = "x-ms-ratelimit-remaining-subscription-"


def poll(arm: Arm, started: httpx.Response) -> dict[str, Any]:
    document: dict[str, Any] = arm.http.get(started.headers["Azure-AsyncOperation"]).raise_for_status().json()
    return document


def counters(answer: httpx.Response) -> dict[str, str]:
    return {key.removeprefix(COUNTER): value for key, value in answer.headers.items() if key.startswith(COUNTER)}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_operation_is_updating_without_an_end_or_progress_until_it_has_ended(
    arm: Arm, emulator: EmulatorProcess, name: str, method: str
) -> None:
    path = f"/onlineEndpoints/{name}"
    if method == "DELETE":
        arm.send("PUT", path, BODY).raise_for_status()
    emulator.fail(method=method, path=f"{path}$", operation="stuck")

    started = arm.send(method, path, BODY if method == "PUT" else None)
    running, state = poll(arm, started), arm.send("GET", path).json()["properties"]["provisioningState"]
    emulator.delete_faults()
    ended = poll(arm, started)

    address = urlsplit(started.headers["Azure-AsyncOperation"])
    operation = address.path.rpartition("/")[2]
    assert running == {
        "id": address.path,
        "name": operation,
        "status": "Updating",
        "startTime": running["startTime"],
        "endTime": NOT_ENDED,
        "percentComplete": 0.0,
    }
    assert ended == {**running, "status": "Succeeded", "endTime": ended["endTime"]}
    assert TIME.fullmatch(ended["startTime"])
    assert TIME.fullmatch(ended["endTime"])
    assert ended["endTime"] >= ended["startTime"]
    assert state == ("Creating" if method == "PUT" else "Deleting")
    assert re.fullmatch(r"oeidp:[0-9a-f-]{36}:[0-9a-f-]{36}", operation)


def test_addresses_of_operations_are_signed_and_long_and_the_copy_in_the_properties_is_neither(
    arm: Arm, name: str
) -> None:
    created = arm.send("PUT", f"/onlineEndpoints/{name}", BODY)
    deleted = arm.send("DELETE", f"/onlineEndpoints/{name}")

    assert deleted.headers["x-ms-async-operation-timeout"] == "PT30M"
    copy = created.json()["properties"]["properties"]["AzureAsyncOperationUri"]
    signed = [created.headers["Azure-AsyncOperation"], deleted.headers["Azure-AsyncOperation"]]
    for address in [*signed, deleted.headers["Location"]]:
        query = parse_qs(urlsplit(address).query, strict_parsing=True)
        assert list(query) == ["api-version", "t", "c", "s", "h"]
        assert [len(query[key][0]) for key in "sh"] == [342, 43]
        assert 2900 < len(address) < 3700
        started = datetime(1, 1, 1, tzinfo=UTC).timestamp() + int(query["t"][0]) / 10**7
        assert started == pytest.approx(time.time(), abs=3600)
        assert arm.http.get(address).status_code in (200, 204)
    assert copy == f"{signed[0].partition('?')[0]}?api-version=2023-04-01-preview"
    assert arm.http.get(copy).json() == poll(arm, created)


def test_the_location_of_what_was_created_can_be_read_as_it_is(arm: Arm, name: str) -> None:
    created = arm.send("PUT", f"/onlineEndpoints/{name}", BODY)

    assert created.headers["Location"].endswith(f"/onlineEndpoints/{name}?api-version=2023-04-01-preview")
    assert arm.http.get(created.headers["Location"]).json()["name"] == name


def test_the_address_of_an_operation_has_the_callers_api_version(arm: Arm, name: str) -> None:
    path = f"/onlineEndpoints/{name}"
    created = arm.send("PUT", path, BODY).json()["properties"]["properties"]["AzureAsyncOperationUri"]

    read = arm.http.get(f"{arm.url}{arm.root}{path}?api-version=2022-05-01").json()

    address = read["properties"]["properties"]["AzureAsyncOperationUri"]
    assert address == created.replace("2023-04-01-preview", "2022-05-01")


SERVICE_HEADERS = {
    "azureml-served-by-cluster": r"vienna-[a-z]+-\d\d",
    "cache-control": "no-cache",
    "expires": "-1",
    "pragma": "no-cache",
    "request-context": r"appId=cid-v1:[0-9a-f-]{36}",
    "strict-transport-security": "max-age=31536000; includeSubDomains",
    "x-cache": "CONFIG_NOCACHE",
    "x-content-type-options": "nosniff",
    "x-ms-correlation-request-id": r"[0-9a-f-]{36}",
    "x-ms-response-type": "standard",
    "x-ms-routing-request-id": r"[A-Z]+:\d{8}T\d{6}Z:[0-9a-f-]{36}",
    "x-msedge-ref": r"Ref A: [0-9A-F]{32} Ref B: \w+ Ref C: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "x-request-time": r"\d+\.\d{3}",
}
OPERATION = r"tenantId=[0-9a-f-]{36},objectId=contributor/[a-z]+/[0-9a-f-]{36}"


@pytest.mark.parametrize(("method", "is_of_an_endpoint"), [("GET", False), ("PUT", True), ("GET", True)])
def test_answers_have_the_headers_of_2026(arm: Arm, name: str, method: str, is_of_an_endpoint: bool) -> None:
    if is_of_an_endpoint and method == "GET":
        arm.send("PUT", f"/onlineEndpoints/{name}", BODY).raise_for_status()

    answer = arm.send(
        method, f"/onlineEndpoints/{name}" if is_of_an_endpoint else "", BODY if method == "PUT" else None
    )

    headers = answer.headers
    wrong = {
        key: headers.get(key) for key, form in SERVICE_HEADERS.items() if not re.fullmatch(form, headers.get(key, ""))
    }
    assert wrong == {}
    assert headers["x-ms-routing-request-id"].endswith(headers["x-ms-correlation-request-id"])
    assert bool(re.fullmatch(OPERATION, headers.get("x-ms-operation-identifier", ""))) is is_of_an_endpoint


def test_errors_of_azure_ml_have_the_same_headers_and_counters(arm: Arm, name: str) -> None:
    path = f"/onlineEndpoints/{name}"
    arm.send("PUT", path, BODY).raise_for_status()
    refused = {**BODY, "properties": {"authMode": "Key", "traffic": {"absent": 100}}}

    absent = arm.send("GET", f"/models/{name}")
    invalid = arm.send("PUT", path, refused)

    assert (absent.status_code, invalid.status_code) == (404, 400)
    expected = {**SERVICE_HEADERS, "x-ms-response-type": "error", "x-ms-operation-identifier": OPERATION}
    del expected["strict-transport-security"]
    for answer in (absent, invalid):
        headers = answer.headers
        assert {key for key, form in expected.items() if not re.fullmatch(form, headers.get(key, ""))} == set()
        assert headers["x-ms-routing-request-id"].endswith(headers["x-ms-correlation-request-id"])
        assert "x-ms-failure-cause" not in headers
    assert counters(absent) == {"reads": "249", "global-reads": "3749"}
    assert counters(invalid) == {"writes": "199", "global-writes": "2999"}


@pytest.mark.parametrize("kind", ["models", "environments"])
def test_the_404_of_an_asset_has_the_recorded_body_with_the_time_of_the_moved_clock(
    own: EmulatorProcess, name: str, kind: str
) -> None:
    own.advance_clock(10 * 86400)

    answer = PlainRest(own).send("GET", f"/{kind}/{name}")
    error = answer.json()["error"]
    info = {one["type"]: one["info"]["value"] for one in error.pop("additionalInfo")}

    detail = {"code": "ModelNotFound", "message": f"Model container with name: {name} not found."}
    of_a_model = {
        "code": "UserError",
        "message": "The specified resource was not found.",
        "details": [{**detail, "details": [], "additionalInfo": []}],
    }
    message = f"No environment exists for name: {name}, version: , label: "
    of_an_environment = {"code": "UserError", "message": message, "details": []}
    inner = {"InnerError": {"code": "NotFoundError", "innerError": None}}
    assert error == (of_a_model if kind == "models" else of_an_environment)
    time_of_the_error, correlation = info.pop("Time"), info.pop("Correlation")
    assert info == {
        "ComponentName": "managementfrontend",
        "Environment": "westeurope",
        "Location": "westeurope",
        **({} if kind == "models" else inner),
    }
    assert TIME.fullmatch(time_of_the_error)
    assert datetime.fromisoformat(time_of_the_error).timestamp() > time.time() + 9 * 86400
    assert [len(correlation[key]) for key in ("operation", "request")] == [32, 16]


def test_errors_of_resource_manager_itself_have_counters_and_no_headers_of_azure_ml(arm: Arm, name: str) -> None:
    answer = arm.send("GET", f"/{name}")

    assert (answer.status_code, counters(answer)) == (501, {"reads": "249", "global-reads": "3749"})
    assert answer.headers["x-ms-failure-cause"] == "gateway"
    assert "azureml-served-by-cluster" not in answer.headers


def test_errors_have_an_id_and_never_tell_a_browser_to_use_tls_for_all_of_localhost(arm: Arm, name: str) -> None:
    absent = arm.send("GET", f"/onlineEndpoints/{name}")
    nobody = arm.send("GET", f"/onlineEndpoints/{name}", Authorization="")

    assert (absent.status_code, absent.headers["x-ms-response-type"]) == (404, "error")
    assert nobody.status_code == 401
    for answer in (absent, nobody):
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-ms-request-id"])
        assert "strict-transport-security" not in answer.headers


def test_counters_count_the_request_that_they_answer(arm: Arm, name: str) -> None:
    path = f"/onlineEndpoints/{name}"

    assert counters(arm.send("GET", "")) == {"reads": "249", "global-reads": "3749"}
    assert counters(arm.send("PUT", path, BODY)) == {"writes": "199", "global-writes": "2999"}
    assert counters(arm.send("DELETE", path)) == {"deletes": "199", "global-deletes": "2999"}


@pytest.mark.parametrize(
    ("action", "shortest", "longest"),
    [
        ("create endpoint", 62, 90.5),
        ("update endpoint", 20.4, 70.1),
        ("delete empty endpoint", 8, 8.3),
        ("create online deployment", 390, 582),
        ("update online deployment", 300, 320),
    ],
)
def test_operations_take_as_long_as_recorded_with_the_profile_azure(
    action: str, shortest: float, longest: float
) -> None:
    assert shortest <= Profile.parse("azure").seconds(action) <= longest


def test_the_words_of_a_busy_endpoint_are_those_of_azure(arm: Arm, emulator: EmulatorProcess, name: str) -> None:
    path = f"/onlineEndpoints/{name}"
    arm.send("PUT", path, BODY).raise_for_status()
    emulator.fail(method="PATCH", path=f"{path}$", operation="stuck")
    arm.send("PATCH", path, {"tags": {"run": "7"}}).raise_for_status()

    refused = arm.send("PUT", f"{path}/deployments/blue", BODY)
    emulator.delete_faults()

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "Conflict")
    assert refused.json()["error"]["message"] == (
        f"Cannot create a deployment in endpoint {name} because it is in Updating provisioning state."
    )
