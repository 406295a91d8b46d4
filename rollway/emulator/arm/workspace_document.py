"""Workspaces as clients see them: the fields that Azure's answers have, and the addresses of this emulator."""

from hashlib import sha256
from uuid import UUID, uuid5

from rollway.emulator.blob.blobs import ACCOUNT
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource
from rollway.emulator.state import Emulator

# A workspace without a virtual network of its own, as recorded.
NO_MANAGED_NETWORK: Document = {
    "changeableIsolationModes": ["AllowInternetOutbound", "AllowOnlyApprovedOutbound"],
    "isolationMode": "Disabled",
    "enableNetworkMonitor": False,
    "enableFirewallLog": False,
}
# Settings that every recorded workspace has. The emulator has none of what they turn on.
SETTINGS: Document = {
    "imageBuildCompute": None,
    "managedNetwork": NO_MANAGED_NETWORK,
    "allowRoleAssignmentOnRG": True,
    "softDeleteEnabled": False,
    "storageHnsEnabled": False,
    "linkedModelInventoryArmId": None,
    "privateLinkCount": 0,
    "ipAllowlist": [],
    "networkAcls": {"defaultAction": "Allow", "bypass": "", "ipRules": [], "resourceAccessRules": []},
    "serverlessComputeSettings": None,
    "EnableSoftwareBillOfMaterials": False,
    "enableDataIsolation": False,
    "systemDatastoresAuthMode": "accesskey",
    "enableServiceSideCMKEncryption": False,
}


def workspace_document(emulator: Emulator, workspace: Resource) -> Document:
    """Return a workspace as clients see it."""
    guid = str(workspace.properties["workspaceId"])
    properties = {
        **SETTINGS,
        **_associated_resources(workspace, guid),
        "tenantId": emulator.seed.tenant_id,
        "notebookInfo": {
            "resourceId": uuid5(UUID(guid), "notebooks").hex,
            "fqdn": f"ml-{workspace.name}-{guid}.{workspace.document['location']}.notebooks.azure.net".lower(),
            "isPrivateLinkEnabled": False,
            "notebookPreparationError": None,
        },
        "sdkTelemetryAppInsightsKey": str(uuid5(UUID(guid), "application insights")),
        **workspace.properties,
        "discoveryUrl": f"{emulator.url}/discovery",
        "mlFlowTrackingUri": f"azureml://{emulator.url.removeprefix('https://')}/mlflow/v1.0{workspace.id}",
    }
    return {**workspace.document, "etag": None, "properties": properties, "systemData": system_data(workspace)}


def system_data(workspace: Resource) -> Document:
    """Return who created a workspace of the seed, with the times of its creation."""
    who = {"By": "seed", "ByType": "Application"}
    return {
        **{f"{what}{key}": value for what in ("created", "lastModified") for key, value in who.items()},
        **workspace.document["systemData"],
    }


def _associated_resources(workspace: Resource, guid: str) -> Document:
    """Return the ids of a workspace's storage account, key vault, Application Insights and container registry.

    Only the storage account exists in the emulator; scripts read the names of the others. The spelling of the
    providers is Azure's.
    """
    group = workspace.id.partition("/providers/")[0]
    suffix = sha256(guid.encode()).hexdigest()[:12]
    return {
        "storageAccount": f"{group}/providers/Microsoft.Storage/storageAccounts/{ACCOUNT}",
        "keyVault": f"{group}/providers/Microsoft.Keyvault/vaults/kv{suffix}",
        "applicationInsights": f"{group}/providers/Microsoft.insights/components/ai{suffix}",
        "containerRegistry": f"{group}/providers/Microsoft.ContainerRegistry/registries/cr{suffix}",
    }
