"""A real Prefect server and the local Azure ML, for the tests of a folder; rollouts run as a user runs them."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rollway.local.stack import Stack
from tests.support.forks import Forks
from tests.support.postgres import Postgres, running_postgres
from tests.support.rest import Rest
from tests.support.waiting import wait_for

T = TypeVar("T")
FIXTURES = Path(__file__).parents[1] / "fixtures"
# A machine that stands still for a while must not look like a slow model, so each has as much time as Azure allows.
PATIENT = {"request_timeout_ms": 180_000}
HELD_SECONDS = 170  # of an answer that is held back: a smoke test waits a little longer
WARM_UP_SECONDS = 120
MAX_LATENCY_SECONDS = 300
COMMAND_SECONDS = 600
SEED = {
    "principals": [
        {"client_id": "deployer", "client_secret": "deployer-secret", "role": "contributor"},
        {"client_id": "visitor", "client_secret": "visitor-secret", "role": "none"},
    ],
    "taken_endpoint_names": ["taken"],
    "limits": {"endpoints_per_region": 1000},  # the tests delete few of theirs
}
REGISTER_MODEL = """
import os
import sys
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Model
from azure.identity import DefaultAzureCredential
client = MLClient(
    DefaultAzureCredential(disable_instance_discovery=True),
    os.environ["AZURE_SUBSCRIPTION_ID"], os.environ["AZURE_RESOURCE_GROUP"], os.environ["AZUREML_WORKSPACE"],
)
print(client.models.create_or_update(Model(name=sys.argv[1], path=sys.argv[2])).version)
"""


@dataclass
class Rollout:
    """A rollout folder under construction; every change is written at once."""

    folder: Path
    endpoint: dict[str, Any]
    online_deployment: dict[str, Any]
    request: Any = field(default_factory=lambda: {"data": [[1.0]]})
    rollout: dict[str, Any] = field(
        default_factory=lambda: {
            "smoke_test": {
                "request_file": "request.json",
                "expect": {"max_latency_seconds": MAX_LATENCY_SECONDS},
                "warm_up_seconds": WARM_UP_SECONDS,
            }
        }
    )

    @property
    def name(self) -> str:
        """The endpoint's name."""
        return str(self.endpoint["name"])

    def write(self) -> str:
        """Writes the three files (JSON is YAML) and gives the folder's path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "request.json").write_text(json.dumps(self.request))
        for name, content in (
            ("endpoint.yml", self.endpoint),
            ("deployment.yml", self.online_deployment),
            ("rollout.yml", self.rollout),
        ):
            (self.folder / name).write_text(json.dumps(content))
        return str(self.folder)


@dataclass
class World:
    """The stack's variables, a plain REST client, and a way to run commands.

    Args:
        python: Interpreter of the commands; default: that of the stack, a fork of a warm process.
    """

    stack: Stack
    variables: dict[str, str]
    rest: Rest
    tmp_path: Path
    python: str = ""

    def __post_init__(self) -> None:
        self.python = self.python or self.stack.python

    def rollway(
        self, *arguments: str, variables: Mapping[str, str | None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `rollway …` in a process of its own, as a user does. A variable that is None is removed."""
        return subprocess.run(
            [self.python, "-m", "rollway", *arguments],
            env={name: value for name, value in {**self.variables, **(variables or {})}.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    def deploy(self, rollout: Rollout, *arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        """`rollway deploy` for a folder."""
        return self.rollway("deploy", rollout.write(), *arguments, variables=variables)

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """Starts `rollway …` and does not wait for it."""
        command = [self.python, "-m", "rollway", *arguments]
        return subprocess.Popen(
            command, env={**self.variables, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def wait_for(self, read: Callable[[], T | None], what: str) -> T:
        """Wait until `read` returns a true value; return it."""
        return wait_for(read, what)

    def register_model(self, name: str, path: Path) -> str:
        """Registers a file or folder with the unmodified SDK, and gives the version."""
        done = subprocess.run(
            [self.python, "-c", REGISTER_MODEL, name, str(path)],
            env=self.variables,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()[-1]

    def make_rollout(self, fixture: str = "good", **online_deployment: Any) -> Rollout:
        """A folder for an endpoint of a new name, with a scoring script of tests/fixtures; nothing is deployed."""
        name = f"e2e-{uuid.uuid4().hex[:12]}"
        request_settings = {**PATIENT, **online_deployment.pop("request_settings", {})}
        model = self.tmp_path / name / "model.txt"
        model.parent.mkdir(parents=True)
        model.write_text(f"a model for {name}")
        return Rollout(
            folder=self.tmp_path / name / "rollout",
            endpoint={"name": name, "auth_mode": "key"},
            online_deployment={
                "name": "main",
                "endpoint_name": name,
                "model": {"name": name, "path": str(model)},
                "code_configuration": {"code": str(FIXTURES / fixture), "scoring_script": "score.py"},
                "environment": {
                    "name": "fixtures",
                    "image": "mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
                    "conda_file": str(FIXTURES / "conda.yaml"),
                },
                "instance_type": "Standard_DS3_v2",
                "instance_count": 1,
                "request_settings": request_settings,
                **online_deployment,
            },
        )


@pytest.fixture(scope="package")
def forks() -> Iterator[Forks]:
    """The warm processes of this test process."""
    warm = Forks()
    yield warm
    warm.close()


@pytest.fixture(scope="package")
def postgres() -> Iterator[Postgres | None]:
    """The PostgreSQL server of this test process, if it is installed."""
    with running_postgres() as server:
        yield server


class PatientStack(Stack):
    """A stack for tests: its runs lose nothing while a Prefect server stands still for a while."""

    def prefect_variables(self) -> dict[str, str]:
        """Return the environment variables of a process that only needs Prefect."""
        patience = {"ROLLWAY_PREFECT_SECONDS": "240", "PREFECT_API_REQUEST_TIMEOUT": "180"}
        return {**super().prefect_variables(), **patience}


def start_prefect(stack: Stack, postgres: Postgres | None) -> None:
    """Start the Prefect server of a stack, on PostgreSQL if there is one; wait until it and the emulator are ready."""
    stack.database_url = postgres.new_database() if postgres else None
    stack.start_prefect()
    stack.wait_for_emulator()
    stack.wait_for_prefect()


@pytest.fixture(scope="package")
def stack(forks: Forks, postgres: Postgres | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The local Azure ML and a Prefect server."""
    folder = tmp_path_factory.mktemp("stack")
    (folder / "seed.yml").write_text(json.dumps(SEED))
    (folder / "no-authority.pem").touch()
    with PatientStack(folder / "state", lambda _: None, forks.python) as running:
        with pytest.MonkeyPatch.context() as patch:
            # Its clients trust no other authority: reading the usual hundred and fifty takes a second per rollout.
            patch.setenv("SSL_CERT_FILE", str(folder / "no-authority.pem"))
            running.start_emulator("--seed", str(folder / "seed.yml"))
        start_prefect(running, postgres)
        yield running


@pytest.fixture(scope="package")
def variables(stack: Stack) -> dict[str, str]:
    """The variables that point a process at the stack, without anything the test runner's own shell may hold."""
    return {
        **stack.environment(),
        "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }


@pytest.fixture
def world(request: pytest.FixtureRequest, stack: Stack, variables: dict[str, str], tmp_path: Path) -> World:
    """Everything together, with a folder of the test's own."""
    python = sys.executable if request.node.get_closest_marker("starts_python") else ""
    return World(stack, dict(variables), Rest(variables), tmp_path, python)


@pytest.fixture(scope="package")
def live(stack: Stack, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Rollout]:
    """An endpoint that serves, for the tests that must leave it alone: its name and its folder."""
    world = World(stack, variables, Rest(variables), tmp_path_factory.mktemp("live"))
    rollout = world.make_rollout()
    done = world.deploy(rollout)
    assert done.returncode == 0, done.stderr
    return rollout.name, rollout
