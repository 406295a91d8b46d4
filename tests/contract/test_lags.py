"""Reads, lists and the gateway lag behind writes, by faults and by profile; on an emulator whose clock is moved."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from rollway.emulator.core.lags import LagSeconds
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import ENDPOINT, PlainRest, register_assets, wait_for

LAG = 300  # seconds: longer than any test takes
Deploy = Callable[..., None]


@pytest.fixture
def rest(own: EmulatorProcess) -> Iterator[PlainRest]:
    yield PlainRest(own)
    own.delete_faults()


@pytest.fixture(scope="module")
def wanted(own: EmulatorProcess) -> dict[str, Any]:
    """The body of an online deployment whose assets are registered."""
    return register_assets(PlainRest(own))


@pytest.fixture
def deploy(rest: PlainRest, endpoint: str, wanted: dict[str, Any]) -> Deploy:
    """Creates online deployments of the endpoint."""

    def create(*names: str) -> None:
        for name in names:
            rest.send("PUT", f"{endpoint}/deployments/{name}", wanted).raise_for_status()
            assert wait_for(rest, f"{endpoint}/deployments/{name}") == "Succeeded"

    return create


@pytest.fixture
def endpoint(rest: PlainRest) -> str:
    """The path of a new endpoint without online deployments."""
    path = f"/onlineEndpoints/t-{uuid.uuid4().hex[:12]}"
    rest.send("PUT", path, ENDPOINT).raise_for_status()
    return path


def lag(own: EmulatorProcess, method: str, path: str, **seconds: float) -> None:
    """Let readers lag behind the next write."""
    own.fail(method=method, path=f"{path}$", lag_seconds=seconds)


def set_weights(rest: PlainRest, endpoint: str, **weights: int) -> None:
    body = {**ENDPOINT, "properties": {"authMode": "Key", "traffic": weights}}
    rest.send("PUT", endpoint, body).raise_for_status()
    assert rest.state(endpoint) == "Succeeded"


def weights(rest: PlainRest, endpoint: str) -> Any:
    return rest.send("GET", endpoint).json()["properties"]["traffic"]


def score(rest: PlainRest, endpoint: str, pinned: str = "") -> httpx.Response:
    """One scoring request, pinned if a name is given."""
    uri = rest.send("GET", endpoint).json()["properties"]["scoringUri"]
    key = rest.send("POST", f"{endpoint}/listKeys").json()["primaryKey"]
    headers = {"Authorization": f"Bearer {key}", **({"azureml-model-deployment": pinned} if pinned else {})}
    return rest.http.post(uri, json={}, headers=headers)


@pytest.fixture
def moved(own: EmulatorProcess, rest: PlainRest, deploy: Deploy, endpoint: str) -> str:
    """The path of an endpoint whose traffic has moved from blue to green, unknown to the gateway yet."""
    deploy("blue", "green")
    set_weights(rest, endpoint, blue=100)
    lag(own, "PUT", endpoint, gateway=LAG)
    set_weights(rest, endpoint, green=100)
    return endpoint


def test_the_gateway_routes_by_the_old_weights_for_its_lag(own: EmulatorProcess, rest: PlainRest, moved: str) -> None:
    during = [score(rest, moved).headers["azureml-model-deployment"] for _ in range(3)]
    pinned = score(rest, moved, "green")
    shown = weights(rest, moved)
    own.advance_clock(LAG)

    assert (during, shown) == (["blue"] * 3, {"green": 100})
    assert pinned.headers["azureml-model-deployment"] == "green"
    assert score(rest, moved).headers["azureml-model-deployment"] == "green"


def test_the_gateway_still_routes_to_an_online_deployment_that_was_deleted_in_its_lag(
    own: EmulatorProcess, rest: PlainRest, moved: str
) -> None:
    rest.send("DELETE", f"{moved}/deployments/blue").raise_for_status()
    while rest.send("GET", f"{moved}/deployments/blue").status_code == 200:
        pass
    lost = score(rest, moved)
    own.advance_clock(LAG)

    assert (lost.status_code, "No valid deployments" in lost.text) == (404, True)
    assert score(rest, moved).status_code == 200


def test_pinned_requests_meet_404_503_and_424_while_an_online_deployment_is_new_to_the_gateway(
    own: EmulatorProcess, rest: PlainRest, deploy: Deploy, endpoint: str
) -> None:
    lag(own, "PUT", f"{endpoint}/deployments/blue", gateway=3 * LAG)
    deploy("blue")

    answers = []
    for _ in range(4):
        answers.append(score(rest, endpoint, "blue"))
        own.advance_clock(LAG)

    assert [one.status_code for one in answers] == [404, 503, 424, 200]
    assert answers[0].text == "The endpoint has no online deployment named blue to route to."
    assert answers[1].text == "no healthy upstream"
    assert answers[2].headers["ms-azureml-model-error-reason"] == "model_not_ready"


def test_an_updated_online_deployment_is_not_new_to_the_gateway(
    own: EmulatorProcess, rest: PlainRest, deploy: Deploy, endpoint: str
) -> None:
    deploy("blue")
    lag(own, "PATCH", f"{endpoint}/deployments/blue", gateway=LAG)

    rest.send("PATCH", f"{endpoint}/deployments/blue", {"tags": {"run": "7"}}).raise_for_status()

    assert score(rest, endpoint, "blue").status_code == 200


def test_a_read_shows_the_state_before_a_write_and_the_next_write_does_not(
    own: EmulatorProcess, rest: PlainRest, endpoint: str
) -> None:
    lag(own, "PATCH", endpoint, reads=LAG)

    rest.send("PATCH", endpoint, {"tags": {"run": "7"}}).raise_for_status()
    read = rest.send("GET", endpoint).json()
    again = rest.send("PATCH", endpoint, {"tags": {"more": "8"}})
    own.advance_clock(LAG)

    assert (read["tags"], read["properties"]["provisioningState"]) == ({}, "Succeeded")
    assert again.status_code == 202
    assert rest.send("GET", endpoint).json()["tags"] == {"run": "7", "more": "8"}


def test_a_new_endpoint_is_a_404_and_a_deleted_one_is_there_until_reads_have_caught_up(
    own: EmulatorProcess, rest: PlainRest, endpoint: str
) -> None:
    new = f"{endpoint}-2"
    lag(own, "PUT", new, reads=LAG)
    lag(own, "DELETE", endpoint, reads=LAG)

    rest.send("PUT", new, ENDPOINT).raise_for_status()
    rest.send("DELETE", endpoint).raise_for_status()
    paths = (new, endpoint)
    during = [rest.send("GET", path).status_code for path in paths]
    listed = {one["name"] for one in rest.send("GET", "/onlineEndpoints?$top=1000").json()["value"]}
    own.advance_clock(LAG)

    assert during == [404, 200]
    assert listed & {path.rpartition("/")[2] for path in paths} == {endpoint.rpartition("/")[2]}
    assert [rest.send("GET", path).status_code for path in paths] == [200, 404]


def test_a_list_of_online_deployments_can_lag_when_a_single_read_does_not(
    own: EmulatorProcess, rest: PlainRest, deploy: Deploy, endpoint: str
) -> None:
    deploy("blue")
    lag(own, "PUT", f"{endpoint}/deployments/green", lists=LAG)
    deploy("green")

    def names() -> list[str]:
        return [one["name"] for one in rest.send("GET", f"{endpoint}/deployments").json()["value"]]

    during, single = names(), rest.state(f"{endpoint}/deployments/green")
    own.advance_clock(LAG)

    assert (during, single) == (["blue"], "Succeeded")
    assert names() == ["blue", "green"]


def test_deleting_faults_ends_all_lags(own: EmulatorProcess, rest: PlainRest, endpoint: str) -> None:
    lag(own, "PATCH", endpoint, reads=LAG)
    rest.send("PATCH", endpoint, {"tags": {"run": "7"}}).raise_for_status()
    before = rest.send("GET", endpoint).json()["tags"]

    own.delete_faults()

    assert (before, rest.send("GET", endpoint).json()["tags"]) == ({}, {"run": "7"})


def test_a_lag_with_a_delay_is_refused(own: EmulatorProcess) -> None:
    fault = {"path": "x", "lag_seconds": {"reads": 1}, "delay_seconds": 1}

    answer = own.http().post(f"{own.url}/_emulator/faults", content=json.dumps([fault]))

    assert (answer.status_code, "without delay_seconds" in answer.json()["problems"][0]["msg"]) == (400, True)


def test_with_the_profile_azure_reads_lag_a_little_behind_the_start_and_the_end_of_an_operation(
    tmp_path: Path,
) -> None:
    with running_emulator(tmp_path, "--profile", "azure:100") as emulator:  # a hundred times slower, on its clock
        rest, path = PlainRest(emulator), "/onlineEndpoints/patient"
        rest.send("PUT", path, ENDPOINT).raise_for_status()

        seen: list[int | str] = [rest.send("GET", path).status_code]
        for seconds in (200, 7350, 150):
            emulator.advance_clock(seconds)
            rest = PlainRest(emulator)  # the token has expired
            seen.append(rest.state(path))

    assert seen == [404, "Creating", "Creating", "Succeeded"]


@pytest.mark.parametrize(
    ("own_lags", "expected"),
    [
        ({}, {"gateway": 5, "reads": 2, "lists": 4}),
        ({"reads": 0}, {"gateway": 5, "reads": 0, "lists": 0}),
        ({"reads": 7, "lists": 9}, {"gateway": 5, "reads": 7, "lists": 9}),
        ({"gateway": 0, "lists": 0}, {"gateway": 0, "reads": 2, "lists": 0}),
    ],
)
def test_a_lag_that_is_not_set_has_its_default_and_lists_follow_reads(
    own_lags: dict[str, float], expected: dict[str, float]
) -> None:
    assert LagSeconds(**own_lags).resolve({"gateway": 5, "reads": 2, "lists": 4}) == expected
