"""One emulator per pytest process, and unmodified clients that reach it through environment variables alone."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import (
    CodeConfiguration,
    Environment,
    ManagedOnlineDeployment,
    ManagedOnlineEndpoint,
    Model,
    OnlineRequestSettings,
)
from azure.core.exceptions import HttpResponseError, ODataV4Format
from azure.identity import ClientSecretCredential

from rollway.azure.session import Session
from rollway.emulator.core.clock import Clock
from rollway.settings import DefaultIdentity, Workspace
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.other_clients import OtherClient, monitor_client

FIXTURES = Path(__file__).parents[1] / "fixtures"
# The longest request timeout of Azure. With its default of 5 s, a machine that stops for as long answers with a 408.
PATIENT_MS = 180_000
PATIENT = OnlineRequestSettings(request_timeout_ms=PATIENT_MS)
TAKEN_NAME = "taken-by-others"
SEED = f"""
taken_endpoint_names: [{TAKEN_NAME}]
vm_quotas: {{standardFSv2Family: 40}}
registries: [team]
limits: {{endpoints_per_region: 1000}}  # the tests delete few of theirs; tests/contract/test_limits.py has its own
principals:
  - {{client_id: contributor, client_secret: contributor-secret}}
  - {{client_id: reader, client_secret: reader-secret, role: reader}}
  - {{client_id: scientist, client_secret: scientist-secret, role: data_scientist}}
  - {{client_id: watcher, client_secret: watcher-secret, role: [data_scientist, monitoring_reader]}}
  - {{client_id: stranger, client_secret: stranger-secret, role: none}}
  - {{client_id: container-reader, is_managed_identity: true, role: reader}}
workspaces:
  - {{resource_group: rollway, name: local, kubernetes_computes: [cluster]}}
  - {{resource_group: others, name: remote}}
  - {{resource_group: rollway, name: legacy, v1_legacy_mode: true}}
  - {{resource_group: rollway, name: networked, managed_network: inactive}}
