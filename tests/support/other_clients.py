"""Clients whose versions clash with ours: each set in a virtual environment of its own, driven over a pipe.

`OtherClient` runs `clients/worker.py` there, which makes one management client and does what each line of JSON says.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uv

from rollway.emulator.state import environment_cache

WORKER = Path(__file__).parent / "clients" / "worker.py"


class ClientError(Exception):
    """An exception of the other client: class, HTTP status, Azure's code, and text."""

    def __init__(self, kind: str, status: int | None, code: str | None, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind, self.status, self.code = kind, status, code


class OtherClient:
    """A client in a process of its own. It may be used by one test at a time."""

    def __init__(self, requirements: tuple[str, ...], client: str, environment: Mapping[str, str]) -> None:
        """`client` is `module:class`; `environment` points it at an emulator."""
        self._process = subprocess.Popen(
            [provide_python(requirements), str(WORKER), client],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )

    def __call__(self, operation: str, *arguments: Any, **keywords: Any) -> Any:
        """The answer of e.g. `online_endpoints.get` as JSON, after its model was checked; raises ClientError."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"operation": operation, "arguments": arguments, "keywords": keywords}) + "\n")
        stdin.flush()
        line = stdout.readline()
        assert line, "the client's process has ended"
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(**answer["error"])
        return answer["result"]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=180)


def provide_python(requirements: tuple[str, ...]) -> str:
    """The interpreter of a virtual environment with `requirements`, built once and kept under their hash."""
    digest = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:20]
    home = environment_cache().parent / "clients" / digest
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            tool, python = uv.find_uv_bin(), str(home / "bin/python")
            base = os.path.realpath(sys.executable)
            environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_UV}
            for step in (
                ["venv", "--quiet", "--no-project", "--python", base, str(home)],
                ["pip", "install", "--quiet", "--compile-bytecode", "--python", python, *requirements],
            ):
                subprocess.run([tool, *step], check=True, env=environment)
            (home / "ready").touch()
    return str(home / "bin/python")


# What belongs to our own virtual environment, and the trust in an emulator that runs already.
NOT_FOR_UV = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}


def monitor_client(environment: Mapping[str, str]) -> OtherClient:
    """A client of Azure Monitor, of the last version with models of its own that are checked strictly."""
    requirements = ("azure-mgmt-monitor==6.0.2", "azure-identity>=1.25")
    return OtherClient(requirements, "azure.mgmt.monitor:MonitorManagementClient", environment)


def authorization_client(environment: Mapping[str, str]) -> OtherClient:
    """A client of Azure's role-based access control."""
    requirements = ("azure-mgmt-authorization==4.0.0", "azure-identity>=1.25")
    return OtherClient(requirements, "azure.mgmt.authorization:AuthorizationManagementClient", environment)
