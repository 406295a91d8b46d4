"""Microsoft's walk-through of a safe rollout, step by step with the SDK: how-to-safely-rollout-online-endpoints."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    KubernetesOnlineDeployment,
    KubernetesOnlineEndpoint,
    Model,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.conftest import FIXTURES, PATIENT, create_endpoint, describe
from tests.support.emulator_process import EmulatorProcess
from tests.support.waiting import wait_for

REQUESTS = 200


class WalkThrough:
    """The notebook's variables: an endpoint, and the clients that work on it."""

    def __init__(self, client: MLClient, emulator: EmulatorProcess, name: str, request: Path) -> None:
        self.client, self.emulator, self.name, self.request = client, emulator, name, request

    def invoke(self, deployment: str) -> Any:
        """A pinned request with the SDK. Unpinned ones need another client: the SDK's sends the name ever after."""
        answer = self.client.online_endpoints.invoke(self.name, request_file=self.request, deployment_name=deployment)
        return json.loads(answer)

    def set(self, **traffic: dict[str, int]) -> Any:
        """`traffic` or `mirror_traffic`, as the walk-through changes them: get, modify, put."""
        endpoint = self.client.online_endpoints.get(self.name)
        for field, weights in traffic.items():
            setattr(endpoint, field, weights)
        self.client.online_endpoints.begin_create_or_update(endpoint).result()
        return self.client.online_endpoints.get(self.name)

    def count(self) -> Counter[str]:
        """Which online deployments answer unpinned requests."""
        key = self.client.online_endpoints.get_keys(self.name).primary_key
        uri = self.client.online_endpoints.get(self.name).scoring_uri
        with self.emulator.http() as http:
            headers = {"Authorization": f"Bearer {key}"}
            answers = [http.post(uri, json={}, headers=headers) for _ in range(REQUESTS)]
        assert {one.status_code for one in answers} == {200}
        return Counter(one.headers["azureml-model-deployment"] for one in answers)

    def scored(self, deployment: str) -> int:
        """Return the number of requests in the log of an online deployment."""
        log = self.client.online_deployments.get_logs(deployment, self.name, lines=5000)
        return str(log).count("POST /score 200")  # the server's own line; its web server writes another one


@pytest.fixture
def walk(client: MLClient, emulator: EmulatorProcess, name: str, tmp_path: Path) -> WalkThrough:
    (tmp_path / "sample-request.json").write_text('{"data": [[1, 2]]}')
    return WalkThrough(client, emulator, name, tmp_path / "sample-request.json")


def test_the_safe_rollout_of_the_documentation_goes_step_by_step(
    walk: WalkThrough, client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    deployments = client.online_deployments
    create_endpoint(client, name)
    blue = deployments.begin_create_or_update(describe(name, model, environment, "blue")).result()
    assert client.online_endpoints.get(name).traffic == {"blue": 0}

    assert walk.set(traffic={"blue": 100}).traffic == {"blue": 100}
    assert walk.invoke("blue")["answer"] == 42

    blue.instance_count = 2
    deployments.begin_create_or_update(blue).result()
    assert deployments.get("blue", name).instance_count == 2

    deployments.begin_create_or_update(describe(name, model, environment, "green", "wrong_output")).result()
    assert client.online_endpoints.get(name).traffic == {"blue": 100, "green": 0}
    assert walk.count() == {"blue": REQUESTS}
    assert walk.invoke("green") == {"unexpected": "content"}

    before = walk.scored("green")
    assert walk.set(mirror_traffic={"green": 10}).mirror_traffic == {"green": 10}
    assert walk.count() == {"blue": REQUESTS}
    wait_for_copies(walk, before)
    assert walk.set(mirror_traffic={"green": 0}).mirror_traffic in ({}, {"green": 0})

    assert walk.set(traffic={"blue": 90, "green": 10}).traffic == {"blue": 90, "green": 10}
    shares = walk.count()
    assert 1 <= shares["green"] <= 60  # 20 are expected; beyond is less likely than 1e-9

    assert walk.set(traffic={"blue": 0, "green": 100}).traffic == {"blue": 0, "green": 100}
    assert walk.count() == {"green": REQUESTS}

    deployments.begin_delete("blue", name).result()
    assert [one.name for one in deployments.list(name)] == ["green"]
    with pytest.raises(HttpResponseError, match="receives 100% of the endpoint's traffic"):
        deployments.begin_delete("green", name).result()

    client.online_endpoints.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError):
        client.online_endpoints.get(name)


def test_the_safe_rollout_goes_step_by_step_on_a_kubernetes_cluster_too(
    walk: WalkThrough, client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    """The same steps; mirror traffic is for managed endpoints only."""
    deployments = client.online_deployments
    client.online_endpoints.begin_create_or_update(
        KubernetesOnlineEndpoint(name=name, compute="cluster", auth_mode="key")
    ).result()
    blue = deployments.begin_create_or_update(on_kubernetes(name, model, environment, "blue", "good")).result()
    assert client.online_endpoints.get(name).traffic == {"blue": 0}

    assert walk.set(traffic={"blue": 100}).traffic == {"blue": 100}
    assert walk.invoke("blue")["answer"] == 42

    blue.instance_count = 2
    deployments.begin_create_or_update(blue).result()
    assert deployments.get("blue", name).instance_count == 2

    deployments.begin_create_or_update(on_kubernetes(name, model, environment, "green", "wrong_output")).result()
    assert walk.count() == {"blue": REQUESTS}
    assert walk.invoke("green") == {"unexpected": "content"}
    with pytest.raises(HttpResponseError, match=r"MirrorTraffic"):
        walk.set(mirror_traffic={"green": 10})

    assert walk.set(traffic={"blue": 90, "green": 10}).traffic == {"blue": 90, "green": 10}
    assert 1 <= walk.count()["green"] <= 60
    assert walk.set(traffic={"blue": 0, "green": 100}).traffic == {"blue": 0, "green": 100}
    assert walk.count() == {"green": REQUESTS}

    deployments.begin_delete("blue", name).result()
    assert [one.name for one in deployments.list(name)] == ["green"]
    client.online_endpoints.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError):
        client.online_endpoints.get(name)


def on_kubernetes(
    endpoint: str, model: Model, environment: Environment, name: str, script: str
) -> KubernetesOnlineDeployment:
    return KubernetesOnlineDeployment(
        name=name,
        endpoint_name=endpoint,
        model=model,
        environment=environment,
        code_configuration=CodeConfiguration(code=str(FIXTURES / script), scoring_script="score.py"),
        instance_count=1,
        request_settings=PATIENT,
    )


def wait_for_copies(walk: WalkThrough, before: int) -> None:
    """Mirrored copies are sent beside the requests. That none of 200 is one has a chance of 1e-9."""
    wait_for(lambda: before < walk.scored("green") <= before + 60, "copy, or fewer of them than 60")
