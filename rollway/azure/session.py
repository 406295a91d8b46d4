"""One signed-in connection per workspace, shared by the tasks of a process and never passed between them."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from azure.ai.ml import MLClient
from azure.core.credentials import TokenCredential
from azure.core.exceptions import ClientAuthenticationError, ResourceExistsError, ResourceNotFoundError, map_error
from azure.core.pipeline.policies import BearerTokenCredentialPolicy, CustomHookPolicy, RetryPolicy
from azure.core.rest import HttpRequest, HttpResponse
from azure.identity import (
    AzureAuthorityHosts,
    ClientSecretCredential,
    DefaultAzureCredential,
    ManagedIdentityCredential,
)
from azure.mgmt.core import ARMPipelineClient

from rollway.azure.errors.translate import azure_errors
from rollway.azure.mount_path import keep_mount_paths
from rollway.azure.pace import Pace
from rollway.azure.threads import get_existing, in_thread
from rollway.azure.unpolled import without_extra_requests
from rollway.errors import CredentialsRejected
from rollway.rollout.preflight import NetworkFacts
from rollway.settings import (
    DefaultIdentity,
    Identity,
    ManagedIdentity,
    ServicePrincipal,
    Workspace,
    workspace_from_environment,
)
from rollway.spec import Frozen

if TYPE_CHECKING:
    from azure.mgmt.monitor import MonitorManagementClient

_TIMEOUTS: dict[str, Any] = {"connection_timeout": 20, "read_timeout": 120}  # in seconds
ENDPOINTS_API_VERSION = "2024-04-01"  # Online Endpoints - Update
# Data-plane tokens have this audience in every cloud: azure/ai/ml/_azure_environments.py.
DATA_PLANE_SCOPE = "https://ml.azure.com/.default"
WORKSPACE_API_VERSION = "2024-10-01"
# Azure ML Studio by the host of the cloud's resource manager; Microsoft's list of the hosts that a firewall must allow.
STUDIOS = {
    "management.azure.com": "ml.azure.com",
    "management.usgovcloudapi.net": "ml.azure.us",
    "management.chinacloudapi.cn": "studio.ml.azure.cn",
}
RESOLUTION = timedelta(seconds=2)  # of the header Date, with the time of the answer's way
DEFAULT_IDENTITY = DefaultIdentity()
# As in the SDK's generated clients.
_ERRORS = {401: ClientAuthenticationError, 404: ResourceNotFoundError, 409: ResourceExistsError}


class WorkspaceFacts(Frozen):
    """Facts about a workspace; reading them proves that the identity has access.

    Attributes:
        managed_network_status: Active or Inactive; None if Azure does not report it.
        studio: Host of Azure ML Studio; None in a cloud that has none.
        tenant_id: The tenant of the workspace, if Azure reports it.
    """

    workspace: Workspace
    region: str
    public_network_access: str
    isolation_mode: str
    managed_network_status: str | None = None
    is_v1_legacy: bool = False
    studio: str | None = None
    tenant_id: str | None = None

    @property
    def network(self) -> NetworkFacts:
        """The facts that the preflight needs."""
        return NetworkFacts(**{name: getattr(self, name) for name in NetworkFacts.model_fields})

    def studio_page(self, endpoint: str) -> str | None:
        """Return the address of an endpoint's page in Azure ML Studio."""
        if self.studio is None:
            return None
        page = f"https://{self.studio}/endpoints/realtime/{endpoint}/detail?wsid={quote(self.workspace.resource_id)}"
        return f"{page}&tid={self.tenant_id}" if self.tenant_id else page


