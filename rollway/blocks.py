"""An Azure ML workspace and the identity to use it with, as a Prefect block that people fill in in the UI.

`prefect block register -f rollway/blocks.py` makes its form known to a Prefect server.
"""

from typing import ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from rollway.errors import ConfigurationError
from rollway.settings import DefaultIdentity, Identity, Workspace


class AzureMLWorkspace(Block):
    """Where an Azure ML workspace is and as whom Rollway signs in; the API masks the client secret."""

    _block_type_name: ClassVar[str | None] = "AzureML workspace"
    _block_type_slug: ClassVar[str | None] = "azureml-workspace"

    subscription_id: str = Field(min_length=1, description="The subscription's id.")
    resource_group: str = Field(min_length=1, description="The resource group of the workspace.")
    workspace: str = Field(min_length=1, description="The workspace's name.")
    identity: Identity = Field(
        default=DefaultIdentity(),
        description="`default`: what the worker's environment offers. `managed_identity`: of the machine or container. "
        "`service_principal`: an application with a client secret.",
    )

    def address(self, name: str) -> Workspace:
        """The part that may be stored and shown; `name` is the one that the block was saved under."""
        return Workspace(
            subscription_id=self.subscription_id, resource_group=self.resource_group, name=self.workspace, block=name
        )


async def load_workspace_block(name: str) -> AzureMLWorkspace:
    """The saved block; raises ConfigurationError when there is none, or when it cannot be read."""
    try:
        return await AzureMLWorkspace.aload(name)
    except (ValueError, RuntimeError) as error:  # Prefect's for "not found" and "saved by another version"
        raise ConfigurationError(
            f"the Prefect block azureml-workspace/{name} cannot be loaded",
            where="parameter workspace_block, or environment variable ROLLWAY_WORKSPACE_BLOCK",
            why=" ".join(str(error).split()),
            hint="make the form known with `prefect block register -f rollway/blocks.py`, "
            "then create the block in the Prefect UI, or correct the name",
        ) from error
