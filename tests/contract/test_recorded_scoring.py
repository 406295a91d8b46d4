"""Refusals and headers of the scoring gateway, and the tokens of endpoints, as recorded in Azure."""

from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from rollway.emulator.core.clock import Clock, format_iso
from rollway.emulator.core.store import Resource, Store
from rollway.emulator.login.endpoint_tokens import EndpointTokens, InvalidEndpointToken
from tests.contract.conftest import Arm, StoppedClock
from tests.support.emulator_process import EmulatorProcess

TENANT = "tenant"
WORKSPACE = Resource("workspaces", {"id": "/w", "name": "w", "properties": {"workspaceId": "guid-of-w"}})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    opened = Store(tmp_path / "state.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return StoppedClock()


@pytest.fixture
def tokens(store: Store, clock: Clock) -> EndpointTokens:
    return EndpointTokens(store, clock, TENANT)


def an_endpoint(name: str = "e", created_at: str = "2022-10-28T19:14:54.2541612+00:00") -> Resource:
    document = {"id": f"/w/onlineEndpoints/{name}", "name": name, "systemData": {"createdAt": created_at}}
    return Resource("endpoints", document)


def test_a_token_has_the_recorded_claims_and_lifetimes(tokens: EndpointTokens, clock: Clock) -> None:
    answer = tokens.issue(WORKSPACE, an_endpoint(), "somebody")
    now, header = int(clock.now()), jwt.get_unverified_header(answer["accessToken"])
    claims = jwt.decode(answer["accessToken"], options={"verify_signature": False})

    assert (header["alg"], header["typ"], len(header["kid"])) == ("RS256", "JWT", 40)
    assert {**claims, "exp": claims["exp"] - now} == {
        "canRefresh": "False",
        "workspaceId": "guid-of-w",
        "tid": TENANT,
        "oid": "somebody",
        "actions": '["Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"]',
        "endpointName": "e",
        "serviceId": "e",
        "exp": 24 * 3600,
        "iss": "azureml",
        "aud": "azureml",
    }
    assert answer["tokenType"] == "Bearer"
    assert answer["expiryTimeUtc"] == claims["exp"]
    assert answer["expiryTimeUtc"] - answer["refreshAfterTimeUtc"] == 12 * 3600


def test_a_token_opens_its_endpoint_until_a_day_has_passed(tokens: EndpointTokens, clock: Clock) -> None:
    token = tokens.issue(WORKSPACE, an_endpoint(), "somebody")["accessToken"]

    tokens.check(token, WORKSPACE, an_endpoint())
    clock.advance(24 * 3600 + 1)
    with pytest.raises(InvalidEndpointToken, match="expired"):
        tokens.check(token, WORKSPACE, an_endpoint())


def test_a_token_opens_no_other_endpoint_and_none_that_is_younger(tokens: EndpointTokens, clock: Clock) -> None:
    token = tokens.issue(WORKSPACE, an_endpoint(), "somebody")["accessToken"]
    elsewhere = Resource("workspaces", {**WORKSPACE.document, "properties": {"workspaceId": "another"}})
    clock.advance(60)
    again = an_endpoint(created_at=format_iso(clock.now()))

    for workspace, endpoint, why in (
        (WORKSPACE, an_endpoint("other"), "it is for the endpoint e"),
        (elsewhere, an_endpoint(), "it is for the endpoint e"),
        (WORKSPACE, again, "it is older than the endpoint"),
    ):
        with pytest.raises(InvalidEndpointToken, match=why):
            tokens.check(token, workspace, endpoint)


def test_a_token_outlives_a_restart_and_a_changed_one_opens_nothing(
    tokens: EndpointTokens, store: Store, clock: Clock
) -> None:
    token = tokens.issue(WORKSPACE, an_endpoint(), "somebody")["accessToken"]
    restarted = EndpointTokens(store, clock, TENANT)

    restarted.check(token, WORKSPACE, an_endpoint())
    for changed in (token.rpartition(".")[0] + ".c2lnbmF0dXJl", jwt.encode({"aud": "azureml"}, "k" * 32), "no token"):
        with pytest.raises(InvalidEndpointToken):
            restarted.check(changed, WORKSPACE, an_endpoint())


@pytest.mark.parametrize("mode", ["Key", "AMLToken", "AADToken"])
@pytest.mark.parametrize(
    ("header", "text"),
    [
        (None, "key_auth_bad_header_forbidden"),
        ("Bearer", "key_auth_bad_header_forbidden"),
        ("Basic abc", "key_auth_bad_header_forbidden"),
        ("Bearer wrong", "key_auth_access_denied"),
    ],
)
def test_a_refused_credential_has_the_text_of_azure(
    arm: Arm, emulator: EmulatorProcess, name: str, mode: str, header: str | None, text: str
) -> None:
    body = {"location": "westeurope", "properties": {"authMode": mode}}
    arm.send("PUT", f"/onlineEndpoints/{name}", body).raise_for_status()
    uri = arm.send("GET", f"/onlineEndpoints/{name}").json()["properties"]["scoringUri"]

    answer = emulator.http().post(uri, json={}, headers={} if header is None else {"Authorization": header})

    assert (answer.status_code, answer.text) == (401, text)
