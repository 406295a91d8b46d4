"""The checks that need Azure: sign-in, network, workspace, roles."""

from rollway.azure.permissions import read_permissions
from rollway.azure.session import WorkspaceFacts, connect, open_session
from rollway.errors import AzureUnavailable, CredentialsRejected, RollwayError
from rollway.rollout.checkup import Check, State, check_roles
from rollway.settings import Identity, Workspace


async def check_azure(workspace: Workspace, identity: Identity) -> tuple[Check, ...]:
    """Sign in, read the workspace and the caller's permissions; return what was found."""
    try:
        connected = await connect(workspace, identity)
    except RollwayError as error:
        return _refused(error)
    session = await open_session(connected.workspace, identity)
    return (
        Check(name="credentials", state=State.OK, found="you are signed in"),
        Check(name="network", state=State.OK, found=f"{session.arm_url} answers"),
        Check(name="access", state=State.OK, found=f"the workspace is in {connected.region}"),
        *check_roles(await read_permissions(session, workspace.resource_id)),
        _scoring(connected),
    )


def _refused(error: RollwayError) -> tuple[Check, ...]:
    """Return the checks of a workspace that cannot be read: those before the failed one are ok."""
    names = ("credentials", "network", "access")
    failed = "access"
    before: tuple[Check, ...] = (
        Check(name="credentials", state=State.OK, found="you are signed in"),
        Check(name="network", state=State.OK, found="Azure answers"),
    )
    if isinstance(error, CredentialsRejected | AzureUnavailable):
        failed, before = "credentials" if isinstance(error, CredentialsRejected) else "network", ()
    known = {one.name for one in before} | {failed}
    unknown = [name for name in (*names, "roles") if name not in known]
    return (
        *before,
        Check.failed(failed, error),
        *(Check(name=name, state=State.UNKNOWN, found=f"needs {failed}") for name in unknown),
    )


def _scoring(connected: WorkspaceFacts) -> Check:
    if connected.public_network_access.lower() != "disabled":
        return Check(name="scoring", state=State.OK, found="the workspace can be reached from anywhere")
    return Check(
        name="scoring",
        state=State.OPTIONAL,
        found="public access to the workspace is disabled, so smoke tests and scores work only inside its network",
        next="run workers, and `rollway score`, inside it: docs/azure-setup.md, private endpoints",
    )
