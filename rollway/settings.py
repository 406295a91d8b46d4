"""Settings: the Azure ML workspace, the identity, and the rollout folders.

Without a Prefect block all of it comes from the environment, and the identity is what
`azure.identity.DefaultAzureCredential` finds there (`AZURE_CLIENT_ID`, …; `AZURE_TOKEN_CREDENTIALS` restricts it).
"""

import importlib.util
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from rollway.errors import ConfigurationError, InvalidRollout
from rollway.spec import Frozen
from rollway.spec.values import did_you_mean

DEPLOYMENTS = "deployments"
ENDPOINT_FILE, ONLINE_DEPLOYMENT_FILE, ROLLOUT_FILE = _FILES = ("endpoint.yml", "deployment.yml", "rollout.yml")
MIN_SECRET_LENGTH = 16
# How long a run waits for a Prefect server that is away. A flow that has ended proposes its state twice, and by default
# each proposal takes a minute, or six if the server is reachable and silent. With these it takes 45 s at most.
PREFECT_PATIENCE = {"PREFECT_CLIENT_MAX_RETRIES": "3", "PREFECT_API_REQUEST_TIMEOUT": "8"}


class Workspace(Frozen):
    """Address of an Azure ML workspace: plain strings, safe to store and to show.

    `block` names the Prefect block that it came from, which also has the identity; None for the environment.
    """

    subscription_id: str
    resource_group: str
    name: str
    block: str | None = None

    @property
    def group_id(self) -> str:
        """Resource id of its resource group."""
        return f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"

    @property
    def resource_id(self) -> str:
        """Resource id of the workspace itself."""
        return f"{self.group_id}/providers/Microsoft.MachineLearningServices/workspaces/{self.name}"

    def endpoint_id(self, endpoint: str) -> str:
        """Return the resource id of an online endpoint in it."""
        return f"{self.resource_id}/onlineEndpoints/{endpoint}"

    def __str__(self) -> str:
        return f"{self.resource_group}/{self.name} (subscription {self.subscription_id})"


class DefaultIdentity(Frozen):
    """The identity that `DefaultAzureCredential` finds: variables, a workload or managed identity, `az login`."""


class ManagedIdentity(Frozen):
    """The managed identity of the machine or container; `client_id` only for a user-assigned one."""

    client_id: str | None = None


class ServicePrincipal(Frozen):
    """An application of Microsoft Entra ID with a client secret."""

    tenant_id: str
    client_id: str
    client_secret: SecretStr


Identity = DefaultIdentity | ManagedIdentity | ServicePrincipal


# The second names are those that Azure ML sets on its compute.
_VARIABLES = {
    "subscription_id": ("AZURE_SUBSCRIPTION_ID", "AZUREML_ARM_SUBSCRIPTION"),
    "resource_group": ("AZURE_RESOURCE_GROUP", "AZUREML_ARM_RESOURCEGROUP"),
    "name": ("AZUREML_WORKSPACE", "AZUREML_ARM_WORKSPACE_NAME"),
}


def deployments_folder() -> str:
    """Return the folder of all rollout folders: ROLLWAY_DEPLOYMENTS, default: `deployments`."""
    return os.environ.get("ROLLWAY_DEPLOYMENTS", "").rstrip("/") or DEPLOYMENTS


def known_rollouts(root: Path | None = None) -> list[str]:
    """Return the names of the folders below `root` that hold a rollout.yml, sorted; default: `deployments_folder()`."""
    return sorted(path.parent.name for path in (root or Path(deployments_folder())).glob(f"*/{ROLLOUT_FILE}"))


def folder_path(given: str) -> str:
    """Return the path of a rollout folder that is given by its path or by its name in `deployments_folder()`."""
    return (given if "/" in given else f"{deployments_folder()}/{given}").rstrip("/")


def find_folder(given: str) -> str:
    """Return the `folder_path`; raises InvalidRollout if there is no folder."""
    if not given.strip():
        raise InvalidRollout(
            "the name of the rollout folder is empty", where="command line", hint=_offer(known_rollouts())
        )
    folder = folder_path(given)
    root = Path(folder)
    if root.is_dir():
        return folder
    known = known_rollouts(root.parent)
    if (file := root if root.is_file() else Path(given)).is_file():
        hint = f"name the folder that it is in: {shlex.quote(str(file.parent))}"
        raise InvalidRollout(f"{file} is a file, and no rollout folder", where=str(file), hint=hint)
    hint = _offer(known, root.name)
    if Path(given).is_dir():
        hint = f"there is a folder here: write ./{given}"
    raise InvalidRollout(f"there is no folder {folder!r}", where=str(root.parent), hint=hint)


