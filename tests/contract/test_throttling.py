"""ARM's throttling, on an emulator whose seed has small buckets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import Arm, session_with
from tests.contract.test_second_witness import MANAGEMENT_CLIENT, PLACE, REQUIREMENTS
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.other_clients import OtherClient
from tests.support.plain_rest import PlainRest, get_token

ATTEMPTS = 10
READS, ALL_READS = (f"x-ms-ratelimit-remaining-subscription-{part}reads" for part in ("", "global-"))
SEED = """
principals:
  - {client_id: busy, client_secret: busy-secret}
  - {client_id: calm, client_secret: calm-secret}
throttling:
  reads: {size: 3, per_second: 0.001}
  writes: {size: 3, per_second: 0.001}
  deletes: {size: 1, per_second: 0.2}
  resource_requests: {size: 2, per_second: 0.001}
"""


@pytest.fixture(scope="module")
def throttled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    folder = tmp_path_factory.mktemp("throttled")
    (folder / "seed.yaml").write_text(SEED)
    with running_emulator(folder / "state", "--seed", str(folder / "seed.yaml")) as running:
        yield running


@pytest.fixture
def rest(throttled: EmulatorProcess) -> PlainRest:
    """Access of the busy principal, whose buckets are full again."""
    advance(throttled, 3600)
    return PlainRest(throttled)


def advance(emulator: EmulatorProcess, seconds: float) -> None:
    answer = emulator.http().post(f"{emulator.url}/_emulator/clock", json={"advance_seconds": seconds})
    answer.raise_for_status()


def test_remaining_requests_are_counted_down_and_then_refused(rest: PlainRest) -> None:
    remaining = [rest.send("GET", "").headers[READS] for _ in range(3)]

    refused = rest.send("GET", "")

    assert remaining == ["2", "1", "0"]
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "SubscriptionRequestsThrottled")
    assert 800 <= int(refused.headers["Retry-After"]) <= 1000
    assert refused.headers[READS] == "0"


def test_an_error_tells_what_remains_after_it(rest: PlainRest) -> None:
    answers = [rest.send("GET", f"/{path}") for path in ("onlineEndpoints/absent", "models/absent", "unknown")]

    assert [answer.status_code for answer in answers] == [404, 404, 501]
    assert [answer.headers[READS] for answer in answers] == ["2", "1", "0"]


def test_after_the_time_of_retry_after_a_request_passes(rest: PlainRest, throttled: EmulatorProcess) -> None:
    while (refused := rest.send("GET", "")).status_code == 200:
        pass

    advance(throttled, int(refused.headers["Retry-After"]))

    assert [rest.send("GET", "").status_code for _ in range(2)] == [200, 429]


def test_writes_have_a_bucket_of_their_own(rest: PlainRest, name: str) -> None:
    while rest.send("GET", "").status_code == 200:
        pass

    body = {"location": "westeurope", "properties": {"authMode": "Key"}}
    answer = rest.send("PUT", f"/onlineEndpoints/{name}", body)

    assert (answer.status_code, answer.headers["x-ms-ratelimit-remaining-subscription-writes"]) == (201, "2")


def test_writes_of_online_deployments_have_another_one(rest: PlainRest, name: str) -> None:
    path = f"/onlineEndpoints/{name}/deployments/blue"
    rest.send("PUT", f"/onlineEndpoints/{name}", {"location": "westeurope", "properties": {"authMode": "Key"}})

    answers = [rest.send("PUT", path, {"location": "westeurope"}) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [400, 400, 429]
    assert "Number of resource requests for subscription" in answers[-1].json()["error"]["message"]
    assert answers[-1].headers["x-ms-ratelimit-remaining-subscription-resource-requests"] == "0"


def test_another_principal_is_not_throttled(rest: PlainRest, throttled: EmulatorProcess) -> None:
    while rest.send("GET", "").status_code == 200:
        pass

    answer = PlainRest(throttled, get_token(throttled, "calm")).send("GET", "")

    assert (answer.status_code, answer.headers[READS]) == (200, "2")
    assert int(answer.headers[ALL_READS]) < 45


def test_a_reset_fills_the_buckets(rest: PlainRest, throttled: EmulatorProcess) -> None:
    while rest.send("GET", "").status_code == 200:
        pass

    throttled.reset()

    assert PlainRest(throttled).send("GET", "").headers[READS] == "2"


def test_the_management_client_waits_as_long_as_it_is_told(rest: PlainRest, throttled: EmulatorProcess) -> None:
    management = OtherClient(REQUIREMENTS, MANAGEMENT_CLIENT, throttled.environment)
    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < ATTEMPTS:  # on a busy machine the bucket may be full again
        management("online_endpoints.begin_delete", **PLACE, endpoint_name="absent")
        statuses = [one["status"] for one in throttled.get("requests") if one["method"] == "DELETE"]
    management.close()

    assert statuses[-3:] == [204, 429, 204]
    assert statuses.count(429) == 1


def test_rollways_session_slows_down_before_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("throttling: {reads: {size: 60, per_second: 20}}")
    with running_emulator(tmp_path / "state", "--seed", str(tmp_path / "seed.yaml")) as emulator:
        with session_with(emulator) as session:
            for _ in range(100):
                session.read_workspace()
        requests = [one for one in emulator.get("requests") if one["method"] == "GET"]

    assert len(requests) >= 100
    assert {one["status"] for one in requests} == {200}


def test_nothing_is_throttled_unless_the_seed_says_so(arm: Arm) -> None:
    answers = [arm.send("GET", "") for _ in range(260)]

    assert {answer.status_code for answer in answers} == {200}
    assert answers[-1].headers[READS] == "249"
