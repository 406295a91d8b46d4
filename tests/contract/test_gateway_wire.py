"""The gateway on the wire: headers, bodies, status codes of the model, and copies to a mirror."""

import json
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model, OnlineRequestSettings

from tests.contract.conftest import (
    PATIENT_MS,
    Arm,
    Served,
    create_endpoint,
    describe,
    serving,
    set_traffic,
)
from tests.support.emulator_process import EmulatorProcess
from tests.support.waiting import wait_for

SETTINGS = OnlineRequestSettings(request_timeout_ms=PATIENT_MS, max_concurrent_requests_per_instance=20)
ATTEMPTS = 10


@pytest.fixture(scope="module")
def open_minded(client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess) -> Served:
    """An endpoint whose model answers as it is asked to; half of its requests are copied to `shadow`."""
    name = f"wire-{uuid.uuid4().hex[:8]}"
    create_endpoint(client, name)
    hasty = OnlineRequestSettings(request_timeout_ms=500)
    for deployment, settings in (("live", SETTINGS), ("shadow", SETTINGS), ("hasty", hasty)):
        wanted = describe(name, model, environment, deployment, "any_answer", request_settings=settings)
        client.online_deployments.begin_create_or_update(wanted).result()
    endpoint = set_traffic(client, name, live=100)
    endpoint.mirror_traffic = {"shadow": 50}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    return serving(client, emulator, name)


