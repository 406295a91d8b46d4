"""Many endpoints out of one, in the state of a local Azure ML."""

import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from rollway.emulator.folder import DATABASE

MODEL, ENDPOINT, ONLINE_DEPLOYMENT = COPIED = ("/models/versions", "/onlineEndpoints", "/onlineEndpoints/deployments")


def replace_by_copies(
    state: Path,
    first: str,
    models: Mapping[str, str],
    change: Callable[[str, dict[str, Any]], None] = lambda *_: None,
) -> None:
    """Replace an endpoint by copies of it, with its online deployments and its model.

    Args:
        state: The emulator's folder.
        first: Name of the endpoint; its model is called `<name>-model`.
        models: The models of the copies by the names of their endpoints; each model is copied once.
        change: Changes the document of a copy, given the end of its type.
    """
    with contextlib.closing(sqlite3.connect(state / DATABASE, timeout=5)) as database, database:
        query = "SELECT key, type, document, private FROM resources WHERE key LIKE ? ORDER BY sequence"
        rows = [row for row in database.execute(query, (f"%/{first}%",)) if row[1].endswith(COPIED)]
        copied: set[str] = set()
        for name, model in models.items():
            for row in rows:
                key, kind, text, private = (
                    value.replace(f"{first}-model", model).replace(first, name) for value in row
                )
                if key in copied:  # another endpoint has the same model
                    continue
                copied.add(key)
                document, own = json.loads(text), json.loads(private)
                change(next(end for end in reversed(COPIED) if kind.endswith(end)), document)
                if "guid" in own:
                    own["guid"] = str(uuid4())
                database.execute(
                    "INSERT INTO resources (key, type, document, private) VALUES (?, ?, ?, ?)",
                    (key, kind, json.dumps(document), json.dumps(own)),
                )
        database.execute("DELETE FROM resources WHERE key LIKE ? AND type LIKE ?", (f"%/{first}%", f"%{ENDPOINT}%"))
