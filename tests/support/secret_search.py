"""Looking for secrets in everything that a rollout leaves behind."""

import base64
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

# What answers of Azure call them; whole URLs count for their signature.
NAMES = ("access_token", "accessToken", "primaryKey", "secondaryKey", "sasToken", "sasUri")
SHORTEST = 8


@dataclass(frozen=True)
class Found:
    """A secret of that name stands in that place."""

    secret: str
    place: str


def secrets_in(answer: object) -> Iterator[tuple[str, str]]:
    """Names and values of the secrets in a JSON answer."""
    if isinstance(answer, dict):
        for name, value in answer.items():
            if name in NAMES and isinstance(value, str):
                yield name, signature_of(value)
            yield from secrets_in(value)
    elif isinstance(answer, list):
        for one in answer:
            yield from secrets_in(one)


def signature_of(value: str) -> str:
    """The part of a shared access signature that nobody can guess; anything else as it is."""
    query = urlsplit(value).query or value
    return parse_qs(query).get("sig", [value])[0]


def find(secrets: Mapping[str, str], texts: Iterable[tuple[str, bytes]]) -> list[Found]:
    """Every secret that stands in a text, as it is, quoted for a URL, or in base64 (pickled results are that)."""
    wanted = [(name, form) for name, secret in secrets.items() for form in forms(secret)]
    return sorted(
        {Found(name, place) for place, text in texts for name, form in wanted if form in text},
        key=lambda found: (found.place, found.secret),
    )


def forms(secret: str) -> set[bytes]:
    assert len(secret) >= SHORTEST, "too short to look for: it would be found everywhere"
    plain = secret.encode()
    # The part that is the same whatever stands around it, for each position in a group of three bytes.
    in_base64 = {base64.b64encode(b"\0" * shift + plain)[(shift * 8 + 5) // 6 : -4] for shift in range(3)}
    return {plain, quote(secret, safe="").encode(), *in_base64}


def texts_of_database(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each row of each table of a SQLite database, whatever is in its journal."""
    with sqlite3.connect(path) as connection:
        connection.text_factory = bytes
        tables = [
            bytes(name).decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for table in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):  # noqa: S608 - the name is the database's own
                yield (
                    f"{path.name}: {table}",
                    b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in row),
                )


def texts_of_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files below a folder, databases as their rows."""
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        if path.suffix == ".db":
            yield from texts_of_database(path)
        elif not re.search(r"\.db-(wal|shm)$", path.name):
            yield str(path.relative_to(folder)), path.read_bytes()
