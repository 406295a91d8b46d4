"""The requests that azure-ai-ml really sends for Rollway's session, counted below its HTTP client."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint
from azure.core.credentials import AccessToken
from azure.core.exceptions import ResourceNotFoundError
from azure.core.polling import LROPoller, PollingMethod
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

from rollway.azure import session as session_module
from rollway.azure.endpoints import write_endpoint
from rollway.azure.session import Session, connect
from rollway.azure.state import list_endpoints, read_bare_endpoint, read_endpoint
from rollway.azure.unpolled import Accepted, Unpolled
from rollway.rollout.moves import Kind, Move
from rollway.settings import Workspace
from tests.support.builders import Clock
from tests.support.fake_azure import not_found_once, run

WORKSPACE = Workspace(subscription_id="sub", resource_group="rg", name="ws")
ROOT = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/ws"
ENDPOINT = f"{ROOT}/onlineEndpoints/diabetes"
OPERATION = "https://management.azure.com/subscriptions/sub/providers/x/locations/westeurope/mfeOperationsStatus/one"


class Credential:
    """A credential whose token is always valid."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        """Return a token."""
        return AccessToken("token", int(time.time()) + 3600)


class Arm:
    """Resource Manager below azure-core: notes each request, and says that every operation is running.

    It keeps the traffic and the tags of the endpoint that are written.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.tags: dict[str, str] = {}
        self.traffic = {"blue": 100}
        self.states = ["Succeeded"]  # of the endpoint, by read; the last one stays
        self.has_endpoint = True
        self.queries: list[str] = []
        self.has_large_pages = True

    def send(self, request: PreparedRequest, **_: Any) -> Response:
        """Answer one request of `requests`."""
        path = str(request.path_url).partition("?")[0]
        self.queries.append(str(request.path_url).partition("?")[2])
        self.requests.append(f"{request.method} {path.removeprefix(ROOT) or 'workspace'}")
        if request.method in ("PUT", "PATCH") and path == ENDPOINT:
            body = json.loads(str(request.body, "utf-8") if isinstance(request.body, bytes) else str(request.body))
            self.tags = body.get("tags") or {}
            self.traffic = body.get("properties", {}).get("traffic", self.traffic)
        status, document = self._answer(str(request.method), path)
        headers = {"content-type": "application/json"} | ({"azure-asyncoperation": OPERATION} if status > 200 else {})
        response = Response()
        response.status_code, response.url, response.request = status, str(request.url), request
        response.headers.update(headers)
        answer = io.BytesIO(json.dumps(document).encode())
        response.raw = HTTPResponse(answer, headers, status, preload_content=False)
        return response

    def _answer(self, method: str, path: str) -> tuple[int, dict[str, Any]]:
        endpoint = {
            "id": ENDPOINT,
            "name": "diabetes",
            "location": "westeurope",
            "tags": self.tags,
            "properties": {"authMode": "Key", "provisioningState": self.states[0], "traffic": self.traffic},
        }
        blue = {
            "id": f"{ENDPOINT}/deployments/blue",
            "name": "blue",
            "sku": {"name": "Default", "capacity": 1},
            "location": "westeurope",
            "properties": {
                "endpointComputeType": "Managed",
                "provisioningState": "Succeeded",
                "scaleSettings": {"scaleType": "Default"},
            },
        }
        if method == "DELETE":
            return 202, {}
        if "count=" in self.queries[-1] and not self.has_large_pages:
            return 400, {"error": {"code": "BadRequest", "message": "count is out of range"}}
        if method == "GET" and not self.has_endpoint and path.startswith(ENDPOINT):
            return 404, {"error": {"code": "ResourceNotFound", "message": "no such endpoint"}}
        if method == "GET" and path == ENDPOINT and len(self.states) > 1:
            self.states.pop(0)
        documents: dict[str, dict[str, Any]] = {
            ROOT: {"id": ROOT, "name": "ws", "location": "westeurope", "properties": {"v1LegacyMode": True}},
            f"{ROOT}/onlineEndpoints": {"value": [endpoint]},
            ENDPOINT: endpoint,
            f"{ENDPOINT}/deployments": {"value": [blue]},
            f"{ENDPOINT}/deployments/blue": blue,
        }
        return 201 if method == "PUT" else 200, documents[path]


@pytest.fixture
def arm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Arm]:
    """Resource Manager, for everything that `requests` sends."""
    arm = Arm()
    monkeypatch.setattr(HTTPAdapter, "send", arm.send)
    monkeypatch.setattr(session_module, "_credential", lambda _: Credential())
    session_module._cached.cache_clear()
    yield arm
    session_module._cached.cache_clear()


@pytest.fixture
def session(arm: Arm) -> Session:
    """A session that talks to `arm`."""
    return Session(WORKSPACE, session_module.DEFAULT_IDENTITY)


def an_online_deployment() -> ManagedOnlineDeployment:
    model, environment = f"{ROOT}/models/m/versions/1", f"{ROOT}/environments/e/versions/1"
    return ManagedOnlineDeployment(
        name="blue", endpoint_name="diabetes", model=model, environment=environment, instance_type="Standard_DS3_v2"
    )


def put_endpoint(session: Session) -> None:
    session.ml.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="diabetes"))


def put_online_deployment(session: Session) -> None:
    session.ml.online_deployments.begin_create_or_update(an_online_deployment())


def delete_endpoint(session: Session) -> None:
    session.ml.online_endpoints.begin_delete("diabetes")


def delete_online_deployment(session: Session) -> None:
    session.ml.online_deployments.begin_delete("blue", "diabetes")