class Session:
    """The SDK's client and credential for one workspace; `open_session` returns the shared one."""

    def __init__(self, workspace: Workspace, identity: Identity) -> None:
        keep_mount_paths()
        self.workspace = workspace
        self._pace = Pace()
        # azure-core's CustomHookPolicy, after its retries: azure/ai/ml/_restclient/arm_ml_service/_client.py.
        hooks: dict[str, Any] = {"raw_request_hook": self._pace.before, "raw_response_hook": self._note}
        self.credential: TokenCredential = _credential(identity)
        self.ml = without_extra_requests(
            MLClient(
                self.credential,
                workspace.subscription_id,
                workspace.resource_group,
                workspace.name,
                enable_telemetry=False,
                # Otherwise the SDK does not notice that a file of a folder could not be uploaded and waits for ever,
                # azure/ai/ml/_utils/_asset_utils.py, upload_directory. The bar itself appears only on terminals.
                show_progress=True,
                **hooks,
                **_TIMEOUTS,
            ),
            self._read_region,
        )
        self._region: str | None = None
        self._ahead = timedelta()
        self._registries: dict[str, MLClient] = {}
        # The SDK has no public name for the cloud's resource manager.
        self.arm_url = str(self.ml._base_url).rstrip("/")
        self._scope, self._hooks = f"{self.arm_url}/.default", hooks
        # For ARM documents that the SDK has no call for, such as the status of an operation.
        self._arm: ARMPipelineClient[HttpRequest, HttpResponse] = ARMPipelineClient(
            base_url=self.arm_url,
            policies=[
                RetryPolicy(),
                BearerTokenCredentialPolicy(self.credential, self._scope),
                CustomHookPolicy(**hooks),
            ],
            **_TIMEOUTS,
        )

    @cached_property
    def monitor(self) -> "MonitorManagementClient":
        """Azure Monitor's client."""
        from azure.mgmt.monitor import MonitorManagementClient  # noqa: PLC0415 - few commands need it

        return MonitorManagementClient(
            self.credential,
            self.workspace.subscription_id,
            self.arm_url,
            credential_scopes=[self._scope],
            **self._hooks,
            **_TIMEOUTS,
        )

    def registry(self, name: str) -> MLClient:
        """Return the SDK's client for a registry; the first call asks the registry for its address."""
        if name not in self._registries:
            self._registries[name] = MLClient(self.credential, registry_name=name, enable_telemetry=False)
        return self._registries[name]

    def read_arm(self, url: str) -> dict[str, Any]:
        """GET an absolute ARM URL and return its JSON document; raises HttpResponseError."""
        response = self._arm.send_request(HttpRequest("GET", url))
        map_error(response.status_code, response, _ERRORS)
        response.raise_for_status()
        document: dict[str, Any] = response.json()
        return document

    def read_workspace(self) -> dict[str, Any]:
        """Read the workspace's ARM document; raises HttpResponseError."""
        document = self.read_arm(f"{self._workspace_url}?api-version={WORKSPACE_API_VERSION}")
        self._region = str(document["location"])
        return document

    def patch_endpoint_tags(self, endpoint: str, tags: Mapping[str, str]) -> None:
        """Start changing the tags of an endpoint and nothing else; raises HttpResponseError.

        The SDK can only replace the whole endpoint, with traffic and settings that may have changed since the read.
        """
        url = f"{self.arm_url}{self.workspace.endpoint_id(endpoint)}?api-version={ENDPOINTS_API_VERSION}"
        response = self._arm.send_request(HttpRequest("PATCH", url, json={"tags": dict(tags)}))
        map_error(response.status_code, response, _ERRORS)
        response.raise_for_status()

    def now(self) -> datetime:
        """Return the time in UTC by Azure's clock, as of its last answers: those of several workers may differ."""
        return datetime.now(UTC) + self._ahead

    def _note(self, response: Any) -> None:
        self._pace.after(response)
        self._note_time(response)

    def _note_time(self, response: Any) -> None:
        try:
            said = parsedate_to_datetime(response.http_response.headers["Date"])
        except (KeyError, ValueError):  # a proxy may remove or change the header
            return
        ahead = said.replace(tzinfo=said.tzinfo or UTC) - datetime.now(UTC)
        self._ahead = ahead if abs(ahead) > RESOLUTION else timedelta()

    @property
    def _workspace_url(self) -> str:
        return f"{self.arm_url}{self.workspace.resource_id}"

    def _read_region(self) -> str:
        # A workspace cannot be moved to another region.
        return self._region or str(self.read_workspace()["location"])


def _credential(identity: Identity) -> TokenCredential:
    # Private clouds have no instance discovery, and azure-identity's documentation says to disable it for them.
    # Otherwise it calls the public login host.
    host = urlsplit(f"//{os.environ.get('AZURE_AUTHORITY_HOST', '').removeprefix('https://')}").hostname
    is_public = host in (None, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD, AzureAuthorityHosts.AZURE_CHINA) or host == (
        AzureAuthorityHosts.AZURE_GOVERNMENT
    )
    try:
        match identity:
            case ManagedIdentity():
                return ManagedIdentityCredential(client_id=identity.client_id)
            case ServicePrincipal():
                return ClientSecretCredential(
                    identity.tenant_id,
                    identity.client_id,
                    identity.client_secret.get_secret_value(),
                    disable_instance_discovery=not is_public,
                )
            case DefaultIdentity():
                return DefaultAzureCredential(disable_instance_discovery=not is_public)
    except ValueError as error:  # a value is empty or malformed
        is_environment = isinstance(identity, DefaultIdentity)
        raise CredentialsRejected(
            f"the credentials in the {'environment' if is_environment else 'Prefect block'} cannot be used",
            where="environment variables AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET"
            if is_environment
            else "tenant_id, client_id and client_secret of the block",
            why=str(error),
            hint="set all three, or none of them and sign in with `az login`" if is_environment else "fix the block",
        ) from error


_cached = lru_cache(maxsize=8)(Session)


async def open_session(workspace: Workspace, identity: Identity = DEFAULT_IDENTITY) -> Session:
    """Return the process's session for a workspace and an identity; a changed secret makes another identity."""
    return await in_thread(_cached, workspace, identity)


async def sign_in(where: tuple[Workspace, Identity] | None = None) -> Session:
    """Prove access to a workspace and return the session; default: workspace and identity of the environment."""
    workspace, identity = where or (workspace_from_environment(), DEFAULT_IDENTITY)
    connected = await connect(workspace, identity)
    return await open_session(connected.workspace, identity)


async def connect(workspace: Workspace, identity: Identity = DEFAULT_IDENTITY) -> WorkspaceFacts:
    """Sign in and read the workspace; raises CredentialsRejected, AccessDenied or NotFound."""
    what = f"cannot reach the Azure ML workspace {workspace.name!r}"
    hint = "check AZURE_SUBSCRIPTION_ID, AZURE_RESOURCE_GROUP and AZUREML_WORKSPACE"
    if workspace.block:
        hint = f"check the Prefect block {workspace.block!r}"
    with azure_errors(what, where=str(workspace), hint=hint):
        opened = await open_session(workspace, identity)
        found = await get_existing(opened.read_workspace)
    properties = found.get("properties") or {}
    network = properties.get("managedNetwork") or {}
    return WorkspaceFacts(
        workspace=workspace,
        region=found["location"],
        public_network_access=properties.get("publicNetworkAccess") or "Enabled",
        isolation_mode=network.get("isolationMode") or "Disabled",
        managed_network_status=(network.get("status") or {}).get("status"),
        is_v1_legacy=bool(properties.get("v1LegacyMode")),
        studio=STUDIOS.get(urlsplit(opened.arm_url).hostname or ""),
        tenant_id=(found.get("identity") or {}).get("tenantId"),
    )
