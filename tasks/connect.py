"""Which workspace a run talks to, and as whom: from a Prefect block or from the environment.

Steps hand on the workspace's address and the block's name, never the identity: each step looks it up for itself. So a
secret that was changed in the block is used by the next step of a run that is under way.
"""

from rollway.azure import session
from rollway.azure.session import Session, WorkspaceFacts
from rollway.prefect.blocks import load_workspace_block
from rollway.settings import DefaultIdentity, Identity, Workspace, block_from_environment, workspace_from_environment


async def find_workspace(block: str | None = None) -> tuple[Workspace, Identity]:
    """What the block says; without one what ROLLWAY_WORKSPACE_BLOCK names, else what the other variables say.

    Raises ConfigurationError.
    """
    name = block or block_from_environment()
    if name is None:
        return workspace_from_environment(), DefaultIdentity()
    loaded = await load_workspace_block(name)
    return loaded.address(name), loaded.as_whom()


async def connect_to(block: str | None) -> WorkspaceFacts:
    """Signs in to the workspace of the block, or of the environment."""
    return await session.connect(*await find_workspace(block))


async def open_session(workspace: Workspace) -> Session:
    """The process's one session for a workspace, signed in as its block says now."""
    identity = DefaultIdentity() if workspace.block is None else (await load_workspace_block(workspace.block)).as_whom()
    return await session.open_session(workspace, identity)
