"""PostgreSQL for the Prefect servers of tests, if it is installed: SQLite at times locks its database for a minute."""

import contextlib
import csv
import io
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAIT_SECONDS = 60
# Nothing in it outlives the tests.
FAST = ("-F", "-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=200")


class Postgres:
    """A PostgreSQL server on a free loopback port."""

    def __init__(self, programs: Path, port: int, as_user: list[str]) -> None:
        self._programs, self.port, self._as_user = programs, port, as_user

    def new_database(self) -> str:
        """Create a database; return its URL for Prefect."""
        name = f"prefect_{uuid.uuid4().hex}"
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name)
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{name}"

    def copy_to_sqlite(self, url: str, path: Path) -> None:
        """Copy all tables of a database into a new SQLite database; every value becomes its text."""
        database = url.rpartition("/")[2]
        csv.field_size_limit(sys.maxsize)  # artifacts are long
        with contextlib.closing(sqlite3.connect(path)) as target:
            for table in self._ask(database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split():
                table_as_csv = self._ask(database, f'COPY "{table}" TO STDOUT WITH CSV HEADER')
                names, *rows = csv.reader(io.StringIO(table_as_csv))
                columns = ", ".join(f'"{name}"' for name in names)
                target.execute(f'CREATE TABLE "{table}" ({columns})')
                places = ", ".join("?" * len(names))
                target.executemany(f'INSERT INTO "{table}" VALUES ({places})', rows)  # noqa: S608 - its own name
            target.commit()

    def _ask(self, database: str, query: str) -> str:
        return self.run("psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-At", "-c", query, database)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs; return its output."""
        command = [*self._as_user, str(self._programs / program), *arguments]
        return subprocess.run(command, check=True, capture_output=True, cwd="/", text=True).stdout


@contextmanager
def running_postgres() -> Iterator[Postgres | None]:
    """Start a server for the block; yields None if PostgreSQL is not installed."""
    programs = find_programs()
    if programs is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="rollway-postgres-"))
    as_user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    server = Postgres(programs, free_port(), as_user)
    data = str(folder / "data")
    server.run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "-N", "--no-locale", "-E", "UTF8")
    options = ("-k", str(folder), "-h", "127.0.0.1", "-p", str(server.port), *FAST)
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            [*as_user, str(programs / "postgres"), "-D", data, *options], stdout=log, stderr=log, cwd="/"
        )
    try:
        wait_until_ready(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
        Path(log.name).unlink(missing_ok=True)


def find_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL of the machine, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def wait_until_ready(server: Postgres, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            server.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(server.port))
        except subprocess.CalledProcessError:
            assert process.poll() is None, "PostgreSQL has ended"
            assert time.monotonic() < deadline, "PostgreSQL is not ready"
            time.sleep(0.1)
        else:
            return


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
