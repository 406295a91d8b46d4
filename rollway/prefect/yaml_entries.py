"""The entries of prefect.yaml that come from the rollout folders, between two marks.

An entry that exists is left as it is, with all that a person added to it. An entry that is missing is added; one whose
folder is gone is removed.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from rollway.errors import ConfigurationError
from rollway.settings import known_rollouts
from rollway.spec import Frozen
from rollway.spec.starter import scalar

FILE = "prefect.yaml"
COMMAND = "rollway prefect-yaml"
ENTRYPOINT = "flows/deploy.py:deploy_endpoint"
BEGIN, END = "# <folders>", "# </folders>"


class Entries(Frozen):
    """A prefect.yaml with an entry per folder, and the names of the folders whose entries were added and removed."""

    text: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def is_change(self) -> bool:
        """True if an entry was added or removed."""
        return bool(self.added or self.removed)

    def __str__(self) -> str:
        parts = [f"added {', '.join(self.added)}"] if self.added else []
        parts += [f"removed {', '.join(self.removed)}"] if self.removed else []
        return f"{FILE}: {'; '.join(parts) or 'has an entry for each folder'}"


def missing_entries(text: str, folders: Sequence[str]) -> tuple[str, ...]:
    """Return the folders that have no entry in a prefect.yaml; raises ConfigurationError if it is not valid YAML."""
    known = {entry.get("name") for _, entry in _entries(text) if _rolls_out(entry)}
    return tuple(name for name in folders if name not in known)


def with_entries(text: str, folders: Sequence[str]) -> Entries:
    """Return a prefect.yaml with an entry for each folder.

    Raises ConfigurationError if it is not valid YAML, or lacks the marks or the anchor that the entries need.
    """
    lines = text.splitlines(keepends=True)
    begin, end = _marks(lines)
    inside = [(line, entry) for line, entry in _entries(text) if begin < line < end]
    starts = [*(_first_comment(lines, line, begin) for line, _ in inside), end]
    indent = lines[begin][: -len(lines[begin].lstrip())]
    blocks = [
        (_folder_of(entry), "".join(lines[first:last]))
        for (_, entry), (first, last) in zip(inside, pairwise(starts), strict=True)
    ]
    added = missing_entries(text, folders)
    kept = [*(block for block in blocks if block[0] in folders), *((name, _entry(name, indent)) for name in added)]
    kept.sort(key=lambda block: block[0])
    new = "".join([*lines[: starts[0]], *(block for _, block in kept), *lines[end:]])
    if still_missing := missing_entries(new, folders):
        raise _wrong(
            f"the entries of {', '.join(still_missing)} do not run {ENTRYPOINT}", "correct the anchor &rollout"
        )
    return Entries(text=new, added=added, removed=tuple(name for name, _ in blocks if name not in folders))


def update_prefect_yaml() -> Entries:
    """Write the entries of the rollout folders in the prefect.yaml of the working directory, if they have changed."""
    path = Path(FILE)
    before = path.read_text(encoding="utf-8")
    entries = with_entries(before, known_rollouts())
    if entries.text != before:
        path.write_text(entries.text, encoding="utf-8")
    return entries


def _entry(name: str, indent: str) -> str:
    lines = [
        f"- name: {scalar(name)}",
        "  <<: *rollout",
        f"  description: Roll deployments/{name} out to its endpoint.",
        f'  tags: [rollway, "rollout:{name}"]',
        f"  parameters: {{rollout: {scalar(name)}}}",
    ]
    return "".join(f"{indent}{line}\n" for line in lines)


def _entries(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line and the content of each Prefect deployment."""
    try:
        root, document = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _wrong(" ".join(str(error).split()), "correct it; the entries need the anchor &rollout") from error
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    for key, value in pairs:
        if key.value == "deployments" and isinstance(value, yaml.SequenceNode):
            for node, entry in zip(value.value, document["deployments"], strict=True):
                yield node.start_mark.line, entry


def _marks(lines: Sequence[str]) -> tuple[int, int]:
    begins, ends = (
        [number for number, line in enumerate(lines) if line.lstrip().startswith(mark)] for mark in (BEGIN, END)
    )
    if len(begins) != 1 or len(ends) != 1 or begins > ends:
        hint = f"put `{BEGIN}` and `{END}`, each on a line of its own, below `deployments:`"
        raise _wrong("the place of the folders' entries is not marked", hint)
    return begins[0], ends[0]


def _first_comment(lines: Sequence[str], line: int, begin: int) -> int:
    """Return the first line of an entry: that of the comment directly above it."""
    while line - 1 > begin and lines[line - 1].lstrip().startswith("#"):
        line -= 1
    return line


def _rolls_out(entry: dict[str, Any]) -> bool:
    return entry.get("entrypoint") == ENTRYPOINT


def _folder_of(entry: dict[str, Any]) -> str:
    """Return the folder that an entry rolls out: a folder may have a second entry, with another name."""
    return str((entry.get("parameters") or {}).get("rollout") or entry.get("name"))


def _wrong(why: str, hint: str) -> ConfigurationError:
    return ConfigurationError(f"{FILE} cannot be written", where=FILE, why=why, hint=hint)
