"""Endpoints and online deployments on an attached Kubernetes cluster, through azure-ai-ml."""

from typing import Any

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    KubernetesOnlineDeployment,
    KubernetesOnlineEndpoint,
    Model,
    ResourceRequirementsSettings,
    ResourceSettings,
    TargetUtilizationScaleSettings,
)
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.contract.conftest import FIXTURES, PATIENT, create_endpoint, describe, fields, serving, set_traffic
from tests.support.emulator_process import EmulatorProcess


def create(client: MLClient, name: str, compute: str = "cluster") -> KubernetesOnlineEndpoint:
    endpoint = KubernetesOnlineEndpoint(name=name, compute=compute, auth_mode="key")
    made: KubernetesOnlineEndpoint = client.online_endpoints.begin_create_or_update(endpoint).result()
    return made


def describe_kubernetes(
    endpoint: str, model: Model, environment: Environment, **settings: Any
) -> KubernetesOnlineDeployment:
    return KubernetesOnlineDeployment(
        name="blue",
        endpoint_name=endpoint,
        model=model,
        environment=environment,
        code_configuration=CodeConfiguration(code=str(FIXTURES / "good"), scoring_script="score.py"),
        request_settings=PATIENT,
        **settings,
    )


def test_attached_clusters_are_listed_and_read(client: MLClient) -> None:
    found = client.compute.get("cluster")

    assert (found.name, found.type, found.namespace) == ("cluster", "kubernetes", "default")
    assert [one.name for one in client.compute.list()] == ["cluster"]
    with pytest.raises(ResourceNotFoundError):
        client.compute.get("absent")


def test_a_kubernetes_endpoint_serves(
    client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess, name: str
) -> None:
    created = create(client, name)
    needs = ResourceSettings(cpu="500m", memory="1Gi")
    wanted = describe_kubernetes(
        name, model, environment, instance_count=1, resources=ResourceRequirementsSettings(requests=needs)
    )
    client.online_deployments.begin_create_or_update(wanted).result()
    endpoint = set_traffic(client, name, blue=100)

    answer = serving(client, emulator, name).score({})

    assert isinstance(created, KubernetesOnlineEndpoint)
    assert isinstance(endpoint, KubernetesOnlineEndpoint)
    assert str(endpoint.compute).endswith("/workspaces/local/computes/cluster")
    found = client.online_deployments.get("blue", name)
    assert isinstance(found, KubernetesOnlineDeployment)
    assert found.provisioning_state == "Succeeded"
    assert found.resources
    assert found.resources.requests
    assert found.resources.requests.cpu == "500m"
    assert (answer.status_code, answer.json()["answer"]) == (200, 42)


def test_a_target_of_utilization_starts_with_the_fewest_instances(
    client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    create(client, name)
    target = TargetUtilizationScaleSettings(min_instances=2, max_instances=4, target_utilization_percentage=60)

    client.online_deployments.begin_create_or_update(
        describe_kubernetes(name, model, environment, scale_settings=target)
    ).result()

    found = client.online_deployments.get("blue", name)
    assert found.instance_count == 2
    assert (found.scale_settings.min_instances, found.scale_settings.max_instances) == (2, 4)


def test_a_cluster_that_is_not_attached_is_refused(client: MLClient, name: str) -> None:
    with pytest.raises(HttpResponseError) as caught:
        create(client, name, "absent")

    assert "/computes/absent is not attached to the workspace." in fields(caught.value)["Compute"][0]


def test_a_deployment_of_the_other_kind_is_refused(
    client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    create_endpoint(client, f"{name}-m")
    create(client, f"{name}-k")

    with pytest.raises(HttpResponseError) as on_managed:
        client.online_deployments.begin_create_or_update(
            describe_kubernetes(f"{name}-m", model, environment, instance_count=1)
        )
    with pytest.raises(HttpResponseError) as on_kubernetes:
        client.online_deployments.begin_create_or_update(describe(f"{name}-k", model, environment))

    assert "Kubernetes does not fit the endpoint, which is Managed." in str(fields(on_managed.value))
    assert "Managed does not fit the endpoint, which is Kubernetes." in str(fields(on_kubernetes.value))


def test_a_kubernetes_endpoint_has_no_mirror_traffic(
    client: MLClient, model: Model, environment: Environment, name: str
) -> None:
    create(client, name)
    client.online_deployments.begin_create_or_update(
        describe_kubernetes(name, model, environment, instance_count=1)
    ).result()
    endpoint = client.online_endpoints.get(name)
    endpoint.mirror_traffic = {"blue": 10}

    with pytest.raises(HttpResponseError) as caught:
        client.online_endpoints.begin_create_or_update(endpoint)

    assert fields(caught.value) == {"MirrorTraffic": ["Kubernetes online endpoints have no mirror traffic."]}