@pytest.mark.parametrize(
    ("write", "request_sent"),
    [
        (put_endpoint, "PUT /onlineEndpoints/diabetes"),
        (put_online_deployment, "PUT /onlineEndpoints/diabetes/deployments/blue"),
        (delete_endpoint, "DELETE /onlineEndpoints/diabetes"),
        (delete_online_deployment, "DELETE /onlineEndpoints/diabetes/deployments/blue"),
    ],
)
def test_a_write_is_one_request_and_starts_no_thread(
    session: Session, arm: Arm, write: Callable[[Session], None], request_sent: str
) -> None:
    session.read_workspace()
    arm.requests.clear()
    threads = threading.active_count()

    write(session)

    assert (arm.requests, threading.active_count()) == ([request_sent], threads)


def test_the_first_write_reads_the_workspace_once_if_nobody_has(session: Session, arm: Arm) -> None:
    put_endpoint(session)
    put_endpoint(session)
    put_online_deployment(session)

    assert arm.requests == [
        "GET workspace",
        "PUT /onlineEndpoints/diabetes",
        "PUT /onlineEndpoints/diabetes",
        "PUT /onlineEndpoints/diabetes/deployments/blue",
    ]


def test_signing_in_is_one_request_and_tells_the_facts(arm: Arm) -> None:
    facts = run(connect(WORKSPACE))

    assert arm.requests == ["GET workspace"]
    assert (facts.region, facts.is_v1_legacy, facts.public_network_access) == ("westeurope", True, "Enabled")


def test_a_single_404_does_not_mean_that_there_is_no_workspace(arm: Arm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "read_workspace", not_found_once(Session.read_workspace))

    assert run(connect(WORKSPACE)).region == "westeurope"


def test_an_endpoint_with_its_online_deployments_is_two_requests(session: Session, arm: Arm) -> None:
    state = run(read_endpoint(session, "diabetes"))

    assert arm.requests == ["GET /onlineEndpoints/diabetes", "GET /onlineEndpoints/diabetes/deployments"]
    assert (state.traffic, [one.name for one in state.online_deployments]) == ({"blue": 100}, ["blue"])


@pytest.mark.parametrize("has_large_pages", [True, False])
def test_endpoints_are_listed_in_large_pages_unless_azure_refuses_them(
    session: Session, arm: Arm, has_large_pages: bool
) -> None:
    arm.has_large_pages = has_large_pages

    found = asyncio.run(list_endpoints(session))

    assert list(found) == ["diabetes"]
    assert ["count=200" in query for query in arm.queries] == ([True] if has_large_pages else [True, False])


def test_the_endpoint_alone_is_one_request(session: Session, arm: Arm) -> None:
    assert run(read_bare_endpoint(session, "diabetes")).provisioning_state == "Succeeded"
    assert arm.requests == ["GET /onlineEndpoints/diabetes"]


def test_an_endpoint_that_does_not_exist_is_absent_if_a_second_request_confirms_it(session: Session, arm: Arm) -> None:
    arm.has_endpoint = False

    state = run(read_endpoint(session, "diabetes"))

    assert (state.exists, state.provisioning_state) == (False, "Absent")
    assert arm.requests == ["GET /onlineEndpoints/diabetes"] * 2


@pytest.mark.parametrize(("traffic", "method"), [({"green": 100}, "PUT"), (None, "PATCH")])
def test_a_write_of_traffic_or_the_record_is_a_read_a_write_and_a_read_per_look(
    session: Session, arm: Arm, traffic: dict[str, int] | None, method: str
) -> None:
    before = run(read_endpoint(session, "diabetes"))
    record = before.record.moved("run/1", traffic or before.traffic, before.traffic)
    session.read_workspace()
    arm.requests.clear()
    arm.states = ["Succeeded", "Updating", "Updating", "Succeeded"]

    move = Move(kind=Kind.MOVE_TRAFFIC, target="green", why="it answers", traffic=traffic, record=record)
    assert run(write_endpoint(session, before, move, Clock()))

    look = "GET /onlineEndpoints/diabetes"
    assert arm.requests == [look, f"{method} /onlineEndpoints/diabetes", look, look, look]
    assert arm.traffic == (traffic or {"blue": 100})


def test_a_missing_document_of_resource_manager_is_not_found(session: Session, arm: Arm) -> None:
    arm.has_endpoint = False

    with pytest.raises(ResourceNotFoundError) as caught:
        session.read_arm(f"https://management.azure.com{ENDPOINT}")

    assert caught.value.status_code == 404
    assert "no such endpoint" in str(caught.value)


class Generated:
    """A generated client, as far as `Unpolled` knows it."""

    def begin_one(self, *args: str, polling: PollingMethod[Any], **kwargs: object) -> LROPoller[Any]:
        """Start an operation."""
        headers = {} if args == ("nothing",) else {"Azure-AsyncOperation": f"{OPERATION}?t=1&s=signed"}
        initial = SimpleNamespace(http_response=SimpleNamespace(headers=headers), arguments=(args, kwargs))
        return LROPoller(None, initial, lambda response: response, polling)

    def get(self, *args: str, **kwargs: object) -> object:
        """Read something."""
        return args, kwargs


def test_a_call_that_begins_an_operation_ends_with_the_operations_address_and_starts_no_thread() -> None:
    client, threads = Unpolled(Generated()), threading.active_count()

    accepted = client.begin_one("a", polling="theirs", b=1)

    assert accepted == Accepted(f"{OPERATION}?t=1&s=signed")
    assert threading.active_count() == threads
    assert client.begin_one("nothing") == Accepted(None)


def test_other_calls_are_not_changed() -> None:
    assert Unpolled(Generated()).get("a", b=1) == (("a",), {"b": 1})
