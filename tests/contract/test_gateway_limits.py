"""Who may score, how often and how much: on an emulator of its own, with small limits and a clock that moves."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import PlainRest

SEED = """
principals: [{client_id: deployer, client_secret: deployer-secret}]
scoring: {requests_per_second: 0.01, most_body_bytes: 1000, private_network: 127.7.0.0/16}
"""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator that allows one request in 100 s on its clock, of at most 1000 bytes."""
    folder = tmp_path_factory.mktemp("strict")
    (folder / "seed.yaml").write_text(SEED)
    with running_emulator(folder / "state", "--seed", str(folder / "seed.yaml")) as running:
        yield running


class Empty:
    """An endpoint without online deployments: who is let in gets a 404."""

    def __init__(self, emulator: EmulatorProcess, name: str, **properties: str) -> None:
        self.rest, self.path = PlainRest(emulator), f"/onlineEndpoints/{name}"
        body = {"location": "westeurope", "properties": {"authMode": "Key", **properties}}
        assert self.rest.send("PUT", self.path, body).status_code == 201
        self.uri = self.get("")["properties"]["scoringUri"]
        self._emulator = emulator

    def get(self, action: str, body: Any = None) -> Any:
        answer = self.rest.send("POST" if action else "GET", self.path + action, body)
        return answer.raise_for_status().json()

    def score(self, key: str, content: bytes = b"{}", address: str | None = None) -> httpx.Response:
        transport = httpx.HTTPTransport(verify=self._emulator.tls, local_address=address)
        with httpx.Client(transport=transport, timeout=180) as http:
            return http.post(self.uri, content=content, headers={"Authorization": f"Bearer {key}"})

    def wait(self, seconds: float) -> None:
        """Let time pass on the emulator's clock."""
        url = f"{self._emulator.url}/_emulator/clock"
        self._emulator.http().post(url, json={"advance_seconds": seconds}).raise_for_status()


def test_more_requests_in_a_second_than_the_limit_are_429(strict: EmulatorProcess, name: str) -> None:
    endpoint = Empty(strict, name)
    key = endpoint.get("/listKeys")["primaryKey"]

    answers = [endpoint.score(key) for _ in range(3)]
    endpoint.wait(101)
    later = endpoint.score(key)

    assert [answer.status_code for answer in answers] == [404, 429, 429]
    assert "limit of requests per second" in answers[1].text
    assert "ms-azureml-model-error-reason" not in answers[1].headers
    assert later.status_code == 404


def test_the_limit_of_one_endpoint_is_not_anothers(strict: EmulatorProcess, name: str) -> None:
    endpoints = [Empty(strict, f"{name}-{number}") for number in range(2)]

    assert [one.score(one.get("/listKeys")["primaryKey"]).status_code for one in endpoints] == [404, 404]


def test_a_request_that_is_too_large_is_413(strict: EmulatorProcess, name: str) -> None:
    endpoint = Empty(strict, name, authMode="AADToken")
    token = aad_token(strict)
    created = endpoint.rest.send("GET", endpoint.path).json()["properties"]

    assert created["authMode"] == "AADToken"
    with_weight = endpoint.score(token, b"x" * 1001)
    assert with_weight.status_code == 413
    assert "larger than 1000 bytes" in with_weight.text


def test_a_disabled_public_access_lets_in_who_is_inside(strict: EmulatorProcess, name: str) -> None:
    endpoint = Empty(strict, name, publicNetworkAccess="Disabled")
    key = endpoint.get("/listKeys")["primaryKey"]

    outside, inside = endpoint.score(key), endpoint.score(key, address="127.7.0.1")

    assert (outside.status_code, inside.status_code) == (403, 404)
    assert "private endpoint" in outside.text


def test_a_regenerated_key_opens_and_the_one_before_does_not(strict: EmulatorProcess, name: str) -> None:
    endpoint = Empty(strict, name)
    before = endpoint.get("/listKeys")
    assert endpoint.rest.send("POST", f"{endpoint.path}/regenerateKeys", {"keyType": "Primary"}).status_code == 202
    after = endpoint.get("/listKeys")

    codes = [endpoint.score(before["primaryKey"]).status_code, endpoint.score(after["primaryKey"]).status_code]
    endpoint.wait(101)
    codes.append(endpoint.score(after["secondaryKey"]).status_code)

    assert codes == [401, 404, 404]
    assert after["secondaryKey"] == before["secondaryKey"]


def test_an_aml_token_expires(strict: EmulatorProcess, name: str) -> None:
    endpoint = Empty(strict, name, authMode="AMLToken")
    token = endpoint.get("/token")
    other = Empty(strict, f"{name}-2", authMode="AMLToken").get("/token")

    codes = [endpoint.score(token["accessToken"]).status_code, endpoint.score(other["accessToken"]).status_code]
    endpoint.wait(token["expiryTimeUtc"] - token["refreshAfterTimeUtc"])
    codes.append(endpoint.score(token["accessToken"]).status_code)
    endpoint.wait(token["expiryTimeUtc"] - token["refreshAfterTimeUtc"] + 1)
    codes.append(endpoint.score(token["accessToken"]).status_code)

    assert codes == [404, 401, 404, 401]


def test_an_entra_token_expires(strict: EmulatorProcess, name: str) -> None:
    endpoint = Empty(strict, name, authMode="AADToken")
    token = aad_token(strict)

    codes = [endpoint.score(token).status_code]
    endpoint.wait(3600)
    codes += [endpoint.score(token).status_code, endpoint.score(aad_token(strict)).status_code]

    assert codes == [404, 401, 404]


def aad_token(emulator: EmulatorProcess) -> str:
    form = {"grant_type": "client_credentials", "scope": "https://ml.azure.com/.default"}
    form |= {"client_id": "deployer", "client_secret": "deployer-secret"}
    url = f"{emulator.url}/{emulator.environment['AZURE_TENANT_ID']}/oauth2/v2.0/token"
    return str(emulator.http().post(url, data=form).raise_for_status().json()["access_token"])
