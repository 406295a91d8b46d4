"""Containers that hang, crash, or never become ready."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model, ProbeSettings
from azure.core.exceptions import HttpResponseError

from tests.contract.conftest import Served, create_endpoint, describe
from tests.support.emulator_process import EmulatorProcess
from tests.support.plain_rest import ENDPOINT, PATIENT, PlainRest, register_assets, wait_for

DEADLINE_SECONDS = 180
# With a startup probe they do not limit the time of the first start.
QUICK = {"initialDelay": "PT1S", "period": "PT1S", "timeout": "PT1S", "failureThreshold": 8, "successThreshold": 1}
SELDOM = {**QUICK, "period": "PT600S"}
STARTUP = {"period": "PT10S", "failureThreshold": 30}
HASTY = {"requestTimeout": "PT0.5S"}
Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def body(own: EmulatorProcess) -> dict[str, Any]:
    """The body of an online deployment of the unsteady model."""
    return register_assets(PlainRest(own), "unsteady")


@pytest.fixture
def serve(own: EmulatorProcess, body: dict[str, Any], name: str) -> Serve:
    """Deploys the unsteady model."""

    def make(requests: dict[str, Any] = PATIENT, **properties: Any) -> Served:
        rest, path = PlainRest(own), f"/onlineEndpoints/{name}"
        rest.send("PUT", path, ENDPOINT).raise_for_status()
        settings = {**requests, "maxConcurrentRequestsPerInstance": 5}
        wanted = {**body["properties"], "startupProbe": STARTUP, "requestSettings": settings, **properties}
        rest.send("PUT", f"{path}/deployments/blue", {**body, "properties": wanted}).raise_for_status()
        assert wait_for(rest, f"{path}/deployments/blue") == "Succeeded"
        traffic = {**ENDPOINT, "properties": {"authMode": "Key", "traffic": {"blue": 100}}}
        rest.send("PUT", path, traffic).raise_for_status()
        assert wait_for(rest, path) == "Succeeded"
        uri = rest.send("GET", path).json()["properties"]["scoringUri"]
        return Served(name, uri, rest.send("POST", f"{path}/listKeys").json()["primaryKey"], own)

    return make


def score_until(served: Served, is_wanted: Callable[[httpx.Response], bool], body: Any = None) -> httpx.Response:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        answer = served.score(body or {})
        if is_wanted(answer) or time.monotonic() > deadline:
            assert is_wanted(answer), f"{answer.status_code} {answer.text}"
            return answer
        time.sleep(0.1)


def hang(served: Served, hung: Path) -> httpx.Response:
    """Send requests to hang until one reaches the model; a busy machine may time out before. Return its answer."""
    return score_until(served, lambda _: hung.exists(), {"do": "hang"})


def reason(answer: httpx.Response) -> str | None:
    found: str | None = answer.headers.get("ms-azureml-model-error-reason")
    return found


def test_a_container_that_hangs_is_started_again_after_its_liveness_probe_has_failed(
    serve: Serve, tmp_path: Path
) -> None:
    variables = {"HUNG": str(tmp_path / "hung")}
    served = serve(HASTY, livenessProbe=QUICK, readinessProbe=SELDOM, environmentVariables=variables)
    before = score_until(served, lambda answer: answer.status_code == 200).json()

    hung = hang(served, tmp_path / "hung")
    after = score_until(served, lambda answer: answer.status_code == 200).json()

    assert hung.status_code == 408
    assert after["worker"] != before["worker"]


def test_a_container_that_fails_its_readiness_probe_gets_no_requests(serve: Serve, tmp_path: Path) -> None:
    variables = {"HUNG": str(tmp_path / "hung")}
    served = serve(HASTY, livenessProbe=SELDOM, readinessProbe=QUICK, environmentVariables=variables)

    assert hang(served, tmp_path / "hung").status_code == 408
    refused = score_until(served, lambda answer: answer.status_code != 408)

    assert (refused.status_code, reason(refused)) == (424, "model_not_ready")


def test_a_container_in_a_crash_loop_is_not_ready_until_it_starts_again(serve: Serve, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    served = serve(environmentVariables={"BROKEN": str(broken)})
    broken.touch()

    crashed = served.score({"do": "crash"})
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (log := read_log(served)).count("init has failed") < 2:
        assert time.monotonic() < deadline, log
        time.sleep(0.1)
    refused = served.score({})
    broken.unlink()
    score_until(served, lambda answer: answer.status_code == 200)

    assert [(one.status_code, reason(one)) for one in (crashed, refused)] == [(424, "model_not_ready")] * 2


def read_log(served: Served) -> str:
    path = f"/onlineEndpoints/{served.name}/deployments/blue/getLogs"
    wanted = {"containerType": "InferenceServer", "tail": 1000}
    return str(PlainRest(served.emulator).send("POST", path, wanted).raise_for_status().json()["content"])


def test_as_many_workers_answer_as_the_environment_says(serve: Serve) -> None:
    served = serve(environmentVariables={"WORKER_COUNT": "2"})
    workers: set[int] = set()
    deadline = time.monotonic() + DEADLINE_SECONDS
    with ThreadPoolExecutor(4) as pool:
        while len(workers) < 2:
            assert time.monotonic() < deadline, workers
            answers = list(pool.map(lambda _: served.score({}), range(8)))
            workers |= {answer.json()["worker"] for answer in answers if answer.status_code == 200}

    assert len(workers) == 2


@pytest.mark.parametrize("probe", ["readiness_probe", "liveness_probe"])
def test_a_container_that_is_not_ready_in_the_time_of_its_probe_fails_the_operation(
    client: MLClient, model: Model, environment: Environment, name: str, probe: str
) -> None:
    create_endpoint(client, name)
    hasty = ProbeSettings(initial_delay=0, period=1, timeout=1, failure_threshold=1, success_threshold=1)
    settings = {"environment_variables": {"SLOW_INIT_SECONDS": "3600"}, probe: hasty}
    wanted = describe(name, model, environment, "blue", "slow", **settings)

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(wanted).result()

    assert "ResourceNotReady" in caught.value.message
    assert f"{probe.partition('_')[0].capitalize()} probe failed" in caught.value.message
