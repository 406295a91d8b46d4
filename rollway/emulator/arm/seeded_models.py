"""Models of the seed: uploaded and registered as a client would do it."""

import shutil
from pathlib import Path

from rollway.emulator.arm.asset_kinds import MODELS
from rollway.emulator.arm.assets import new_version
from rollway.emulator.arm.resource_manager import WORKSPACE_PATH
from rollway.emulator.arm.workspaces import DATASTORE, default_container
from rollway.emulator.blob.requests import OCTET_STREAM
from rollway.emulator.core.clock import format_iso
from rollway.emulator.core.errors import Document
from rollway.emulator.state import Emulator


def create_seeded_models(emulator: Emulator) -> None:
    """Create the models of the seed in the first workspace. Existing versions stay unchanged."""
    seed, first = emulator.seed, emulator.seed.workspaces[0]
    id_ = WORKSPACE_PATH.format(subscription=seed.subscription_id, group=first.resource_group, workspace=first.name)
    workspace = emulator.store.get(id_)
    assert workspace is not None  # noqa: S101 - workspaces are created before models
    for wanted in emulator.seed.models:
        id_ = f"{workspace.id}/models/{wanted.name}/versions/{wanted.version}"
        if emulator.store.get(id_) is not None:
            continue
        folder = f"Seed/{wanted.name}/{wanted.version}"
        _upload(emulator, default_container(workspace), folder, wanted.path)
        scope = workspace.id.replace("/providers/Microsoft.MachineLearningServices", "").lstrip("/")
        uri = f"azureml://{scope}/datastores/{DATASTORE}/paths/{folder}/{wanted.path.name}"
        given = {"modelUri": uri, "modelType": wanted.type, "tags": dict(wanted.tags), "properties": {}}
        emulator.store.put(new_version(emulator, MODELS, id_, given, _system_data(emulator)))


def _system_data(emulator: Emulator) -> Document:
    now = format_iso(emulator.clock.now())
    who = {"By": "seed", "ByType": "User", "At": now}
    return {f"{what}{key}": value for what in ("created", "lastModified") for key, value in who.items()}


def _upload(emulator: Emulator, container: str, folder: str, path: Path) -> None:
    files = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    for file in files:
        content = emulator.blobs.new_content_path()
        shutil.copyfile(file, content)
        name = f"{folder}/{file.relative_to(path.parent).as_posix()}"
        emulator.blobs.commit(container, name, content, None, OCTET_STREAM)
