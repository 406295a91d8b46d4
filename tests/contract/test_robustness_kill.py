"""Killed with -9 at any moment: no acknowledged write is lost, no process is left, and unfinished work goes on."""

import random
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.test_process import children
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import ENDPOINT, PlainRest, register_assets, wait_for
from tests.support.processes import is_running

ROUNDS = 3
DEADLINE_SECONDS = 180
WRITERS = 4


class Writer(threading.Thread):
    """Writes until the emulator is gone, and keeps what was acknowledged: path, and the body as it was sent."""

    def __init__(self, emulator: EmulatorProcess, name: str) -> None:
        super().__init__(daemon=True)
        self.rest, self.prefix = PlainRest(emulator), name
        self.acknowledged: dict[str, Any] = {}
        self.started = threading.Event()

    def run(self) -> None:
        number = 0
        try:
            while True:
                number += 1
                model = f"/models/{self.prefix}/versions/{number}"
                self._put(model, {"properties": {"modelUri": f"uri-{number}"}})
                endpoint = f"/onlineEndpoints/{self.prefix}-{number % 5}"
                self._put(endpoint, {**ENDPOINT, "tags": {"number": str(number)}})
                self.started.set()
        except httpx.TransportError:
            return

    def _put(self, path: str, body: Any) -> None:
        if self.rest.send("PUT", path, body).is_success:
            self.acknowledged[path] = body


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_no_acknowledged_write_is_lost_in_a_kill(tmp_path: Path, seed: int) -> None:
    with running_emulator(tmp_path) as first:
        writers = [Writer(first, f"r{seed}-w{number}") for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            assert writer.started.wait(DEADLINE_SECONDS)
        time.sleep(random.Random(seed).random())  # noqa: S311 - the moment of the kill is what varies
        first.kill()
        for writer in writers:
            writer.join(DEADLINE_SECONDS)

    lost = []
    with running_emulator(tmp_path) as second:
        rest = PlainRest(second)
        for writer in writers:
            for path, body in writer.acknowledged.items():
                found = rest.send("GET", path)
                if found.status_code != 200 or not is_within(body, found.json()):
                    lost.append((path, body, found.text))

    assert sum(len(writer.acknowledged) for writer in writers) > WRITERS
    assert lost == []


def is_within(sent: Any, found: Any) -> bool:
    """Return True if the resource has the values of this write, or of a later, unanswered one."""
    if isinstance(sent, dict):
        return all(key in found and is_within(value, found[key]) for key, value in sent.items())
    return str(sent) == str(found) or (str(sent).isdigit() and int(found) > int(sent))


@pytest.mark.parametrize("moment", ["accepted", "starting", "ending"])
def test_a_deployment_killed_at_any_moment_is_finished_by_the_next_start(tmp_path: Path, moment: str) -> None:
    path = "/onlineEndpoints/survivor/deployments/blue"
    with running_emulator(tmp_path) as first:
        rest = PlainRest(first)
        rest.send("PUT", "/onlineEndpoints/survivor", ENDPOINT).raise_for_status()
        body = register_assets(rest)
        assert rest.send("PUT", path, body).status_code == 201
        deadline = time.monotonic() + DEADLINE_SECONDS
        while moment != "accepted" and not children(first.pid):
            assert time.monotonic() < deadline
        if moment == "ending":
            wait_for(rest, path)
        containers = children(first.pid)
        first.kill()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while any(map(is_running, containers)):
        assert time.monotonic() < deadline, "a container has outlived the emulator"

    with running_emulator(tmp_path) as second:
        rest = PlainRest(second)
        assert wait_for(rest, path) == "Succeeded"
        traffic = {**ENDPOINT, "properties": {"authMode": "Key", "traffic": {"blue": 100}}}
        assert rest.send("PUT", "/onlineEndpoints/survivor", traffic).status_code == 201
        assert rest.state("/onlineEndpoints/survivor") == "Succeeded"


def test_a_delete_killed_on_its_way_is_finished_by_the_next_start(tmp_path: Path) -> None:
    with running_emulator(tmp_path, "--profile", "azure:25") as first:
        rest = PlainRest(first)
        rest.send("PUT", "/onlineEndpoints/leaving", ENDPOINT).raise_for_status()
        advance(first, 2000)
        assert rest.send("DELETE", "/onlineEndpoints/leaving").status_code == 202
        first.kill()

    with running_emulator(tmp_path, "--profile", "azure:25") as second:
        rest = PlainRest(second)
        before = rest.state("/onlineEndpoints/leaving")
        advance(second, 2000)

        assert (before, rest.send("GET", "/onlineEndpoints/leaving").status_code) == ("Deleting", 404)


def advance(emulator: EmulatorProcess, seconds: float) -> None:
    url = f"{emulator.url}/_emulator/clock"
    emulator.http().post(url, json={"advance_seconds": seconds}).raise_for_status()
