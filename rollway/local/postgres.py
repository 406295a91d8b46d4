"""A PostgreSQL server on loopback, run by the programs of this machine, with its data in a temporary folder."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_PACKAGES = Path("/usr/lib/postgresql")  # of Debian, whose package does not put them on PATH


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL server; its owner starts and stops the process.

    Args:
        programs: The folder of PostgreSQL's programs.
        folder: The temporary folder, which holds the data.
        port: Port of loopback.
    """

    programs: Path
    folder: Path
    port: int

    @classmethod
    def create(cls, programs: Path, port: int) -> Self:
        """Create a server without databases.

        Its folder is where temporary files are, because the user that it runs as may not reach others.
        """
        folder = Path(tempfile.mkdtemp(prefix="rollway-postgres-"))
        server = cls(programs, folder, port)
        try:
            if os.geteuid() == 0:
                shutil.chown(folder, "postgres", "postgres")
            server.run("initdb", "-D", server._data, "-A", "trust", "-U", "postgres", "-N", "--no-locale", "-E", "UTF8")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return server

    def command(self, *options: str) -> list[str]:
        """Return the command of the server's process. SIGTERM ends it when its last client has left."""
        place = ("-D", self._data, "-k", str(self.folder), "-h", "127.0.0.1", "-p", str(self.port))
        return self._command("postgres", *place, *options)

    @property
    def is_ready(self) -> bool:
        """True if the server answers."""
        try:
            self.run("pg_isready", "-q", *self._address)
        except subprocess.CalledProcessError:
            return False
        return True

    def create_database(self, name: str) -> str:
        """Create a database; return its URL for Prefect."""
        self.run("createdb", *self._address, "-U", "postgres", name)
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{name}"

    def ask(self, database: str, query: str) -> str:
        """Return the answer to a query as text, without a frame."""
        return self.run("psql", *self._address, "-U", "postgres", "-At", "-c", query, database)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs; return its output."""
        command = self._command(program, *arguments)
        return subprocess.run(command, check=True, capture_output=True, cwd="/", text=True).stdout

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _address(self) -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port))

    def _command(self, program: str, *arguments: str) -> list[str]:
        command = [str(self.programs / program), *arguments]
        if os.geteuid() != 0:
            return command
        # It refuses to run as root. A change of user would clear the signal that ends it with its parent.
        user = ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=keep"]
        return ["setpriv", *user, *command]


def find_programs() -> Path | None:
    """Return the folder of the programs of the newest PostgreSQL on this machine, or None."""
    found = sorted(_PACKAGES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("postgres")
    return found[-1].parent if found else Path(on_path).parent if on_path else None
