"""Unit tests are offline, and blind to the Azure that the shell may point at."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders import RolloutFolder, good_folder

# Before any test module imports the SDK, which reads these while it is imported: azure/ai/ml/_azure_environments.py.
for _name in [name for name in os.environ if name.startswith(("AZURE", "ARM_CLOUD", "ROLLWAY"))]:
    del os.environ[_name]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection but one to this machine fails the test that makes it."""
    connect = socket.socket.connect

    def only_loopback(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"), f"a connection to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_loopback)


@pytest.fixture
def folder(tmp_path: Path) -> RolloutFolder:
    """A valid rollout folder of the test's own."""
    return good_folder(tmp_path)
