"""Sign in to Azure ML, with the workspace and identity of a Prefect block or of the environment.

Tasks pass on the workspace's address and the block's name, never the identity: each task looks it up itself, so that a
secret changed in the block is used by the next task of a running rollout.
"""

from prefect.logging import get_run_logger

from rollway.azure import session
from rollway.azure.session import Session, WorkspaceFacts
from rollway.prefect.blocks import find_workspace, load_identity
from rollway.prefect.run import current_run
from rollway.prefect.task import task
from rollway.settings import Workspace


@task("connect", run_name="connect to Azure ML", timeout_seconds=120, retries=2)
async def connect(workspace_block: str | None = None) -> WorkspaceFacts:
    """Sign in and prove access to the workspace of the Prefect block, default: of the environment variables."""
    facts = await session.connect(*await find_workspace(workspace_block))
    get_run_logger().info(
        "Workspace %s in %s, public network access %s, managed network isolation %s",
        facts.workspace,
        facts.region,
        facts.public_network_access,
        facts.isolation_mode,
    )
    current_run().connects(facts.workspace, facts.studio_page)
    return facts


async def open_session(workspace: Workspace, *, is_known_enough: bool = False) -> Session:
    """Return the process's session for a workspace, signed in with the identity that its block has now.

    While Prefect is away that is the identity that the block had last.

    Args:
        is_known_enough: True to take that one also if somebody deleted or emptied the block.
    """
    return await session.open_session(workspace, await load_identity(workspace, is_known_enough=is_known_enough))
