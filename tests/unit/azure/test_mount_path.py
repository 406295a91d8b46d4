"""Online deployments keep their mount path when the SDK reads and writes them."""

from typing import Any

import pytest
from azure.ai.ml._restclient.arm_ml_service.models import OnlineDeployment as RestOnlineDeployment
from azure.ai.ml.entities import KubernetesOnlineDeployment, ManagedOnlineDeployment, OnlineDeployment

from rollway.azure.mount_path import keep_mount_paths
from tests.support.builders import WORKSPACE_ID

KINDS = {"Managed": ManagedOnlineDeployment, "Kubernetes": KubernetesOnlineDeployment}


def answer(kind: str, **properties: Any) -> RestOnlineDeployment:
    """Azure's answer to a GET."""
    requests = {"containerResourceRequests": {"cpu": "1"}}
    always = {"scaleSettings": {"scaleType": "Default"}, "containerResourceRequirements": requests, "properties": {}}
    return RestOnlineDeployment(
        {
            "id": f"{WORKSPACE_ID}/onlineEndpoints/diabetes/deployments/main",
            "name": "main",
            "location": "westeurope",
            "sku": {"name": "Default", "capacity": 1},
            "properties": {"endpointComputeType": kind, **always, **properties},
        }
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_mount_path_that_was_read_is_written_back(kind: str) -> None:
    keep_mount_paths()
    keep_mount_paths()

    entity: Any = OnlineDeployment._from_rest_object(answer(kind, modelMountPath="/mnt/models"))

    assert isinstance(entity, KINDS[kind])
    assert entity.model_mount_path == "/mnt/models"
    assert entity._to_rest_object(location="westeurope").properties.model_mount_path == "/mnt/models"


def test_an_online_deployment_without_one_has_none() -> None:
    keep_mount_paths()

    entity: Any = OnlineDeployment._from_rest_object(answer("Managed"))

    assert entity.model_mount_path is None