"""


@pytest.fixture(scope="session")
def monitor(emulator: EmulatorProcess) -> Iterator[OtherClient]:
    """Azure Monitor's own client."""
    client = monitor_client(emulator.environment)
    yield client
    client.close()


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """The emulator that all contract tests of this process share; Azure's variables point at it."""
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "seed.yaml").write_text(SEED)
    with (
        running_emulator(
            folder / "state", "--seed", str(folder / "seed.yaml"), "--images", str(FIXTURES / "images.yml")
        ) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture(scope="session")
def connect(emulator: EmulatorProcess) -> Callable[..., MLClient]:
    """Makes azure-ai-ml clients, as any principal for any workspace."""
    variables = emulator.environment

    def make(
        client_id: str = "contributor",
        secret: str = "",
        workspace: str = "local",
        retry_total: int | None = None,
        **where: str,
    ) -> MLClient:
        credential = ClientSecretCredential(
            where.get("tenant", variables["AZURE_TENANT_ID"]),
            client_id,
            secret or f"{client_id}-secret",
            authority=variables["AZURE_AUTHORITY_HOST"],
            disable_instance_discovery=True,
        )
        subscription = where.get("subscription", variables["AZURE_SUBSCRIPTION_ID"])
        group = where.get("group", variables["AZURE_RESOURCE_GROUP"])
        settings: dict[str, Any] = {} if retry_total is None else {"retry_total": retry_total}
        return MLClient(
            credential, subscription, group, workspace, enable_telemetry=False, polling_interval=1, **settings
        )

    return make


@pytest.fixture(scope="session")
def client(connect: Callable[..., MLClient]) -> MLClient:
    """The contributor's client."""
    return connect()


@pytest.fixture(scope="session")
def connect_as(emulator: EmulatorProcess) -> Callable[..., Session]:
    """Rollway's own sessions, as any principal for any workspace."""
    variables = emulator.environment

    def open_as(client_id: str = "contributor", workspace: str = "local") -> Session:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AZURE_CLIENT_ID", client_id)
            patch.setenv("AZURE_CLIENT_SECRET", f"{client_id}-secret")
            patch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
            subscription_id = variables["AZURE_SUBSCRIPTION_ID"]
            where = Workspace(subscription_id=subscription_id, resource_group="rollway", name=workspace)
            return Session(where, DefaultIdentity())

    return open_as


@pytest.fixture(scope="session")
def session(connect_as: Callable[..., Session]) -> Session:
    """The contributor's session."""
    return connect_as()


@contextmanager
def session_with(emulator: EmulatorProcess, client_id: str = "") -> Iterator[Session]:
    """Rollway's own session with an emulator that only one test uses, so that the test may move its clock."""
    variables = dict(emulator.environment)
    if client_id:
        variables |= {"AZURE_CLIENT_ID": client_id, "AZURE_CLIENT_SECRET": f"{client_id}-secret"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**variables, "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential"}.items():
            patch.setenv(name, value)
        subscription_id, group = variables["AZURE_SUBSCRIPTION_ID"], variables["AZURE_RESOURCE_GROUP"]
        where = Workspace(subscription_id=subscription_id, resource_group=group, name=variables["AZUREML_WORKSPACE"])
        yield Session(where, DefaultIdentity())


class StoppedClock(Clock):
    """A clock that only a test moves."""

    def __init__(self) -> None:
        super().__init__()
        self._stopped_at = super().now()

    def now(self) -> float:
        """Return the time of its creation, and what it was moved by since."""
        return self._stopped_at + self.ahead_seconds


@dataclass
class Arm:
    """Plain REST on the workspace, for what the SDK does not show."""

    http: httpx.Client
    url: str
    root: str

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A request below the workspace."""
        separator = "&" if "?" in path else "?"
        url = f"{self.url}{self.root}{path}{separator}api-version=2023-04-01-preview"
        return self.http.request(method, url, json=body, headers=headers)


@pytest.fixture(scope="session")
def token(emulator: EmulatorProcess) -> Callable[..., str]:
    """Gets bearer tokens from the token endpoint."""

    def get(scope: str = f"{emulator.url}/.default", client_id: str = "contributor") -> str:
        form = {"grant_type": "client_credentials", "client_id": client_id, "scope": scope}
        url = f"{emulator.url}/{emulator.environment['AZURE_TENANT_ID']}/oauth2/v2.0/token"
        answer = emulator.http().post(url, data={**form, "client_secret": f"{client_id}-secret"})
        return str(answer.raise_for_status().json()["access_token"])

    return get


@pytest.fixture(scope="session")
def arm(emulator: EmulatorProcess, token: Callable[..., str]) -> Arm:
    """The contributor's REST access to the workspace."""
    http = emulator.http()
    http.headers["Authorization"] = f"Bearer {token()}"
    subscription = emulator.environment["AZURE_SUBSCRIPTION_ID"]
    group = f"/subscriptions/{subscription}/resourceGroups/rollway"
    return Arm(http, emulator.url, f"{group}/providers/Microsoft.MachineLearningServices/workspaces/local")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator for the tests of one module, which may move its clock and read all that there is."""
    with running_emulator(tmp_path_factory.mktemp("own")) as emulator:
        yield emulator


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def environment(client: MLClient) -> Environment:
    """An environment with the inference server."""
    wanted = Environment(
        name="fixtures",
        version="1",
        image="mcr.microsoft.com/azureml/openmpi4.1.0-ubuntu22.04",
        conda_file=str(FIXTURES / "conda.yaml"),
    )
    made: Environment = client.environments.create_or_update(wanted)
    return made


@pytest.fixture(scope="session")
def model(client: MLClient, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A registered folder model."""
    folder = tmp_path_factory.mktemp("model") / "weights"
    folder.mkdir()
    (folder / "weights.txt").write_text("1 2 3")
    made: Model = client.models.create_or_update(Model(name="shared-model", path=str(folder)))
    return made


def create_endpoint(client: MLClient, name: str, auth_mode: str = "key") -> ManagedOnlineEndpoint:
    """A new endpoint without online deployments."""
    wanted = ManagedOnlineEndpoint(name=name, auth_mode=auth_mode)
    made: ManagedOnlineEndpoint = client.online_endpoints.begin_create_or_update(wanted).result()
    return made


def describe(
    endpoint: str,
    model: Model | str | None,
    environment: Environment | str,
    name: str = "blue",
    script: str = "good",
    **settings: Any,
) -> ManagedOnlineDeployment:
    """An online deployment of one of the scoring scripts in tests/fixtures."""
    wanted = {"instance_type": "Standard_DS3_v2", "instance_count": 1, "request_settings": PATIENT, **settings}
    return ManagedOnlineDeployment(
        name=name,
        endpoint_name=endpoint,
        model=model,
        environment=environment,
        code_configuration=CodeConfiguration(code=str(FIXTURES / script), scoring_script="score.py"),
        **wanted,
    )


def set_traffic(client: MLClient, name: str, **weights: int) -> ManagedOnlineEndpoint:
    """Give weights to online deployments."""
    endpoint = client.online_endpoints.get(name)
    endpoint.traffic = weights
    changed: ManagedOnlineEndpoint = client.online_endpoints.begin_create_or_update(endpoint).result()
    return changed


@dataclass
class Served:
    """An endpoint that serves with the online deployment `blue`."""

    name: str
    uri: str
    key: str
    emulator: EmulatorProcess

    def score(self, body: Any = None, key: str | None = None, **headers: str) -> httpx.Response:
        """One scoring request; underscores in names of headers stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        authorization = {"Authorization": f"Bearer {self.key if key is None else key}"}
        with self.emulator.http() as http:
            return http.post(self.uri, json=body, headers={**authorization, **given})


def serving(client: MLClient, emulator: EmulatorProcess, name: str) -> Served:
    """The endpoint `name` with its primary key."""
    uri, key = client.online_endpoints.get(name).scoring_uri, client.online_endpoints.get_keys(name).primary_key
    assert uri
    assert key
    return Served(name, uri, key, emulator)


@pytest.fixture(scope="session")
def served(client: MLClient, model: Model, environment: Environment, emulator: EmulatorProcess) -> Served:
    """Shared, for tests that only score it: two instances, all traffic."""
    name = f"shared-{uuid.uuid4().hex[:8]}"
    create_endpoint(client, name)
    wanted = describe(name, model, environment, instance_count=2)
    client.online_deployments.begin_create_or_update(wanted).result()
    set_traffic(client, name, blue=100)
    return serving(client, emulator, name)


@dataclass(frozen=True)
class ParsedError:
    """The error of an ARM answer, as azure-core parsed it; `details` are its inner errors."""

    code: str | None
    message: str
    details: list["ParsedError"]


def error_of(error: HttpResponseError) -> ParsedError:
    """Return the ARM error in an exception of azure-core, whose types say that it and its parts may be missing."""
    assert error.error is not None
    return _parsed(error.error)


def fields(error: HttpResponseError) -> dict[str, list[str]]:
    """Return the problems by field of a refused request."""
    assert error.status_code == 400
    found: dict[str, list[str]] = json.loads(error_of(error).details[0].message)["errors"]
    return found


def _parsed(error: ODataV4Format) -> ParsedError:
    return ParsedError(error.code, str(error.message), [_parsed(one) for one in error.details or []])
