"""The Prefect block for an Azure ML workspace and the identity to sign in with.

`prefect block register -m rollway.prefect.blocks` makes its form known to a Prefect server.
"""

import asyncio
from json import JSONDecodeError
from typing import ClassVar, Literal

from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL
from pydantic import Field, SecretStr

from rollway.errors import ConfigurationError, PrefectUnavailable
from rollway.prefect.best_effort import best_effort, run_logger
from rollway.settings import (
    DefaultIdentity,
    Identity,
    ManagedIdentity,
    ServicePrincipal,
    Workspace,
    block_from_environment,
    workspace_from_environment,
)

LOADING_SECONDS = 60.0  # so that a task has time for further tries

_loaded: dict[str, "AzureMLWorkspace"] = {}  # by their names; a rollout goes on with them while Prefect is away


class AzureMLWorkspace(Block):
    """An Azure ML workspace and the identity that Rollway signs in with; the API masks the client secret."""

    # Flat, with empty texts as defaults: Prefect's forms cannot choose between nested models.
    _block_type_name: ClassVar[str | None] = "AzureML workspace"
    _block_type_slug: ClassVar[str | None] = "azureml-workspace"

    subscription_id: str = Field(description="The subscription's id.")
    resource_group: str = Field(description="The resource group of the workspace.")
    workspace: str = Field(description="The workspace's name.")
    identity: Literal["default", "managed identity", "service principal"] = Field(
        default="default",
        description="Identity to sign in with: that of the worker's environment, the managed identity of its machine "
        "or container, or an application with a client secret.",
    )
    tenant_id: str = Field(default="", description="Of a service principal.")
    client_id: str = Field(default="", description="Of a service principal, or of a user-assigned managed identity.")
    client_secret: SecretStr = Field(default=SecretStr(""), description="Of a service principal.")

    def address(self, name: str) -> Workspace:
        """Return the part that may be stored and shown; `name` is the name of the saved block."""
        return Workspace(
            subscription_id=self.subscription_id, resource_group=self.resource_group, name=self.workspace, block=name
        )

    def as_whom(self) -> Identity:
        """Return the identity, from the fields of its kind."""
        match self.identity:
            case "managed identity":
                return ManagedIdentity(client_id=self.client_id or None)
            case "service principal":
                return ServicePrincipal(
                    tenant_id=self.tenant_id, client_id=self.client_id, client_secret=self.client_secret
                )
            case "default":
                return DefaultIdentity()

    def missing(self) -> list[str]:
        """Return the required fields that are empty."""
        wanted = ["subscription_id", "resource_group", "workspace"]
        if self.identity == "service principal":
            wanted += ["tenant_id", "client_id", "client_secret"]
        return [name for name in wanted if not getattr(self, name)]


async def load_workspace_block(name: str) -> AzureMLWorkspace:
    """Return the saved block; if Prefect does not answer, the one that this process loaded last.

    Raises ConfigurationError if it does not exist or is incomplete, and PrefectUnavailable if none was loaded before.
    """
    if (known := _loaded.get(name)) is None:
        found = await _load(name)
    else:
        what = f"the block {name} is used as it was loaded last"
        found = await best_effort(what, _load(name), passes=ConfigurationError) or known
    _loaded[name] = found
    return found


async def find_workspace(block: str | None = None) -> tuple[Workspace, Identity]:
    """Return the workspace and identity of a block, of ROLLWAY_WORKSPACE_BLOCK, or of the other variables.

    Raises ConfigurationError and PrefectUnavailable.
    """
    name = block or block_from_environment()
    if name is None:
        return workspace_from_environment(), DefaultIdentity()
    loaded = await load_workspace_block(name)
    return loaded.address(name), loaded.as_whom()


async def load_identity(workspace: Workspace, *, is_known_enough: bool = False) -> Identity:
    """Return the identity that the workspace's block has now, or that of the environment.

    Args:
        is_known_enough: True to return what this process loaded last if somebody deleted or emptied the block.
    """
    if workspace.block is None:
        return DefaultIdentity()
    known = _loaded.get(workspace.block)
    try:
        return (await load_workspace_block(workspace.block)).as_whom()
    except ConfigurationError as error:
        if known is None or not is_known_enough:
            raise
        run_logger().warning("%s", error)
        return known.as_whom()


async def _load(name: str) -> AzureMLWorkspace:
    where = "parameter workspace_block, or environment variable ROLLWAY_WORKSPACE_BLOCK"
    try:
        async with asyncio.timeout(LOADING_SECONDS):
            block: AzureMLWorkspace = await AzureMLWorkspace.aload(name)
    except Exception as error:
        # Prefect raises these two for "not found" and "saved by another version"; a proxy answers without JSON.
        if isinstance(error, ValueError | RuntimeError) and not isinstance(error, JSONDecodeError):
            raise ConfigurationError(
                f"the Prefect block azureml-workspace/{name} cannot be loaded",
                where=where,
                why=" ".join(str(error).split()),
                hint="make the form known with `prefect block register -m rollway.prefect.blocks`, "
                "then create the block in the Prefect UI, or correct the name",
            ) from error
        raise PrefectUnavailable(
            f"the Prefect block azureml-workspace/{name} cannot be read: the Prefect server does not answer",
            where=f"PREFECT_API_URL={PREFECT_API_URL.value() or 'not set'}",
            why=str(error) or type(error).__name__,
            hint="start it, or correct PREFECT_API_URL. Or do without the block: unset ROLLWAY_WORKSPACE_BLOCK, "
            "and set AZURE_SUBSCRIPTION_ID, AZURE_RESOURCE_GROUP and AZUREML_WORKSPACE",
        ) from error
    if missing := block.missing():
        raise ConfigurationError(
            f"the Prefect block azureml-workspace/{name} is incomplete",
            where=where,
            why=f"{', '.join(missing)}: empty",
            hint="complete it in the Prefect UI",
        )
    return block
