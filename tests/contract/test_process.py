"""The emulator as a process: what it prints, what survives a restart, what it leaves behind."""

import fcntl
import json
import os
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from rollway.emulator.folder import LOCK
from tests.support.emulator_process import REPOSITORY, EmulatorProcess, own_environment, read_env, running_emulator
from tests.support.processes import is_running

DEADLINE_SECONDS = 180
SETUP = """
import os, sys
from azure.ai.ml import MLClient
from azure.ai.ml.entities import *
from azure.identity import DefaultAzureCredential
v, fixtures = os.environ, sys.argv[1]
client = MLClient(DefaultAzureCredential(disable_instance_discovery=True), v["AZURE_SUBSCRIPTION_ID"],
                  v["AZURE_RESOURCE_GROUP"], v["AZUREML_WORKSPACE"])
client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="kept-endpoint", auth_mode="key")).result()
client.online_deployments.begin_create_or_update(ManagedOnlineDeployment(
    name="blue", endpoint_name="kept-endpoint", model=Model(path=fixtures + "/conda.yaml"),
    environment=Environment(image="docker.io/library/python", conda_file=fixtures + "/conda.yaml"),
    code_configuration=CodeConfiguration(code=fixtures + "/good", scoring_script="score.py"),
    request_settings=OnlineRequestSettings(request_timeout_ms=180_000),
    instance_type="Standard_DS3_v2", instance_count=1)).result()
endpoint = client.online_endpoints.get("kept-endpoint")
endpoint.traffic = {"blue": 100}
client.online_endpoints.begin_create_or_update(endpoint).result()
print()  # ends the line of dots that the SDK prints
print(client.online_endpoints.get_keys("kept-endpoint").primary_key, endpoint.scoring_uri)
"""


def set_up_endpoint(emulator: EmulatorProcess) -> tuple[str, str]:
    """Deploys with the SDK in a process of its own, because a process knows one cloud only; gives key and URI."""
    command = [sys.executable, "-c", SETUP, str(REPOSITORY / "tests/fixtures")]
    variables = {**own_environment(), **emulator.environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    key, uri = done.stdout.split()[-2:]
    return key, uri


def score_until_200(emulator: EmulatorProcess, key: str, uri: str) -> httpx.Response:
    """Containers take a few seconds to serve again."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    with emulator.http() as http:
        while True:
            answer = http.post(uri, json={}, headers={"Authorization": f"Bearer {key}"})
            if answer.status_code != 424 or time.monotonic() > deadline:
                return answer
            time.sleep(0.1)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = (Path(f"/proc/{pid}/task/{pid}/children")).read_text().split()
    return [int(one) for one in found]


def test_everything_survives_a_restart_and_a_stop_leaves_no_process(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as first:
        key, uri = set_up_endpoint(first)
        containers = children(first.pid)
        assert containers
        assert first.stop() == 0
        assert not any(map(is_running, containers))

    with running_emulator(tmp_path) as second:
        answer = score_until_200(second, key, uri)

    assert second.environment == first.environment
    assert (answer.status_code, answer.json()["answer"]) == (200, 42)


def test_a_killed_emulator_leaves_no_process_and_has_lost_nothing(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as first:
        key, uri = set_up_endpoint(first)
        containers = children(first.pid)
        first.kill()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while any(map(is_running, containers)):
        assert time.monotonic() < deadline, "a container has outlived the emulator"
        time.sleep(0.05)

    with running_emulator(tmp_path) as second:
        assert score_until_200(second, key, uri).status_code == 200


def test_a_crashed_container_is_started_again(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        key, uri = set_up_endpoint(emulator)
        crashed = children(emulator.pid)

        os.kill(crashed[0], signal.SIGKILL)

        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (now := children(emulator.pid)) or now == crashed:
            assert time.monotonic() < deadline, "the container was not started again"
            time.sleep(0.05)
        assert score_until_200(emulator, key, uri).status_code == 200


def test_a_second_emulator_on_the_same_state_is_refused(tmp_path: Path) -> None:
    with running_emulator(tmp_path):
        command = [sys.executable, "-m", "rollway.emulator", "up", "--state", str(tmp_path)]
        second = subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment())

    assert second.returncode == 2
    assert f"another emulator runs on {tmp_path}" in second.stderr


def test_env_without_an_emulator_says_how_to_start_one(tmp_path: Path) -> None:
    answers = [read_env(tmp_path / "never"), read_env(tmp_path)]

    assert [answer.returncode for answer in answers] == [2, 2]
    assert all("no emulator runs on" in answer.stderr and "emulator up" in answer.stderr for answer in answers)


def test_env_never_prints_the_address_of_an_earlier_start(tmp_path: Path) -> None:
    with running_emulator(tmp_path):
        pass
    with socket.socket() as taken, (tmp_path / LOCK).open("a") as lock:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "rollway.emulator", "up", "--state", str(tmp_path), "--port", port]
        again = subprocess.run(command, capture_output=True, text=True, check=False, env=own_environment())
        fcntl.flock(lock, fcntl.LOCK_EX)  # as one that starts
        answer = read_env(tmp_path)

    assert again.returncode != 0, "its port is taken"
    assert answer.returncode == 2
    assert "is still starting" in answer.stderr


def test_env_prints_the_same_variables_for_a_shell_and_as_json(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        shell, document = read_env(tmp_path).stdout, json.loads(read_env(tmp_path, "--format", "json").stdout)

    assert shell.splitlines() == [f"export {name}={shlex.quote(value)}" for name, value in document.items()]
    assert document["ARM_CLOUD_METADATA_URL"].startswith(emulator.url)
    assert (document["AZURE_RESOURCE_GROUP"], document["AZUREML_WORKSPACE"]) == ("rollway", "local")


def test_the_bundle_keeps_the_roots_that_were_in_force(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        bundle = ssl.create_default_context(cafile=emulator.environment["SSL_CERT_FILE"])
        roots: list[Any] = bundle.get_ca_certs()
        names = {dict(part[0] for part in one["subject"]).get("organizationName") for one in roots}

    assert "Rollway local Azure ML" in names
    assert len(names) > 20


def test_a_seed_with_unknown_keys_is_refused_with_every_problem(tmp_path: Path) -> None:
    (tmp_path / "seed.yaml").write_text("workspace: []\nprincipals: [{role: king}]\n")
    command = [sys.executable, "-m", "rollway.emulator", "up", "--state", str(tmp_path / "state")]

    done = subprocess.run(
        [*command, "--seed", str(tmp_path / "seed.yaml")],
        capture_output=True,
        text=True,
        check=False,
        env=own_environment(),
    )

    assert done.returncode == 2
    assert "principals.0.role" in done.stderr
    assert "workspace: Extra inputs" in done.stderr


def test_a_reset_forgets_resources_and_keeps_identity(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        set_up_endpoint(emulator)
        containers = children(emulator.pid)

        emulator.reset()

        assert emulator.get("health")["online_deployments"] == {}
        assert emulator.get("requests") == []
        assert not any(map(is_running, containers))
        assert json.loads(read_env(tmp_path, "--format", "json").stdout) == emulator.environment


def test_faults_of_an_unknown_form_are_refused(tmp_path: Path) -> None:
    with running_emulator(tmp_path) as emulator:
        answer = emulator.http().post(f"{emulator.url}/_emulator/faults", json=[{"path": "(", "colour": "red"}])

    assert answer.status_code == 400
    assert {one["loc"][-1] for one in answer.json()["problems"]} == {"path", "colour"}
