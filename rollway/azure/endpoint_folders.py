"""The rollout folders of endpoints, read without their checks: also what an invalid folder describes can be steered."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from rollway.errors import NotFound
from rollway.settings import ENDPOINT_FILE, ROLLOUT_FILE, deployments_folder, folder_path, known_rollouts
from rollway.spec import Frozen, RolloutFile, did_you_mean, parse_rollout_file


class EndpointFolder(Frozen):
    """An endpoint and its rollout folder with a valid rollout.yml; None if there is none."""

    endpoint: str
    folder: str | None = None
    rollout: RolloutFile | None = None


def find_endpoint(name: str) -> EndpointFolder:
    """Return the endpoint of that name with its folder in deployments/.

    Args:
        name: Name of the endpoint, of a folder in deployments/, or the path of a folder.
    """
    found = {one.endpoint.lower(): one for one in _all()}
    by_folder = _read(Path(folder_path(name)))
    return found.get(name.lower()) or by_folder or EndpointFolder(endpoint=name)


def require_folder(found: EndpointFolder) -> str:
    """Return the folder; raises NotFound if there is none."""
    if found.folder is None:
        known = sorted(one.endpoint for one in _all())
        raise NotFound(
            f"no rollout folder describes the endpoint {found.endpoint!r}",
            where=f"{deployments_folder()}/*/{ENDPOINT_FILE}: name",
            hint=f"name one of {', '.join(known)}, or the path of its folder{did_you_mean(found.endpoint, known)}"
            if known
            else "name the path of its folder",
        )
    return found.folder


def all_folders() -> dict[str, EndpointFolder]:
    """Return the folders in deployments/ by the endpoint's name, in lower case, each with its rollout.yml."""
    found = {}
    for one in _all():
        path = Path(one.folder or "") / ROLLOUT_FILE
        parsed = parse_rollout_file(_yaml(path), str(path))
        rollout = parsed if isinstance(parsed, RolloutFile) else None
        found[one.endpoint.lower()] = one.model_copy(update={"rollout": rollout})
    return found


def _all() -> Iterator[EndpointFolder]:
    return filter(None, (_read(Path(deployments_folder()) / name) for name in known_rollouts()))


def _read(folder: Path) -> EndpointFolder | None:
    raw = _yaml(folder / ENDPOINT_FILE)
    name = raw.get("name") if isinstance(raw, dict) else None
    return EndpointFolder(endpoint=name, folder=str(folder)) if isinstance(name, str) else None


def _yaml(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