def require_rollout_folder(root: Path) -> None:
    """Raise InvalidRollout if a folder has none of the files of a rollout."""
    if any((root / name).exists() for name in _FILES) or list(root.glob("*.y*ml")):
        return
    inside = [f"{root}/{name}" for name in known_rollouts(root)]
    hint = f"name one of the folders in it: {', '.join(inside)}" if inside else _offer(known_rollouts())
    why = f"it has none of {', '.join(_FILES)}"
    raise InvalidRollout(f"{str(root)!r} is no rollout folder", where=str(root), why=why, hint=hint)


def _offer(known: Sequence[str], name: str = "") -> str:
    """Return which rollout folders there are, and the one that was probably meant."""
    if not known:
        return f"create one with {', '.join(_FILES[:-1])} and {ROLLOUT_FILE}, or name another"
    return f"there are {', '.join(known)}{did_you_mean(name, known)}"


def rollout_name(folder: str) -> str:
    """Return the name of a rollout folder that is given as its name or as its path."""
    return folder.rstrip("/").rpartition("/")[2]


def workspace_from_environment() -> Workspace:
    """Return the workspace of the environment; raises ConfigurationError that lists all missing variables."""
    found = {field: next(filter(None, map(os.environ.get, names)), "") for field, names in _VARIABLES.items()}
    if missing := [_VARIABLES[field][0] for field, value in found.items() if not value]:
        raise ConfigurationError(
            "no Azure ML workspace is configured",
            where=f"environment variables {', '.join(missing)}",
            why="they are not set",
            hint="set them to your workspace, or start a local Azure ML with `rollway emulator up` and load "
            '`eval "$(rollway emulator env)"`',
        )
    return Workspace(**found)


def webhook_secret() -> str:
    """Return the secret that Event Grid must send; raises ConfigurationError if it is missing or too short."""
    secret = os.environ.get("ROLLWAY_WEBHOOK_SECRET", "")
    if len(secret) < MIN_SECRET_LENGTH:
        raise ConfigurationError(
            "the webhook for Event Grid has no secret",
            where="environment variable ROLLWAY_WEBHOOK_SECRET",
            why=f"it has fewer than {MIN_SECRET_LENGTH} characters" if secret else "it is not set",
            hint="create one with `openssl rand -hex 32`, and configure it in the event subscription too",
        )
    return secret


def block_from_environment() -> str | None:
    """Return the name of the Prefect block in ROLLWAY_WORKSPACE_BLOCK, or None."""
    return os.environ.get("ROLLWAY_WORKSPACE_BLOCK") or None


def lease_seconds() -> int:
    """Return how long a lease is valid without renewal, in seconds (ROLLWAY_LEASE_SECONDS, default: 300)."""
    return _seconds("ROLLWAY_LEASE_SECONDS", 300, "a lease time")


def prefect_seconds() -> int:
    """Return how long a call to Prefect that a rollout can do without may take (ROLLWAY_PREFECT_SECONDS, default: 10).

    At the end of the process its last logs and events have half of that time.
    """
    return _seconds("ROLLWAY_PREFECT_SECONDS", 10, "a time to wait for Prefect")


def _seconds(variable: str, default: int, what: str) -> int:
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(
            f"{text!r} is not {what}",
            where=f"environment variable {variable}",
            hint=f"set a whole number of seconds, at least 1, or unset it for {default}",
        )
    return int(text)


def require_checkout(command: str) -> None:
    """Raise ConfigurationError unless the flows can be imported: they are files of a checkout, not of the wheel."""
    if importlib.util.find_spec("flows") is None:
        raise ConfigurationError(
            f"`rollway {command}` runs only in a checkout of Rollway",
            where=str(Path.cwd()),
            why="the flows and tasks that it runs are files of a checkout and not part of the installed package",
            hint="clone the repository and run the command there",
        )


def is_debug() -> bool:
    """Return True if errors are shown with tracebacks (`rollway --debug`, or ROLLWAY_DEBUG=1)."""
    return os.environ.get("ROLLWAY_DEBUG", "") not in ("", "0")
