"""URIs of content in storage, and what the service does with the URI of a model that is registered."""

import json
import re
from uuid import uuid4

import yaml

from rollway.emulator.core.errors import Document
from rollway.emulator.state import Emulator

REPLICATED = "ServiceReplicated"  # folder of the copies that the service makes of MLflow models
MAX_MLMODEL_BYTES = 1024 * 1024
_GROUP = re.compile(r"^(azureml://subscriptions/[^/]+)/resourcegroups/", re.IGNORECASE)


def parse_uri(emulator: Emulator, uri: str) -> tuple[str, str]:
    """Return the container and blob name of a URI. Raise ValueError if it is not in storage."""
    if not uri.startswith("azureml://"):
        return emulator.blobs.parse_url(uri)
    workspace_path, _, path = uri.removeprefix("azureml:/").partition("/datastores/")
    _, separator, name = path.partition("/paths/")
    parts = workspace_path.strip("/").split("/")
    if not separator or len(parts) != 6:
        raise ValueError(f"{uri} is not a path in a datastore of a workspace")
    for workspace in emulator.store.find("Microsoft.MachineLearningServices/workspaces"):
        segments = workspace.id.lower().split("/")
        if [segments[2], segments[4], segments[8]] == [parts[1].lower(), parts[3].lower(), parts[5].lower()]:
            return f"azureml-blobstore-{workspace.properties['workspaceId']}", name.strip("/")
    raise ValueError(f"{uri} is in a workspace that does not exist")


def spell_as_azure(uri: str) -> str:
    """Return the URI with `/resourceGroups/`, as Azure spells it in every answer."""
    return _GROUP.sub(r"\1/resourceGroups/", uri)


def replicate(emulator: Emulator, uri: str) -> str:
    """Copy the content of a datastore path to a folder of the service, and return its URI there.

    A URI that is not in a datastore of the emulator, or has no content, is returned unchanged.
    """
    head, separator, path = uri.partition("/paths/")
    try:
        container, name = parse_uri(emulator, uri)
    except ValueError:
        return uri
    folder = f"{REPLICATED}/{uuid4()}"
    if not separator or not name or not emulator.blobs.copy_all(container, name, f"{folder}/{name}"):
        return uri
    return f"{head}/paths/{folder}/{path.strip('/')}"


def read_flavors(emulator: Emulator, uri: str) -> Document:
    """Return the `flavors` of an MLflow model: those of its file `MLmodel`. Empty if it has none."""
    try:
        container, name = parse_uri(emulator, uri)
    except ValueError:
        return {}
    blob = f"{name}/MLmodel" if name else "MLmodel"
    if not emulator.blobs.exists(container, blob):
        return {}
    document = emulator.blobs.get(container, blob)
    if document["size"] > MAX_MLMODEL_BYTES:
        return {}
    return parse_flavors(emulator.blobs.content_path(document).read_text(encoding="utf-8", errors="replace"))


def parse_flavors(mlmodel: str) -> Document:
    """Return the flavors in the text of an `MLmodel` file, with each setting as text.

    Settings without a value are left out. Lists and mappings become JSON, which is our choice.
    """
    try:
        content = yaml.load(mlmodel, yaml.BaseLoader)  # noqa: S506 - BaseLoader reads every value as text
    except (yaml.YAMLError, RecursionError):
        return {}
    flavors = content.get("flavors") if isinstance(content, dict) else None
    if not isinstance(flavors, dict):
        return {}
    return {str(name): {"data": _data(settings)} for name, settings in flavors.items() if isinstance(settings, dict)}


def _data(settings: Document) -> dict[str, str]:
    return {
        str(name): value if isinstance(value, str) else json.dumps(value)
        for name, value in settings.items()
        if value not in ("", "null", "~")
    }
