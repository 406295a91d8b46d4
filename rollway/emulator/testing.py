"""The local Azure ML in the tests of a pipeline: pytest fixtures, and the process behind them.

    # conftest.py
    pytest_plugins = ["rollway.emulator.testing"]

gives `local_azure_ml` (a running emulator; the environment points Azure's clients at it), `local_azure_ml_seed` to
override with what it starts with, and `declare_fault`. docs/test-your-pipeline.md shows them at work.
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

READY_SECONDS = 30
STOP_SECONDS = 30
CLIENT_PREFIXES = ("AZURE_", "AZUREML_", "ARM_CLOUD_", "REQUESTS_CA_BUNDLE")


class EmulatorProcess:
    """A running emulator. `environment` has the variables that point Azure's clients at it."""

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
        """SIGTERM; gives the exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL, also when it has ended already."""
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        return (self.folder / "emulator.log").read_text()

    def get(self, path: str) -> Any:
        """The JSON answer at a path of `/_emulator/`."""
        return self.http().get(f"{self.url}/_emulator/{path}").raise_for_status().json()

    def fail(self, **fault: object) -> None:
        """Declare a fault."""
        self.http().post(f"{self.url}/_emulator/faults", json=[fault]).raise_for_status()

    def delete_faults(self) -> None:
        """Nothing goes wrong on purpose any more; operations that were stuck end."""
        self.http().delete(f"{self.url}/_emulator/faults").raise_for_status()

    def advance_clock(self, seconds: float) -> None:
        """Let time pass at once."""
        self.http().post(f"{self.url}/_emulator/clock", json={"advance_seconds": seconds}).raise_for_status()

    def reset(self) -> None:
        """Back to the seed: no endpoints, containers, uploaded assets, faults; the clock shows the machine's time."""
        self.http().post(f"{self.url}/_emulator/reset").raise_for_status()

    def http(self) -> httpx.Client:
        """A fresh client that trusts the emulator."""
        return httpx.Client(verify=self.tls, trust_env=False, timeout=30)

    def _read_url(self) -> str:
        """The line that the emulator prints when it is ready."""
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
    """The test process's environment without what points at some emulator."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLIENT_PREFIXES)}
    if "rollway" in kept.get("SSL_CERT_FILE", "") or "bundle.pem" in kept.get("SSL_CERT_FILE", ""):
        del kept["SSL_CERT_FILE"]
    return kept


def read_env(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `emulator env` answers for a state directory."""
    command = [sys.executable, "-m", "rollway.emulator", "env", "--state", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment())


@contextmanager
def running_emulator(folder: Path, *arguments: str) -> Iterator[EmulatorProcess]:
    """An emulator on a state directory for as long as the block lasts."""
    emulator = EmulatorProcess(folder, *arguments)
    try:
        yield emulator
    finally:
        if emulator.is_running:
            emulator.stop()


@pytest.fixture(scope="session")
def local_azure_ml_seed() -> Mapping[str, Any]:
    """What the emulator starts with, as in a seed file; override it in your conftest.py."""
    return {}


@pytest.fixture(scope="session")
def local_azure_ml(
    tmp_path_factory: pytest.TempPathFactory, local_azure_ml_seed: Mapping[str, Any]
) -> Iterator[EmulatorProcess]:
    """A local Azure ML for the whole session; the environment points Azure's clients at it.

    azure-ai-ml reads the environment when it is imported: import it in tests and fixtures that use this one, or later.
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
    """Makes something go wrong for as long as the test lasts: `declare_fault(path="...", status=429, ...)`."""
    yield local_azure_ml.fail
    local_azure_ml.delete_faults()
