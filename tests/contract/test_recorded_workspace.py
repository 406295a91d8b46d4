"""The workspace as the recorded answers of Azure show it, in the fields that scripts read."""

from collections.abc import Callable
from typing import Any

import pytest
from azure.ai.ml import MLClient

from tests.contract.conftest import Arm

RECORDED = """
    storageAccount keyVault applicationInsights containerRegistry tenantId imageBuildCompute notebookInfo managedNetwork
    privateLinkCount ipAllowlist networkAcls softDeleteEnabled storageHnsEnabled allowRoleAssignmentOnRG
    systemDatastoresAuthMode sdkTelemetryAppInsightsKey hbiWorkspace v1LegacyMode workspaceId publicNetworkAccess
    discoveryUrl mlFlowTrackingUri friendlyName description creationTime provisioningState linkedModelInventoryArmId
    serverlessComputeSettings EnableSoftwareBillOfMaterials enableDataIsolation enableServiceSideCMKEncryption
"""


@pytest.fixture
def workspace(arm: Arm) -> Any:
    """The ARM document of the workspace."""
    return arm.send("GET", "").raise_for_status().json()


def test_a_workspace_has_the_recorded_fields(workspace: Any) -> None:
    assert set(RECORDED.split()) == set(workspace["properties"])
    assert workspace["etag"] is None
    assert sorted(workspace["systemData"]) == [
        "createdAt",
        "createdBy",
        "createdByType",
        "lastModifiedAt",
        "lastModifiedBy",
        "lastModifiedByType",
    ]


@pytest.mark.parametrize(
    ("field", "kind"),
    [
        ("storageAccount", "Microsoft.Storage/storageAccounts"),
        ("keyVault", "Microsoft.Keyvault/vaults"),
        ("applicationInsights", "Microsoft.insights/components"),
        ("containerRegistry", "Microsoft.ContainerRegistry/registries"),
    ],
)
def test_a_workspace_names_its_resources_by_their_ids(arm: Arm, workspace: Any, field: str, kind: str) -> None:
    group = arm.root.partition("/providers/")[0]
    head, _, name = workspace["properties"][field].rpartition("/")

    assert head == f"{group}/providers/{kind}"
    assert name.isalnum()
    assert 3 <= len(name) <= 24  # the limit of storage accounts and key vaults


def test_a_workspace_without_a_network_of_its_own_says_so(arm: Arm, workspace: Any) -> None:
    listed = arm.http.get(f"{arm.url}{arm.root.rpartition('/')[0]}?api-version=2024-10-01").json()["value"]

    assert workspace["properties"]["managedNetwork"] == {
        "changeableIsolationModes": ["AllowInternetOutbound", "AllowOnlyApprovedOutbound"],
        "isolationMode": "Disabled",
        "enableNetworkMonitor": False,
        "enableFirewallLog": False,
    }
    assert {one["name"]: one["properties"]["managedNetwork"]["isolationMode"] for one in listed} == {
        "local": "Disabled",
        "legacy": "Disabled",
        "networked": "AllowInternetOutbound",
    }


def test_the_sdk_reads_what_scripts_ask_a_workspace_for(connect: Callable[..., MLClient]) -> None:
    found = connect().workspaces.get("local")

    assert found is not None
    assert "/registries/cr" in str(found.container_registry)
    assert "/storageAccounts/" in str(found.storage_account)
    assert "/vaults/kv" in str(found.key_vault)
    assert "/components/ai" in str(found.application_insights)
    assert found.managed_network is not None
    assert found.managed_network.isolation_mode.lower() == "disabled"
    assert str(found.mlflow_tracking_uri).startswith("azureml://")
