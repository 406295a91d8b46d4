"""Which calls a rollout makes of Azure, taken from what the emulator was really asked, with names and ids left open."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ANY = "[^/]+"
# A name, a version or an id comes after these segments of a path.
COLLECTIONS = frozenset(
    [
        "subscriptions",
        "resourcegroups",
        "workspaces",
        "environments",
        "models",
        "codes",
        "versions",
        "onlineendpoints",
        "deployments",
        "mfeoperationsstatus",
    ]
)
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
BLOB = re.compile(r"(?P<account>/blob/[^/]+)/(?P<is_model>azureml-blobstore-)?[^/]+/.+")
SCORE = re.compile(r"(?P<region>/inference/[^/]+)/[^/]+/score")
READING_POSTS = ("/listKeys", "/listSecrets", "/getLogs", "/token", "/score", "/startPendingUpload")


@dataclass(frozen=True)
class Call:
    """One call of a rollout: the `occurrence`th (from 1) of a method on paths of a pattern (a regular expression)."""

    method: str
    path: str
    occurrence: int

    @property
    def is_write(self) -> bool:
        """True if the call writes to Azure."""
        return self.method not in ("GET", "HEAD") and not self.path.rstrip("$").endswith(READING_POSTS)

    @property
    def is_look(self) -> bool:
        """True if the call reads the evidence of a progressive rollout."""
        return self.path.lower().endswith("/metrics$")

    def __str__(self) -> str:
        short = self.path.strip("^$").replace("\\", "").replace(ANY, "*")
        short = re.sub(r"^/subscriptions/\*(/resourceGroups/\*)?/providers/[^/]+(/workspaces/\*)?", "…", short)
        return f"{self.method} {short} #{self.occurrence}"


def calls_of(requests: Iterable[Mapping[str, Any]]) -> list[Call]:
    """The calls among noted requests, in the order of the first of each: all writes and looks, the first of reads."""
    seen: Counter[tuple[str, str]] = Counter()
    calls = []
    for one in requests:
        key = (str(one["method"]), pattern_of(str(one["path"])))
        seen[key] += 1
        call = Call(*key, seen[key])
        if seen[key] == 1 or call.is_write or call.is_look:
            calls.append(call)
    return calls


def pattern_of(path: str) -> str:
    """A regular expression for this path and those that differ from it in names, versions and ids."""
    if found := BLOB.fullmatch(path):  # the workspace's container has the models, each code has a container of its own
        container = f"azureml-blobstore-{ANY}" if found["is_model"] else f"(?!azureml-blobstore-){ANY}"
        return f"^{re.escape(found['account'])}/{container}/.+$"
    if found := SCORE.fullmatch(path):
        return f"^{re.escape(found['region'])}/{ANY}/score$"
    segments = path.split("/")
    pairs = zip(["", *segments], segments, strict=False)
    is_open = (before.lower() in COLLECTIONS or ID.fullmatch(segment) for before, segment in pairs)
    return (
        f"^{'/'.join(ANY if open_ else re.escape(segment) for open_, segment in zip(is_open, segments, strict=True))}$"
    )
