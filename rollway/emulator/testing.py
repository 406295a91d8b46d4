"""pytest fixtures that run the local Azure ML in the tests of other projects.

    # conftest.py
    pytest_plugins = ["rollway.emulator.testing"]

The fixtures are `local_azure_ml`, a running emulator with the environment variables for its clients set;
`local_azure_ml_seed`, to override with a seed; and `declare_fault`. docs/test-your-pipeline.md has examples.
"""

import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

# Long, because a busy machine may stop for a minute: what works takes a few seconds.
READY_SECONDS = 120
STOP_SECONDS = 120
RESPONSE_SECONDS = 180
CLIENT_PREFIXES = ("AZURE_", "AZUREML_", "ARM_CLOUD_", "REQUESTS_CA_BUNDLE")


class EmulatorProcess:
    """A running emulator. `environment` has the variables for its Azure clients."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "rollway.emulator", "up", "--state", str(folder), *arguments]
        with (folder / "emulator.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=own_environment()
            )
        try:
            self.url = self._read_url()
            self.environment: dict[str, str] = json.loads(read_env(folder, "--format", "json").stdout)
        except BaseException:
            self.kill()
            raise
        self.tls = ssl.create_default_context(cafile=self.environment["SSL_CERT_FILE"])

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> int:
        """Stop it with SIGTERM and return the exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill it with SIGKILL. It may have ended already."""
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        """Return the emulator's log."""
        return (self.folder / "emulator.log").read_text()

    def get(self, path: str) -> Any:
        """Return the JSON response of a path below `/_emulator/`."""
        return self.http().get(f"{self.url}/_emulator/{path}").raise_for_status().json()

    def fail(self, **fault: object) -> None:
        """Declare a fault, with the keys that docs/emulator.md lists."""
        self.http().post(f"{self.url}/_emulator/faults", json=[fault]).raise_for_status()

    def delete_faults(self) -> None:
        """Delete all faults, and let stuck operations end."""
        self.http().delete(f"{self.url}/_emulator/faults").raise_for_status()

    def advance_clock(self, seconds: float) -> None:
        """Move the emulator's clock forward by `seconds`."""
        self.http().post(f"{self.url}/_emulator/clock", json={"advance_seconds": seconds}).raise_for_status()

    def reset(self) -> None:
        """Return to the seed: delete endpoints, containers, assets and faults, and reset the clock."""
        self.http().post(f"{self.url}/_emulator/reset").raise_for_status()

    def http(self) -> httpx.Client:
        """Return a new client that trusts the emulator's certificate."""
        return httpx.Client(verify=self.tls, trust_env=False, timeout=RESPONSE_SECONDS)

    def _read_url(self) -> str:
        """Return the URL that the emulator prints when it is ready. Raise RuntimeError with its log if it does not."""
        lines: queue.Queue[str] = queue.Queue()
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - it is a pipe
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            url = lines.get(timeout=READY_SECONDS).strip()
        except queue.Empty:
            url = ""
        if not url:
            raise RuntimeError(f"the emulator did not start:\n{self.log()}")
        return url


def own_environment() -> dict[str, str]:
    """Return this process's environment without the variables for clients of an emulator."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLIENT_PREFIXES)}
    if "rollway" in kept.get("SSL_CERT_FILE", "") or "bundle.pem" in kept.get("SSL_CERT_FILE", ""):
        del kept["SSL_CERT_FILE"]
    return kept


def read_env(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `emulator env` for a state directory and return the completed process."""
    command = [sys.executable, "-m", "rollway.emulator", "env", "--state", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment())


@contextmanager
def running_emulator(folder: Path, *arguments: str) -> Iterator[EmulatorProcess]:
    """Run an emulator on a state directory until the block ends."""
    emulator = EmulatorProcess(folder, *arguments)
    try:
        yield emulator
    finally:
        if emulator.is_running:
            emulator.stop()


@pytest.fixture(scope="session")
def local_azure_ml_seed() -> Mapping[str, Any]:
    """The seed, with the keys of a seed file. Override it in your conftest.py."""
    return {}


@pytest.fixture(scope="session")
def local_azure_ml(
    tmp_path_factory: pytest.TempPathFactory, local_azure_ml_seed: Mapping[str, Any]
) -> Iterator[EmulatorProcess]:
    """A local Azure ML for the whole session, with the environment variables for its clients set.

    azure-ai-ml reads the environment when it is imported. Import it inside tests and fixtures that use this fixture.
    """
    folder = tmp_path_factory.mktemp("local-azure-ml")
    seed = folder / "seed.yaml"
    seed.write_text(yaml.safe_dump(dict(local_azure_ml_seed)))
    with running_emulator(folder / "state", "--seed", str(seed)) as emulator, pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.environment.items():
            patch.setenv(name, value)
        yield emulator


@pytest.fixture
def declare_fault(local_azure_ml: EmulatorProcess) -> Iterator[Callable[..., None]]:
    """Function that declares a fault until the test ends: `declare_fault(path="...", status=429, ...)`."""
    yield local_azure_ml.fail
    local_azure_ml.delete_faults()
