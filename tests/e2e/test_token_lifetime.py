"""A rollout that takes longer than a token of Entra is valid."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.rest import Rest
from tests.support.world import World

TOKEN_SECONDS = 240  # azure-identity asks for a new one when less than 300 are left
PROVISIONING_SECONDS = 1200
SEEN_WITHIN_SECONDS = 300


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """An emulator whose tokens are soon expired."""
    (tmp_path / "seed.yml").write_text(f"token_seconds: {TOKEN_SECONDS}")
    with running_emulator(tmp_path / "strict", "--seed", str(tmp_path / "seed.yml")) as emulator:
        yield emulator


def test_a_rollout_that_outlives_its_tokens_succeeds(world: World, strict: EmulatorProcess) -> None:
    variables = {**world.variables, **strict.environment}
    early = Rest(variables)
    rollout = world.make_rollout()
    rollout.endpoint["auth_mode"] = "aad_token"
    strict.fail(method="PUT", path="/deployments/", operation="slow", delay_seconds=PROVISIONING_SECONDS)
    command = [sys.executable, "-m", "rollway", "deploy", rollout.write()]
    with subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True) as process:
        wait_for_request(strict, "PUT", "/deployments/")
        used = len(tokens(strict))

        strict.advance_clock(PROVISIONING_SECONDS)
        _, log = process.communicate()

    assert process.returncode == 0, log
    late = early.workspace(f"onlineEndpoints/{rollout.name}")
    assert (late.status_code, late.json()["error"]["code"]) == (401, "ExpiredAuthenticationToken")
    assert len(tokens(strict)) > used, "it got new ones"
    assert list((Rest(variables).traffic(rollout.name) or {}).values()) == [100]


def tokens(emulator: EmulatorProcess) -> list[str]:
    return [one["path"] for one in emulator.get("requests") if one["path"].endswith("/oauth2/v2.0/token")]


def wait_for_request(emulator: EmulatorProcess, method: str, path: str) -> None:
    deadline = time.monotonic() + SEEN_WITHIN_SECONDS
    while not any(
        one["method"] == method and path in one["path"] and one["status"] for one in emulator.get("requests")
    ):
        assert time.monotonic() < deadline, f"no {method} of {path}"
        time.sleep(0.05)
