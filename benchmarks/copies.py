"""Copy an endpoint in the state of a local Azure ML that does not run."""

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from rollway.emulator.server import DATABASE


def copy_endpoint(state: Path, first: str, names: Sequence[str]) -> None:
    """Copy an endpoint with its online deployments, and the model that has its name.

    Args:
        state: The emulator's folder.
        first: Name of the endpoint and of its model.
        names: Names of the copies and of their models.
    """
    with contextlib.closing(sqlite3.connect(state / DATABASE)) as database, database:
        query = "SELECT key, type, document, private FROM resources WHERE key LIKE ? ORDER BY sequence"
        rows = database.execute(query, (f"%/{first}%",)).fetchall()
        for name in names:
            for row in rows:
                key, kind, document, private = (text.replace(first, name) for text in row)
                own = json.loads(private)
                if "guid" in own:
                    private = json.dumps({**own, "guid": str(uuid4())})
                database.execute(
                    "INSERT INTO resources (key, type, document, private) VALUES (?, ?, ?, ?)",
                    (key, kind, document, private),
                )
