"""The local stack as a team runs it: PostgreSQL, Redis, two API servers of Prefect, and its services by themselves.

Each worker and its runs use one API server. If that dies, they wait until it is back.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rollway.errors import ConfigurationError, RollwayError
from rollway.local.ports import free_port
from rollway.local.postgres import Postgres, find_programs
from rollway.local.process import Process
from rollway.local.stack import Say, Stack, answers
from rollway.terminal import saying

# Each of the three processes of Prefect opens up to 15, its pool and the overflow; runs and workers open none.
MAX_CONNECTIONS = 200
SERVERS: Final = (1, 2)
SERVICES = "prefect-services"


@dataclass(frozen=True)
class Programs:
    """The programs of this machine that a team's stack needs.

    Args:
        postgres: The folder of PostgreSQL's programs.
        redis: The path of `redis-server`.
    """

    postgres: Path
    redis: str

    @classmethod
    def find(cls) -> "Programs":
        """Find them; raises ConfigurationError that names all that are missing."""
        postgres, redis = find_programs(), shutil.which("redis-server")
        package = importlib.util.find_spec("prefect_redis")
        if postgres is None or redis is None or package is None:
            found = {"PostgreSQL": postgres, "redis-server": redis, "prefect-redis": package}
            hints = [] if postgres and redis else ["apt-get install postgresql redis-server"]
            hints += [] if package else ["pip install 'rollway[team]'"]
            raise ConfigurationError(
                f"not installed: {', '.join(name for name, one in found.items() if one is None)}",
                where="this machine: /usr/lib/postgresql, PATH and the packages of Python",
                why="a team's stack runs Prefect on PostgreSQL and Redis",
                hint=" && ".join(hints),
            )
        return cls(postgres, redis)


class TeamStack(Stack):
    """A stack with two API servers. Its database and Redis are empty at each start; `stop` removes them.

    Raises ConfigurationError if this machine lacks a program.

    Args:
        python: Python interpreter of the clients and workers.
    """

    def __init__(self, folder: Path, say: Say, python: str = sys.executable, *, outlives: bool = False) -> None:
        super().__init__(folder, say, python, outlives=outlives)
        self._programs = Programs.find()
        self._redis_port: int | None = None
        self._server_ports: dict[int, int] = {}
        self._workers_started = 0

    def prefect_variables(self) -> dict[str, str]:
        """Return the environment variables of a process that only needs Prefect; its API is the first server."""
        redis = f"redis://127.0.0.1:{self._redis_port}"
        return {
            **super().prefect_variables(),
            "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
            "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
            # A server that registers none would note in the home that they are registered.
            "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",
            "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
            "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
            "PREFECT_REDIS_MESSAGING_URL": f"{redis}/0",
            "PREFECT_SERVER_DOCKET_URL": f"{redis}/1",
        }

    def api_url(self, server: int) -> str:
        """Return the API of a server, 1 or 2."""
        return f"http://localhost:{self._server_ports[server]}/api"

    def start_prefect(self, port: int | None = None) -> Process:
        """Start PostgreSQL, Redis, two API servers and the services; `wait_for_prefect` waits until they are ready.

        Args:
            port: Port of the first API server, whose UI people use.

        Returns:
            The first API server.
        """
        with saying("starting PostgreSQL and Redis, and creating Prefect's tables", say=self._say):
            self.start_stores()
            self._prefect_port = port or free_port()
            self._server_ports = {1: self._prefect_port, 2: free_port()}
            self._prefect(sys.executable, ["server", "database", "upgrade", "-y"], self._server_variables())
        servers = [self.start_server(number) for number in SERVERS]
        command = [sys.executable, "-m", "prefect", "server", "services", "start"]
        self._start(SERVICES, command, self._server_variables())
        return servers[0]

    def start_stores(self) -> None:
        """Start PostgreSQL, with an empty database, and Redis; wait until both answer."""
        self._redis_port = free_port()
        network = ["--bind", "127.0.0.1", "--port", str(self._redis_port)]
        memory_only = ["--save", "", "--appendonly", "no"]
        self._start("redis", [self._programs.redis, *network, *memory_only], working_directory=Path("/"))
        try:
            postgres = Postgres.create(self._programs.postgres, free_port())
            self.temporary_folders.append(postgres.folder)
            command = postgres.command("-c", f"max_connections={MAX_CONNECTIONS}")
            self._start("postgres", command, working_directory=Path("/"))
            self._wait("postgres", lambda: postgres.is_ready)
            self.database_url = postgres.create_database("prefect")
        except subprocess.CalledProcessError as error:
            raise RollwayError(
                "PostgreSQL did not start",
                where=str(self._programs.postgres),
                why=f"`{' '.join(error.cmd)}` ended with exit code {error.returncode}",
                hint="correct what it says below, then start it again",
                details=error.stderr,
            ) from error
        self._wait("redis", self._redis_answers)

    def wait_for_prefect(self) -> None:
        """Wait until both APIs answer; raises RollwayError if they do not, or if the services have ended."""
        for number in SERVERS:
            self.wait_for_server(number)
        self._wait(SERVICES, lambda: self._process(SERVICES).is_running)

    def start_server(self, number: int) -> Process:
        """Start an API server, also again on its port; `wait_for_server` waits until it is ready."""
        place = ["--host", "127.0.0.1", "--port", str(self._server_ports[number])]
        command = [sys.executable, "-m", "prefect", "server", "start", "--no-services", *place]
        # Two servers that insert the same block types at once fail.
        registers_blocks = {"PREFECT_SERVER_REGISTER_BLOCKS_ON_START": str(number == SERVERS[0]).lower()}
        return self._start(_server_name(number), command, self._server_variables() | registers_blocks)

    def wait_for_server(self, number: int) -> None:
        """Wait until the API of a server answers."""
        self._wait(_server_name(number), lambda: answers(f"{self.api_url(number)}/health"))

    def kill_server(self, number: int) -> None:
        """Kill an API server, as a loss of its machine does; `start_server` starts it again."""
        server = self._process(_server_name(number))
        os.killpg(server.pid, signal.SIGKILL)
        server.stop()
        self.processes.remove(server)

    def add_worker(
        self, checkout: Path | None = None, *, limit: int | None = None, api_url: str | None = None
    ) -> Process:
        """Start another worker; by default the workers use the first and the second API server in turn."""
        number = SERVERS[self._workers_started % len(SERVERS)]
        self._workers_started += 1
        return super().add_worker(checkout, limit=limit, api_url=api_url or self.api_url(number))

    def _redis_answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._redis_port), 2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        return False

    def _server_variables(self) -> dict[str, str]:
        return {**os.environ, **self.prefect_variables()}


def _server_name(number: int) -> str:
    return f"prefect-server-{number}"
