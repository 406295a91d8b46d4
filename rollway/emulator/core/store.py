"""The emulator's state in one SQLite file: resources are JSON documents, keyed by their lower-case ARM id."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rollway.emulator.core.errors import Document

SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS resources (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, type TEXT NOT NULL,
    document TEXT NOT NULL, private TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS resources_by_type ON resources (type, key);
CREATE TABLE IF NOT EXISTS operations (id TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (
    container TEXT NOT NULL, name TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (container, name)
);
"""


@dataclass
class Resource:
    """One ARM resource.

    Args:
        document: The resource as clients see it.
        private: Values that only the emulator sees, such as keys.
        sequence: Number in the order of creation, which is also the order of Azure's `createdtime`. 0 until stored.
    """

    type: str
    document: Document
    private: Document = field(default_factory=dict)
    sequence: int = 0

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def name(self) -> str:
        return str(self.document["name"])

    @property
    def properties(self) -> Document:
        properties: Document = self.document["properties"]
        return properties

    @property
    def guid(self) -> str:
        """Id that a later resource with the same name does not have."""
        return str(self.private.get("guid") or self.id)  # an earlier version stored none

    @property
    def state(self) -> str:
        return str(self.properties.get("provisioningState", "Succeeded"))


class Store:
    """All state except the content of blobs. A write is in the file when the call returns. Ids ignore case."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        # WAL with NORMAL loses nothing when the process is killed, and `rollway emulator env` can read during writes.
        self._connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=5000;")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        self._connection.close()

    @property
    def changes(self) -> int:
        """Counter that grows with every write. A cached read is valid until it changes."""
        return self._connection.total_changes

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes of the block together, or none of them."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    # Settings

    def setting(self, name: str) -> str | None:
        row = self._connection.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_setting(self, name: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    # Resources

    def get(self, resource_id: str) -> Resource | None:
        rows = self._select("key = ?", resource_id.lower())
        return rows[0] if rows else None

    def put(self, resource: Resource) -> None:
        """Create or replace a resource. A replaced resource keeps its place in the order of creation."""
        self._connection.execute(
            "INSERT INTO resources (key, type, document, private) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (key) DO UPDATE SET document = excluded.document, private = excluded.private",
            (resource.id.lower(), resource.type, json.dumps(resource.document), json.dumps(resource.private)),
        )

    def delete(self, resource_id: str) -> None:
        """Delete a resource and all resources below it."""
        key = resource_id.lower()
        self._connection.execute("DELETE FROM resources WHERE key = ? OR (key > ? AND key < ?)", (key, *_under(key)))

    def find(self, type: str, under: str = "") -> list[Resource]:
        """Return the resources of a type in the order of creation, optionally only those below the id `under`."""
        return self._select("type = ? AND key > ? AND key < ?", type, *(_under(under.lower()) if under else ("", "~")))

    def _select(self, where: str, *values: str) -> list[Resource]:
        query = f"SELECT type, document, private, sequence FROM resources WHERE {where} ORDER BY sequence"  # noqa: S608
        rows = self._connection.execute(query, values).fetchall()
        return [Resource(row[0], json.loads(row[1]), json.loads(row[2]), row[3]) for row in rows]

    # Operations

    def put_operation(self, operation_id: str, document: Document) -> None:
        row = (operation_id.lower(), json.dumps(document))
        self._connection.execute("INSERT OR REPLACE INTO operations VALUES (?, ?)", row)

    def operation(self, operation_id: str) -> Document | None:
        query = "SELECT document FROM operations WHERE id = ?"
        row = self._connection.execute(query, (operation_id.lower(),)).fetchone()
        return None if row is None else json.loads(row[0])

    def operations(self) -> list[Document]:
        return [json.loads(row[0]) for row in self._connection.execute("SELECT document FROM operations")]

    # Properties of blobs; their content is in files

    def blob(self, container: str, name: str) -> Document | None:
        query = "SELECT document FROM blobs WHERE container = ? AND name = ?"
        row = self._connection.execute(query, (container, name)).fetchone()
        return None if row is None else json.loads(row[0])

    def put_blob(self, container: str, name: str, document: Document) -> None:
        row = (container, name, json.dumps(document))
        self._connection.execute("INSERT OR REPLACE INTO blobs VALUES (?, ?, ?)", row)

    def delete_blob(self, container: str, name: str) -> None:
        self._connection.execute("DELETE FROM blobs WHERE container = ? AND name = ?", (container, name))

    def blobs(self, container: str, prefix: str = "") -> list[tuple[str, Document]]:
        query = "SELECT name, document FROM blobs WHERE container = ? AND substr(name, 1, ?) = ? ORDER BY name"
        rows = self._connection.execute(query, (container, len(prefix), prefix))
        return [(row[0], json.loads(row[1])) for row in rows]

    def clear(self) -> None:
        """Delete all resources, operations and blobs. Settings (keys, CA, port) stay."""
        with self.transaction():
            for table in ("resources", "operations", "blobs"):
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608


def _under(key: str) -> tuple[str, str]:
    """Return the open interval of all keys below `key`. "0" is the character after "/"."""
    return f"{key}/", f"{key}0"
