"""Starts and stops an emulator in a process of its own, for tests."""

import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

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
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=own_environment(), cwd=REPOSITORY
            )
        try:
            self.url = self._read_url()
            self.environment: dict[str, str] = json.loads(read_env(folder, "--format", "json").stdout)
        except BaseException:
            self.kill()
            raise
        self.tls = ssl.create_default_context(cafile=self.environment["SSL_CERT_FILE"])

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

    def reset(self) -> None:
        self.http().post(f"{self.url}/_emulator/reset").raise_for_status()

    def http(self) -> httpx.Client:
        """A fresh client that trusts the emulator."""
        return httpx.Client(verify=self.tls, trust_env=False, timeout=30)

    def _read_url(self) -> str:
        """The line that the emulator prints when it is ready."""
        lines: queue.Queue[str] = queue.Queue()
        stdout = self._process.stdout
        assert stdout is not None
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            url = lines.get(timeout=READY_SECONDS).strip()
        except queue.Empty:
            url = ""
        if not url:
            raise RuntimeError(f"the emulator did not start:\n{self.log()}")
        return url


REPOSITORY = Path(__file__).parents[1]


def own_environment() -> dict[str, str]:
    """The test process's environment without what points at some emulator."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CLIENT_PREFIXES)}
    if "rollway" in kept.get("SSL_CERT_FILE", "") or "bundle.pem" in kept.get("SSL_CERT_FILE", ""):
        del kept["SSL_CERT_FILE"]
    return kept


def read_env(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `emulator env` answers for a state directory."""
    command = [sys.executable, "-m", "rollway.emulator", "env", "--state", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment(), cwd=REPOSITORY)


@contextmanager
def running_emulator(folder: Path, *arguments: str) -> Iterator[EmulatorProcess]:
    """An emulator on a state directory for as long as the block lasts."""
    emulator = EmulatorProcess(folder, *arguments)
    try:
        yield emulator
    finally:
        if emulator._process.poll() is None:
            emulator.stop()
