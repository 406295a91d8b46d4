"""The clock, the requests and the reset of `/_emulator/`; each test changes an emulator of its own as a whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential
from azure.storage.blob import ContainerClient

from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import NO_LAGS, PlainRest

HOUR = 3600
SCALE = 20
ENDPOINT = {"location": "westeurope", "properties": {"authMode": "Key"}}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EmulatorProcess]:
    """An emulator that takes twenty times as long as Azure does, on its clock: longer than any test lasts."""
    with running_emulator(tmp_path, "--profile", f"azure:{SCALE}", "--seed", str(NO_LAGS)) as emulator:
        for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, emulator.environment[name])
        yield emulator


def advance(emulator: EmulatorProcess, seconds: float) -> Any:
    url = f"{emulator.url}/_emulator/clock"
    return emulator.http().post(url, json={"advance_seconds": seconds}).raise_for_status().json()


def test_an_operation_ends_when_the_clock_has_moved_past_its_time(own: EmulatorProcess) -> None:
    rest = PlainRest(own)
    rest.send("PUT", "/onlineEndpoints/patient", ENDPOINT).raise_for_status()
    before = rest.state("/onlineEndpoints/patient")

    advance(own, 60 * SCALE)
    meanwhile = rest.state("/onlineEndpoints/patient")
    advance(own, 60 * SCALE)

    assert (before, meanwhile, rest.state("/onlineEndpoints/patient")) == ("Creating", "Creating", "Succeeded")


def test_deleting_an_endpoint_without_online_deployments_takes_eight_seconds(own: EmulatorProcess) -> None:
    rest = PlainRest(own)
    rest.send("PUT", "/onlineEndpoints/patient", ENDPOINT).raise_for_status()
    advance(own, 120 * SCALE)
    rest.send("DELETE", "/onlineEndpoints/patient").raise_for_status()

    before = rest.state("/onlineEndpoints/patient")
    advance(own, 8 * SCALE + 1)

    assert (before, rest.send("GET", "/onlineEndpoints/patient").status_code) == ("Deleting", 404)


def test_a_slow_operation_takes_its_seconds_longer(own: EmulatorProcess) -> None:
    rest = PlainRest(own)
    own.fail(method="PUT", path="slowly", operation="slow", delay_seconds=1200)
    rest.send("PUT", "/onlineEndpoints/slowly", ENDPOINT).raise_for_status()

    states = []
    for _ in range(2):
        advance(own, 1600)  # a usual creation takes 1500
        states.append(rest.state("/onlineEndpoints/slowly"))

    assert states == ["Creating", "Succeeded"]


def test_tokens_and_signatures_expire_on_the_moved_clock(own: EmulatorProcess) -> None:
    rest = PlainRest(own)
    upload = rest.send("POST", "/codes/some/versions/1/startPendingUpload", {}).json()["blobReferenceForConsumption"]
    container = ContainerClient.from_container_url(upload["credential"]["sasUri"])
    container.upload_blob("before", b"x")

    advance(own, 25 * HOUR)

    late = rest.send("GET", "/onlineEndpoints")
    assert (late.status_code, late.json()["error"]["code"]) == (401, "ExpiredAuthenticationToken")
    with pytest.raises(ClientAuthenticationError, match="not valid in the specified time frame"):
        container.upload_blob("after", b"x")


def test_a_moved_clock_stays_moved_over_a_kill_until_a_reset(own: EmulatorProcess, tmp_path: Path) -> None:
    advance(own, 25 * HOUR)
    own.kill()

    with running_emulator(tmp_path) as again:
        after_kill = again.get("clock")["ahead_seconds"]
        again.reset()

        assert (after_kill, again.get("clock")["ahead_seconds"]) == (25 * HOUR, 0)
        assert own.environment == again.environment


@pytest.mark.parametrize("step", [{}, {"advance_seconds": -1}, {"advance_seconds": 1e12}, {"seconds": 5}])
def test_the_clock_goes_forward_only(own: EmulatorProcess, step: dict[str, float]) -> None:
    answer = own.http().post(f"{own.url}/_emulator/clock", json=step)

    assert (answer.status_code, bool(answer.json()["problems"])) == (400, True)


def test_a_reset_ends_faults_and_stuck_operations(own: EmulatorProcess) -> None:
    rest = PlainRest(own)
    own.fail(path="held", operation="stuck", count=None)
    rest.send("PUT", "/onlineEndpoints/held", ENDPOINT).raise_for_status()

    own.reset()

    assert own.get("faults") == []
    assert own.get("health")["running_operations"] == 0
    assert rest.send("GET", "/onlineEndpoints/held").status_code == 404


def test_a_credential_goes_on_working_when_time_has_passed(own: EmulatorProcess) -> None:
    variables = own.environment
    credential = ClientSecretCredential(
        variables["AZURE_TENANT_ID"],
        variables["AZURE_CLIENT_ID"],
        variables["AZURE_CLIENT_SECRET"],
        authority=own.url,
        disable_instance_discovery=True,
    )

    advance(own, 25 * HOUR)

    token = credential.get_token(f"{own.url}/.default").token
    rest = PlainRest(own, token)
    assert rest.send("GET", "/onlineEndpoints").status_code == 200


def test_requests_are_numbered_so_that_a_test_can_ask_for_those_since_another(own: EmulatorProcess) -> None:
    rest = PlainRest(own)
    rest.send("GET", "/onlineEndpoints")
    first = own.get("requests")[-1]["number"]
    rest.send("GET", "/models")
    own.reset()
    rest.send("GET", "/environments")

    (later,) = own.get(f"requests?after={first}")
    refused = own.http().get(f"{own.url}/_emulator/requests?after=yesterday")

    assert later["path"].endswith("/environments")
    assert later["number"] == first + 2, "a reset forgets requests, and counts on"
    assert (refused.status_code, refused.json()["problems"]) == (400, ["after=yesterday: use the number of a request"])
