"""Rollout folders that are valid for sure."""

from itertools import chain
from pathlib import Path
from typing import Any

from rollway.files.local_files import check_local_files
from rollway.files.no_code import check_no_code
from rollway.files.request_files import check_requests, read_smoke_requests
from rollway.files.yaml_files import read_yaml
from rollway.settings import ENDPOINT_FILE, ONLINE_DEPLOYMENT_FILE, ROLLOUT_FILE
from rollway.spec import Problem, RolloutFile, check_online_deployment, check_strategy, parse_rollout_file
from rollway.spec.known_good import is_endpoint, is_online_deployment


def is_surely_valid(folder: str) -> bool:
    """Return True if `rollway.azure.folder.load_folder` would find no problem; False if only that can tell.

    Args:
        folder: Path of the folder.
    """
    root, problems = Path(folder), list[Problem]()
    if not root.is_dir():
        return False
    endpoint, said, rollout = (
        read_yaml(root / name, problems) for name in (ENDPOINT_FILE, ONLINE_DEPLOYMENT_FILE, ROLLOUT_FILE)
    )
    if problems or not (is_endpoint(endpoint) and is_online_deployment(said)):
        return False
    parsed = parse_rollout_file(rollout, ROLLOUT_FILE)
    return isinstance(parsed, RolloutFile) and not any(_problems(root, endpoint, said, parsed))


def _problems(root: Path, endpoint: Any, said: Any, rollout: RolloutFile) -> "chain[Problem]":
    path = root / ONLINE_DEPLOYMENT_FILE
    return chain(
        check_online_deployment(said, endpoint["name"], str(path)),
        check_local_files(path, said),
        check_no_code(path, said),
        read_smoke_requests(rollout, root)[1],
        check_strategy(rollout, "managed", ROLLOUT_FILE),
        check_requests(rollout, root),
    )