def ask(served: Served, query: str = "", http: httpx.Client | None = None, **headers: str) -> httpx.Response:
    given = {"Authorization": f"Bearer {served.key}", "azureml-model-deployment": "live"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    with http or served.emulator.http() as one:
        return one.post(f"{served.uri}{query}", content=b"{}", headers={k: v for k, v in given.items() if v})


def test_the_container_sees_the_clients_headers_but_not_its_key(open_minded: Served) -> None:
    answer = ask(open_minded, x_mine="kept", x_request_id="mine", x_ms_client_request_id="an id!" + "7" * 120)

    seen = {name.lower(): value for name, value in json.loads(answer.text).items()}
    assert (answer.status_code, seen["x-mine"]) == (200, "kept")
    assert "authorization" not in seen
    assert seen["x-request-id"] == answer.headers["x-request-id"] != "mine"
    # Cut before it is passed on: the inference server refuses more than 100 characters with a 431.
    assert seen["x-ms-client-request-id"] == answer.headers["x-ms-client-request-id"] == "anid" + "7" * 36


def test_an_answer_without_a_client_request_id_has_none_and_names_its_deployment(open_minded: Served) -> None:
    answer = ask(open_minded)

    uuid.UUID(answer.headers["x-request-id"])
    assert answer.headers["x-ms-request-id"] == answer.headers["x-request-id"]
    assert "x-ms-client-request-id" not in answer.headers
    assert answer.headers.get_list("azureml-model-deployment") == ["live"]
    assert answer.headers["azureml-model-session"] == "live"
    assert "ms-azureml-model-time" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("status", [201, 204, 302, 400, 401, 404, 429, 500, 503])
def test_any_status_of_the_model_but_200_is_a_424_that_tells_it(open_minded: Served, status: int) -> None:
    answer = ask(open_minded, f"?status={status}")

    assert answer.status_code == 424
    assert answer.headers["ms-azureml-model-error-statuscode"] == str(status)
    assert answer.headers["ms-azureml-model-error-reason"] == "model_error"
    assert int(answer.headers["ms-azureml-model-time"]) >= 0
    assert answer.headers["azureml-model-deployment"] == "live"
    assert status == 204 or answer.json() == {"status": status}


def test_a_body_is_passed_on_while_the_model_still_writes_it(open_minded: Served, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {open_minded.key}", "azureml-model-deployment": "live"}
    url = f"{open_minded.uri}?wait_for={tmp_path / 'go'}"
    with open_minded.emulator.http() as http, http.stream("POST", url, content=b"{}", headers=headers) as answer:
        chunks = answer.iter_text()
        first = next(chunks)
        (tmp_path / "go").touch()
        rest = "".join(chunks)

    assert (answer.status_code, first, rest) == (200, "first ", "second")


def test_a_body_that_outlasts_the_request_timeout_is_cut(open_minded: Served, tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {open_minded.key}", "azureml-model-deployment": "hasty"}
    received: list[str] = []
    for attempt in range(ATTEMPTS):
        later = tmp_path / f"later-{attempt}"
        with (
            open_minded.emulator.http() as http,
            http.stream("POST", f"{open_minded.uri}?wait_for={later}", content=b"{}", headers=headers) as answer,
        ):
            if answer.status_code != 408:  # on a busy machine the time may be over before the body begins
                with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
                    received += answer.iter_text()
                break
        later.touch()  # the one worker can take the next request

    assert answer.status_code == 200  # it had begun
    assert "second" not in "".join(received)


def test_a_large_body_comes_whole(open_minded: Served) -> None:
    assert ask(open_minded, f"?size={5 * 1024 * 1024}").text == "x" * 5 * 1024 * 1024


def test_a_body_sent_in_chunks_arrives(served: Served) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"x": '
        yield b"1}"

    with served.emulator.http() as http:
        answer = http.post(served.uri, content=chunks(), headers={"Authorization": f"Bearer {served.key}"})

    assert (answer.status_code, answer.json()["echo"]) == (200, {"x": 1})


def hang_up(served: Served, length: str, part: bytes) -> None:
    """Send the beginning of a scoring request, and close the connection when the emulator has its headers."""
    url, seen = urlsplit(served.uri), len(served.emulator.get("requests"))
    lines = [f"POST {url.path} HTTP/1.1", f"Host: {url.netloc}", f"Authorization: Bearer {served.key}", length]
    head = "\r\n".join([*lines, "azureml-model-deployment: live", "", ""]).encode()
    with (
        socket.create_connection((str(url.hostname), int(url.port or 443))) as plain,
        served.emulator.tls.wrap_socket(plain, server_hostname=url.hostname) as connection,
    ):
        connection.sendall(head + part)
        wait_for(lambda: len(served.emulator.get("requests")) > seen, "request")


@pytest.mark.parametrize(
    ("length", "part"),
    [("Content-Length: 100", b'{"half": 1}'), ("Transfer-Encoding: chunked", b'b\r\n{"half": 1}\r\n')],
    ids=["length", "chunked"],
)
def test_a_request_whose_client_hangs_up_is_neither_scored_nor_counted(
    client: MLClient, arm: Arm, open_minded: Served, length: str, part: bytes
) -> None:
    def scored() -> tuple[int, float]:
        logs = client.online_deployments.get_logs("live", open_minded.name, 10_000)
        query = "metricnames=RequestsPerMinute&aggregation=Total"
        path = f"/onlineEndpoints/{open_minded.name}/deployments/live/providers/Microsoft.Insights/metrics?{query}"
        (series,) = arm.send("GET", path).raise_for_status().json()["value"][0]["timeseries"]
        return str(logs).count("POST /score 200"), sum(one.get("total", 0) for one in series["data"])

    assert ask(open_minded).status_code == 200
    before = scored()
    hang_up(open_minded, length, part)
    assert ask(open_minded).status_code == 200  # its one worker has answered all earlier ones

    assert scored() == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize(("version", "key"), [("", "swagger"), ("?version=2", "swagger"), ("?version=3", "openapi")])
def test_the_swagger_document_needs_the_key(client: MLClient, served: Served, version: str, key: str) -> None:
    url = f"{client.online_endpoints.get(served.name).openapi_uri}{version}"
    with served.emulator.http() as http:
        answer = http.get(url, headers={"Authorization": f"Bearer {served.key}"})
        refused = http.get(url)

    assert (answer.status_code, refused.status_code) == (200, 401)
    assert key in answer.json()
    assert "/score" in answer.json()["paths"]


def copies(client: MLClient, served: Served) -> int:
    """Return the number of requests to `shadow`; its one worker has answered all earlier ones."""
    assert ask(served, azureml_model_deployment="shadow").status_code == 200
    logs = client.online_deployments.get_logs("shadow", served.name, 10_000)
    return str(logs).count("POST /score 200")


def test_mirror_traffic_gets_a_share_of_copies_and_nobody_sees_its_answers(
    client: MLClient, open_minded: Served
) -> None:
    before = copies(client, open_minded)
    pinned = [ask(open_minded) for _ in range(10)]
    after_pinned = copies(client, open_minded)
    answers = [ask(open_minded, azureml_model_deployment="") for _ in range(100)]
    copied = copies(client, open_minded) - after_pinned - 1

    assert {one.headers["azureml-model-deployment"] for one in (*pinned, *answers)} == {"live"}
    assert after_pinned - before == 1  # requests that name a deployment are not copied
    assert 24 <= copied <= 76  # 100 draws at 50 %: the probability to leave this interval is below 1e-6


def test_a_failing_copy_does_not_touch_the_live_answer(
    client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess, name: str
) -> None:
    create_endpoint(client, name)
    for deployment, script in (("live", "good"), ("broken", "raises")):
        client.online_deployments.begin_create_or_update(
            describe(name, model, environment, deployment, script)
        ).result()
    endpoint = set_traffic(client, name, live=100)
    endpoint.mirror_traffic = {"broken": 50}
    client.online_endpoints.begin_create_or_update(endpoint).result()
    served = serving(client, emulator, name)

    answers = [served.score({}) for _ in range(30)]

    assert {answer.status_code for answer in answers} == {200}
    error = "raises: this request cannot be scored"
    wait_for(lambda: error in client.online_deployments.get_logs("broken", name, 1000), "failed copy")
