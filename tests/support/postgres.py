"""PostgreSQL for the Prefect servers of tests, if it is installed: SQLite at times locks its database for a minute."""

import contextlib
import csv
import io
import shutil
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rollway.local import postgres
from rollway.local.ports import free_port
from rollway.local.postgres import find_programs

WAIT_SECONDS = 300
# Nothing in it outlives the tests.
FAST = ("-F", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200")


class Postgres(postgres.Postgres):
    """A PostgreSQL server on a free loopback port."""

    def new_database(self) -> str:
        """Create a database; return its URL for Prefect."""
        return self.create_database(f"prefect_{uuid.uuid4().hex}")

    def copy_to_sqlite(self, url: str, path: Path) -> None:
        """Copy all tables of a database into a new SQLite database; every value becomes its text."""
        database = url.rpartition("/")[2]
        csv.field_size_limit(sys.maxsize)  # artifacts are long
        with contextlib.closing(sqlite3.connect(path)) as target:
            for table in self.ask(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split():
                table_as_csv = self.ask(database, f'COPY "{table}" TO STDOUT WITH CSV HEADER')
                names, *rows = csv.reader(io.StringIO(table_as_csv))
                columns = ", ".join(f'"{name}"' for name in names)
                target.execute(f'CREATE TABLE "{table}" ({columns})')
                places = ", ".join("?" * len(names))
                target.executemany(f'INSERT INTO "{table}" VALUES ({places})', rows)  # noqa: S608 - its own name
            target.commit()


@contextmanager
def running_postgres() -> Iterator[Postgres | None]:
    """Start a server for the block; yields None if PostgreSQL is not installed."""
    programs = find_programs()
    if programs is None:
        yield None
        return
    server = Postgres.create(programs, free_port())
    folder = server.folder
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(server.command(*FAST), stdout=log, stderr=log, cwd="/")
    try:
        wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
        Path(log.name).unlink(missing_ok=True)


def wait_until_ready(server: Postgres, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not server.is_ready:
        assert process.poll() is None, "PostgreSQL has ended"
        assert time.monotonic() < deadline, "PostgreSQL is not ready"
        time.sleep(0.1)
