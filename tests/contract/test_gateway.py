"""Scoring through the gateway, with httpx."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model, OnlineRequestSettings

from tests.contract.conftest import Served, create_endpoint, describe, serving, set_traffic
from tests.support.emulator_process import EmulatorProcess


@pytest.fixture(scope="module")
def troubled(client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess) -> Served:
    """An endpoint with `raises` (weight 30), `other` (70) and `slow` (0), which answers too late."""
    name = "troubled-endpoint"
    create_endpoint(client, name)
    for script, deployment, settings in (
        ("raises", "raises", {}),
        ("wrong_output", "other", {}),
        ("slow", "slow", {"request_settings": OnlineRequestSettings(request_timeout_ms=500)}),
    ):
        wanted = describe(name, model, environment, deployment, script, **settings)
        client.online_deployments.begin_create_or_update(wanted).result()
    set_traffic(client, name, raises=30, other=70)
    return serving(client, emulator, name)


def test_an_answer_has_the_services_headers(served: Served) -> None:
    answer = served.score({"x": 1}, x_request_id="mine", x_ms_client_request_id="my id/" + "7" * 50)

    assert (answer.status_code, answer.json()["echo"]) == (200, {"x": 1})
    assert answer.headers["azureml-model-deployment"] == "blue"
    assert answer.headers["server"] == "azureml-frontdoor"
    assert answer.headers["x-request-id"] != "mine"
    assert answer.headers["x-ms-client-request-id"] == "myid" + "7" * 36
    assert float(answer.headers["x-ms-run-fn-exec-ms"]) >= 0
    assert answer.headers["x-ms-server-version"].startswith("azmlinfsrv/")


@pytest.mark.parametrize("key", ["Bearer", "wrong"])
def test_a_missing_or_wrong_key_is_a_401(served: Served, key: str) -> None:
    assert served.score({}, key=key).status_code == 401


def test_both_keys_work(client: MLClient, served: Served) -> None:
    keys = client.online_endpoints.get_keys(served.name)

    assert [served.score({}, key=key).status_code for key in (keys.primary_key, keys.secondary_key)] == [200, 200]


def test_an_unknown_name_in_the_header_is_a_404(served: Served) -> None:
    assert served.score({}, azureml_model_deployment="absent").status_code == 404


def test_an_unknown_endpoint_is_a_404(served: Served) -> None:
    elsewhere = Served("x", served.uri.replace(served.name, "absent"), served.key, served.emulator)

    assert elsewhere.score({}).status_code == 404


def test_an_endpoint_without_traffic_is_a_404(client: MLClient, emulator: EmulatorProcess, name: str) -> None:
    create_endpoint(client, name)
    empty = serving(client, emulator, name)

    answer = empty.score({})

    assert (answer.status_code, "No valid deployments" in answer.text) == (404, True)


def test_requests_are_spread_over_the_instances(client: MLClient, served: Served) -> None:
    with ThreadPoolExecutor(8) as pool:
        codes = Counter(answer.status_code for answer in pool.map(lambda _: served.score({}), range(4)))

    assert codes == {200: 4}


def test_an_error_of_the_model_is_a_424_that_tells_its_status(troubled: Served) -> None:
    answer = troubled.score({}, azureml_model_deployment="raises")

    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == "500"
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert answer.headers["x-ms-run-function-failed"] == "True"


def test_a_model_that_is_too_slow_is_a_408(troubled: Served) -> None:
    assert troubled.score({}, azureml_model_deployment="slow").status_code == 408


def test_more_pending_requests_than_allowed_are_429(troubled: Served) -> None:
    held = {"at": "container", "path": f"^/{troubled.name}/other/", "delay_seconds": 3600, "count": None}
    troubled.emulator.fail(**held)
    with ThreadPoolExecutor(6) as pool:
        requests = [pool.submit(troubled.score, {}, azureml_model_deployment="other") for _ in range(6)]
        ended = as_completed(requests)
        refused = [next(ended).result() for _ in range(4)]
        troubled.emulator.delete_faults()
        answered = [one.result() for one in ended]

    assert [one.status_code for one in refused] == [429] * 4
    assert [one.status_code for one in answered] == [200] * 2
    assert {(one.headers["ms-azureml-model-error-reason"], one.text) for one in refused} == {
        ("too_many_pending_request", "")
    }


def test_weights_decide_where_requests_go(troubled: Served) -> None:
    with troubled.emulator.http() as http:
        headers = {"Authorization": f"Bearer {troubled.key}"}
        found = Counter(
            http.post(troubled.uri, json={}, headers=headers).headers["azureml-model-deployment"] for _ in range(300)
        )

    # 300 draws at 30 %: the probability to leave this interval is below 1e-6
    assert set(found) == {"raises", "other"}
    assert 50 <= found["raises"] <= 135


def test_an_aml_token_opens_its_endpoint_only(
    client: MLClient, emulator: EmulatorProcess, name: str, token: Callable[..., str]
) -> None:
    uri = create_endpoint(client, name, auth_mode="aml_token").scoring_uri
    endpoint = Served(name, str(uri), str(client.online_endpoints.get_keys(name).access_token), emulator)

    assert endpoint.score({}).status_code == 404  # let in, and there is nothing to route to
    assert endpoint.score({}, key=token("https://ml.azure.com/.default")).status_code == 401


def test_an_entra_token_needs_the_right_to_score(
    client: MLClient, emulator: EmulatorProcess, name: str, token: Callable[..., str]
) -> None:
    endpoint = Served(name, str(create_endpoint(client, name, auth_mode="aad_token").scoring_uri), "", emulator)
    scope = "https://ml.azure.com/.default"

    codes = [endpoint.score({}, key=token(scope, who)).status_code for who in ("contributor", "stranger")]

    assert codes == [404, 403]
    assert endpoint.score({}, key=token()).status_code == 401


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_trouble_of_the_service_itself_reaches_the_caller_and_passes(
    client: MLClient, emulator: EmulatorProcess, name: str, status: int
) -> None:
    create_endpoint(client, name)
    served = serving(client, emulator, name)
    emulator.fail(method="POST", path=f"/inference/westeurope/{name}/score$", status=status, body="upstream error")

    answers = [served.score({}) for _ in range(2)]

    assert [(answer.status_code, answer.text) for answer in answers[:1]] == [(status, "upstream error")]
    assert answers[1].status_code == 404


def test_a_request_for_a_web_socket_is_answered_as_any_other(served: Served) -> None:
    headers = {"Authorization": f"Bearer {served.key}", "Connection": "upgrade", "Upgrade": "websocket"}
    with served.emulator.http() as http:
        answer = http.get(served.uri.replace("/score", "/swagger.json"), headers=headers)

    assert (answer.status_code, "paths" in answer.json()) == (200, True)
