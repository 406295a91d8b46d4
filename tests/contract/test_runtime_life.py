"""Containers that hang, crash, or never become ready."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model, OnlineRequestSettings, ProbeSettings
from azure.core.exceptions import HttpResponseError

from tests.contract.conftest import Served, create_endpoint, describe, serving, set_traffic
from tests.support.emulator_process import EmulatorProcess

DEADLINE_SECONDS = 60
# It also limits the first start, to nine seconds: a busy machine needs more than three.
QUICK = ProbeSettings(initial_delay=1, period=1, timeout=1, failure_threshold=8, success_threshold=1)
PATIENT = ProbeSettings(initial_delay=1, period=600, timeout=1, failure_threshold=30, success_threshold=1)
Serve = Callable[..., Served]


@pytest.fixture
def serve(client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess, name: str) -> Serve:
    """Deploys the unsteady model."""

    def make(**settings: Any) -> Served:
        create_endpoint(client, name)
        requests = OnlineRequestSettings(request_timeout_ms=500, max_concurrent_requests_per_instance=5)
        wanted = describe(name, model, environment, "blue", "unsteady", request_settings=requests, **settings)
        client.online_deployments.begin_create_or_update(wanted).result()
        set_traffic(client, name, blue=100)
        return serving(client, emulator, name)

    return make


def score_until(served: Served, is_wanted: Callable[[httpx.Response], bool]) -> httpx.Response:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        answer = served.score({})
        if is_wanted(answer) or time.monotonic() > deadline:
            assert is_wanted(answer), f"{answer.status_code} {answer.text}"
            return answer
        time.sleep(0.1)


def reason(answer: httpx.Response) -> str | None:
    found: str | None = answer.headers.get("ms-azureml-model-error-reason")
    return found


def test_a_container_that_hangs_is_started_again_after_its_liveness_probe_has_failed(serve: Serve) -> None:
    served = serve(liveness_probe=QUICK, readiness_probe=PATIENT)
    before = served.score({}).json()

    hung = served.score({"do": "hang"})
    after = score_until(served, lambda answer: answer.status_code == 200).json()

    assert hung.status_code == 408
    assert after["worker"] != before["worker"]


def test_a_container_that_fails_its_readiness_probe_gets_no_requests(serve: Serve) -> None:
    served = serve(liveness_probe=PATIENT, readiness_probe=QUICK)

    assert served.score({"do": "hang"}).status_code == 408
    refused = score_until(served, lambda answer: answer.status_code != 408)

    assert (refused.status_code, reason(refused)) == (424, "model_not_ready")


def test_a_container_in_a_crash_loop_is_not_ready_until_it_starts_again(
    client: MLClient, serve: Serve, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    served = serve(environment_variables={"BROKEN": str(broken)})
    broken.touch()

    crashed = served.score({"do": "crash"})
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (logs := client.online_deployments.get_logs("blue", served.name, 1000)).count("init has failed") < 2:
        assert time.monotonic() < deadline, logs
        time.sleep(0.1)
    refused = served.score({})
    broken.unlink()
    score_until(served, lambda answer: answer.status_code == 200)

    assert [(one.status_code, reason(one)) for one in (crashed, refused)] == [(424, "model_not_ready")] * 2


def test_as_many_workers_answer_as_the_environment_says(serve: Serve) -> None:
    served = serve(environment_variables={"WORKER_COUNT": "2"})
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
    settings = {"environment_variables": {"SLOW_INIT_SECONDS": "60"}, probe: hasty}
    wanted = describe(name, model, environment, "blue", "slow", **settings)

    with pytest.raises(HttpResponseError) as caught:
        client.online_deployments.begin_create_or_update(wanted).result()

    assert "ResourceNotReady" in caught.value.message
    assert f"{probe.partition('_')[0].capitalize()} probe failed" in caught.value.message
