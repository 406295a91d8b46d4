"""Conda files of environments, which Azure returns as JSON text whatever YAML was sent."""

import json
from typing import Any

import yaml

MAX_CHARACTERS = 200_000
MAX_NODES = 100_000  # of the JSON; YAML aliases can multiply what they refer to


def as_json_text(conda_file: str) -> str:
    """Return the content of a conda file as JSON text with an indent of 2.

    A text that is no mapping in YAML is returned unchanged, so that the build of the environment can tell what is wrong
    with it. Azure's answer to such a text is not known.
    """
    if len(conda_file) > MAX_CHARACTERS:
        return conda_file
    try:
        content = yaml.safe_load(conda_file)
        if not isinstance(content, dict) or _count_nodes(content, MAX_NODES) > MAX_NODES:
            return conda_file
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    except (yaml.YAMLError, RecursionError, TypeError, ValueError):
        return conda_file


def _count_nodes(value: Any, limit: int) -> int:
    """Return the number of nodes in a value, or a number above `limit` as soon as it is exceeded."""
    count, waiting = 0, [value]
    while waiting and count <= limit:
        count += 1
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return count
