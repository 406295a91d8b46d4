"""Random legal and illegal calls: never a 500, never a state that breaks the invariants.

`ROLLWAY_FUZZ_REQUESTS` is how many are sent at least, those that check the invariants not counted. Nothing is shrunk:
the emulator lives on from one example to the next, so a failure shows the requests that led to it.
"""

import json
import os
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.support.builders import autoscale_rule
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import ENDPOINT, NO_LAGS, PlainRest, get_token, register_assets, wait_for

REQUESTS = int(os.environ.get("ROLLWAY_FUZZ_REQUESTS", "200"))
STEPS = 40
REQUESTS_PER_CONTAINER = 300  # starting one takes seconds
SERVING = "serving-endpoint"
ENDPOINTS = (SERVING, "other-endpoint", "third-endpoint")
DEPLOYMENTS = ("blue", "green", "red")
SHOWN = 25


class World:
    """One emulator for all examples, and what a client knows of it."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self.emulator = emulator
        self.rest = PlainRest(emulator)
        self.runnable = register_assets(self.rest)
        unknown = {"properties": {"image": "docker.io/nobody/has-this"}}
        self.rest.send("PUT", "/environments/unknown/versions/1", unknown).raise_for_status()
        properties = {
            **self.runnable["properties"],
            "environmentId": f"{self.rest.root}/environments/unknown/versions/1",
        }
        self.failing = {**self.runnable, "properties": properties}
        self.requests, self.checks, self.containers = 0, 0, 0
        self.is_checking = False
        self.statuses: Counter[int] = Counter()
        self.history: deque[str] = deque(maxlen=SHOWN)
        self.operations: dict[str, set[str]] = {}

    def request(self, method: str, url: str, **content: Any) -> httpx.Response:
        """One request; fails the test when its answer is a 500 or not of Azure's shape."""
        answer = self.rest.http.request(method, url, **content)
        self.checks += self.is_checking
        self.requests += not self.is_checking
        self.statuses[answer.status_code] += 1
        self.history.append(f"{method} {urlsplit(url).path[-60:]} {str(content)[:300]} -> {answer.status_code}")
        assert answer.status_code < 500 or answer.status_code == 501, self.tell(answer.text)
        return answer

    def arm(self, method: str, path: str, body: Any = None, query: str = "") -> httpx.Response:
        """A request below the workspace, with JSON or with bytes."""
        url = f"{self.emulator.url}{self.rest.root}{path}?api-version=2023-04-01{query}"
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        answer = self.request(method, url, **({} if body is None else content))
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert all((error["code"], error["message"])), self.tell(answer.text)
        elif url := answer.headers.get("Azure-AsyncOperation"):
            self.operations.setdefault(path.split("/")[2].lower(), set()).add(url)
        return answer

    def advance(self, seconds: float) -> None:
        clock_url = f"{self.emulator.url}/_emulator/clock"
        self.request("POST", clock_url, json={"advance_seconds": seconds})
        self.rest.http.headers["Authorization"] = f"Bearer {get_token(self.emulator)}"

    @contextmanager
    def checking(self) -> Iterator["World"]:
        """Requests inside only look."""
        self.is_checking = True
        yield self
        self.is_checking = False

    def tell(self, problem: str) -> str:
        return "\n".join((problem, "The last requests were:", *self.history))


extreme = st.sampled_from(["nan", "inf", "-1", "0", "9" * 5000, "9" * 400, "\N{SUPERSCRIPT TWO}", -2e9, 1e300, 10**400])
any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | extreme,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
raw_json = any_json.map(lambda value: json.dumps(value).encode()) | st.sampled_from(
    [
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"tags": {"a": "\\ud800"}}',
        b'{"a":' * 9000,
        b"\xff",
        b"null",
        b'{"a":1}' + b"x",
    ]
)
names = st.sampled_from((*ENDPOINTS, *DEPLOYMENTS)) | st.text(max_size=40)
weights = st.one_of(
    st.sampled_from([{}, {"blue": 100}, {"green": 100}, {"blue": 90, "green": 10}, {"blue": 0, "green": 100}]),
    st.dictionaries(st.sampled_from(DEPLOYMENTS), st.integers(-10, 110), max_size=3),
    st.dictionaries(st.text(max_size=10), any_json, max_size=2),
)
FIELDS = """
    location tags identity sku kind properties properties.authMode properties.traffic properties.mirrorTraffic
    properties.properties properties.keys properties.compute properties.publicNetworkAccess
    properties.description properties.model properties.environmentId properties.codeConfiguration
    properties.codeConfiguration.codeId properties.codeConfiguration.scoringScript properties.instanceType
    properties.environmentVariables sku.capacity properties.requestSettings
    properties.requestSettings.requestTimeout properties.readinessProbe
    properties.requestSettings.maxConcurrentRequestsPerInstance properties.readinessProbe.failureThreshold
    properties.livenessProbe.period properties.scaleSettings properties.egressPublicNetworkAccess
    properties.modelUri properties.image properties.condaFile properties.build properties.build.contextUri
    properties.codeUri properties.tags properties.isArchived keyType keyValue containerType tail
    expireAfterHours properties.flavors properties.modelType properties.stage properties.endpointComputeType
    sku.name
""".split()  # noqa: SIM905 - readable
broken = st.lists(st.tuples(st.sampled_from(FIELDS), any_json), min_size=1, max_size=2)
PATHS = """
    /onlineEndpoints/{} /onlineEndpoints/{}/deployments /onlineEndpoints/serving-endpoint/deployments/{}
    /onlineEndpoints/serving-endpoint/{} /onlineEndpoints/{}/listKeys /onlineEndpoints/{}/regenerateKeys
    /onlineEndpoints/{}/token /onlineEndpoints/serving-endpoint/deployments/{}/getLogs /models/{}
    /models/{}/versions /models/{}/versions/1 /environments/fixtures/versions/{} /environments/{}/versions
    /codes/{}/versions/1 /codes/{}/versions/1/startPendingUpload /datastores/{} /datastores/{}/listSecrets /{}
""".split()  # noqa: SIM905 - readable

QUERIES = (
    "",
    *("&$top=1", "&$top=-1", "&$top=x", "&$skipToken=-9", "&$orderBy=x", "&hash=", "&$skip=-1", "&description=x"),
    "&stage=a&tags=b=c&properties=d",
    f"&$top={'9' * 5000}",
    f"&offset={'9' * 5000}",
)
METRIC_QUERIES = (
    "RequestsPerMinute",
    "RequestLatency,RequestLatency_P99",
    "average,maximum,count",
    "PT1M",
    "PT0S",
    "P9999Y",
    "2026-01-01T00:00:00Z/2026-01-01T01:00:00Z",
    "0001-01-01T00:00:00Z/9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00/0001-01-01T01:00:00+14:00",
    "9999-12-31T23:00:00Z/9999-12-31T23:59:59.999999Z",
    "9" * 5000,
    "deployment eq 'blue' and statusCodeClass ne '2xx'",
    "deployment eq",
)
AUTOSCALE: dict[str, Any] = {
    "location": "westeurope",
    "properties": {
        "enabled": True,
        "profiles": [
            {
                "name": "default",
                "capacity": {"minimum": "1", "maximum": "2", "default": "1"},
                "rules": [autoscale_rule("x")],
            }
        ],
    },
}
AUTOSCALE_FIELDS = """
    location tags properties properties.enabled properties.targetResourceUri properties.profiles
    properties.profiles.name properties.profiles.capacity properties.profiles.capacity.minimum
    properties.profiles.capacity.default properties.profiles.capacity.maximum
    properties.profiles.rules properties.profiles.rules.metricTrigger properties.profiles.rules.scaleAction
    properties.profiles.rules.metricTrigger.timeGrain properties.profiles.rules.metricTrigger.threshold
    properties.profiles.rules.metricTrigger.dimensions properties.profiles.rules.scaleAction.value
    properties.profiles.rules.scaleAction.cooldown properties.profiles.recurrence properties.profiles.fixedDate
    properties.notifications
""".split()  # noqa: SIM905 - readable


def with_values(body: Any, changes: list[tuple[str, Any]]) -> Any:
    """A copy of a body with other values in some of its dotted fields."""
    copy = json.loads(json.dumps(body))
    for path, value in changes:
        place, *parts = copy, *path.split(".")
        for part in parts[:-1]:
            if isinstance(place, list) and place:
                place = place[0]
            place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place[parts[-1]] = value
        elif isinstance(place, list):
            place[0] = value
    return copy


class Calls(RuleBasedStateMachine):
    """Actions of clients, in any order."""

    world: ClassVar[World]

    @rule(endpoint=st.sampled_from(ENDPOINTS))
    def create_endpoint(self, endpoint: str) -> None:
        self.world.arm("PUT", f"/onlineEndpoints/{endpoint}", ENDPOINT)

    @rule(endpoint=st.sampled_from((SERVING, *ENDPOINTS)), traffic=weights, mirror=st.just({}) | weights)
    def set_traffic(self, endpoint: str, traffic: Any, mirror: Any) -> None:
        body = {**ENDPOINT, "properties": {"authMode": "Key", "traffic": traffic, "mirrorTraffic": mirror}}
        self.world.arm("PUT", f"/onlineEndpoints/{endpoint}", body)

    @rule(endpoint=st.sampled_from(ENDPOINTS), deployment=st.sampled_from(DEPLOYMENTS), capacity=st.integers(-1, 2))
    def put_deployment(self, endpoint: str, deployment: str, capacity: int) -> None:
        world = self.world
        is_runnable = endpoint == SERVING and world.containers <= world.requests / REQUESTS_PER_CONTAINER
        body = with_values(world.runnable if is_runnable else world.failing, [("sku.capacity", capacity)])
        answer = world.arm("PUT", f"/onlineEndpoints/{endpoint}/deployments/{deployment}", body)
        world.containers += capacity if is_runnable and answer.is_success else 0

    @rule(endpoint=st.sampled_from(ENDPOINTS), deployment=st.sampled_from(DEPLOYMENTS))
    def delete_deployment(self, endpoint: str, deployment: str) -> None:
        self.world.arm("DELETE", f"/onlineEndpoints/{endpoint}/deployments/{deployment}")

    @rule(endpoint=st.sampled_from(ENDPOINTS[1:]))
    def delete_endpoint(self, endpoint: str) -> None:
        self.world.arm("DELETE", f"/onlineEndpoints/{endpoint}")

    @rule(endpoint=st.sampled_from(ENDPOINTS), key=st.sampled_from(["Primary", "Secondary", "Third", 7]))
    def regenerate_keys(self, endpoint: str, key: Any) -> None:
        self.world.arm("POST", f"/onlineEndpoints/{endpoint}/regenerateKeys", {"keyType": key, "keyValue": "x"})

    @rule(
        operation=st.sampled_from(["failed", "failed_body", "stuck", "slow"]),
        method=st.sampled_from(["PUT", "DELETE", "POST"]),
    )
    def declare_fault(self, operation: str, method: str) -> None:
        fault = {"method": method, "path": ".", "operation": operation, "delay_seconds": 60}
        self.world.request("POST", f"{self.world.emulator.url}/_emulator/faults", json=[fault])

    @rule()
    def delete_faults(self) -> None:
        self.world.request("DELETE", f"{self.world.emulator.url}/_emulator/faults")

    @rule(seconds=st.sampled_from([1, 30, 600, 600]))
    def let_time_pass(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(
        what=st.sampled_from(["onlineEndpoints/third-endpoint", f"onlineEndpoints/{SERVING}/deployments/red"]),
        method=st.sampled_from(["PUT", "PATCH"]),
        changes=broken,
    )
    def send_a_broken_resource(self, what: str, method: str, changes: list[tuple[str, Any]]) -> None:
        body = ENDPOINT if what.endswith("endpoint") else self.world.failing
        self.world.arm(method, f"/{what}", with_values(body, changes))

    @rule(
        kind=st.sampled_from(["models/m/versions/1", "environments/e/versions/1", "codes/c/versions/1"]), changes=broken
    )
    def send_a_broken_asset(self, kind: str, changes: list[tuple[str, Any]]) -> None:
        body = {"properties": {"modelUri": "x", "image": "y", "codeUri": "z"}}
        self.world.arm("PUT", f"/{kind}", with_values(body, changes))

    @rule(
        where=st.sampled_from(["", "/deployments/blue"]),
        query=st.dictionaries(
            st.sampled_from(["metricnames", "timespan", "interval", "aggregation", "$filter", "top"]),
            st.sampled_from(METRIC_QUERIES) | st.text(max_size=20),
            max_size=4,
        ),
    )
    def read_metrics(self, where: str, query: dict[str, str]) -> None:
        path = f"/onlineEndpoints/{SERVING}{where}/providers/Microsoft.Insights/metrics"
        self.world.arm("GET", path, query="".join(f"&{key}={quote(value)}" for key, value in query.items()))

    @rule(changes=st.lists(st.tuples(st.sampled_from(AUTOSCALE_FIELDS), any_json), max_size=2))
    def put_an_autoscale_setting(self, changes: list[tuple[str, Any]]) -> None:
        world = self.world
        group = world.rest.root.partition("/providers/")[0]
        target = f"{world.rest.root}/onlineEndpoints/{SERVING}/deployments/red"
        body = with_values(
            {**AUTOSCALE, "properties": {**AUTOSCALE["properties"], "targetResourceUri": target}}, changes
        )
        url = f"{world.emulator.url}{group}/providers/Microsoft.Insights/autoscalesettings/some?api-version=2022-10-01"
        world.request("PUT", url, json=body)
        world.request("GET", url)

    @rule(
        method=st.sampled_from(["GET", "PUT", "PATCH", "POST", "DELETE"]),
        path=st.sampled_from(PATHS),
        name=names,
        body=st.none() | raw_json | st.binary(max_size=30),
        query=st.sampled_from(QUERIES),
    )
    def send_anything(self, method: str, path: str, name: str, body: bytes | None, query: str) -> None:
        target = path.format(quote(name, safe="") or "x")
        if method == "DELETE" and SERVING in target.lower() and "/deployments/" not in target:
            return
        self.world.arm(method, target, body, query)

    @rule(
        route=st.sampled_from(["score", "swagger.json", "", "%2e%2e/x"]) | st.text(max_size=9).map(quote),
        headers=st.dictionaries(
            st.sampled_from(["azureml-model-deployment", "authorization", "x-ms-client-request-id"]),
            st.sampled_from(["blue", "red", "Bearer", "Bearer x", "", "\x7f", "é".encode().decode("latin-1")]),
        ),
        method=st.sampled_from(["GET", "POST", "OPTIONS", "PUT"]),
        body=st.binary(max_size=30),
    )
    def score(self, route: str, headers: dict[str, str], method: str, body: bytes) -> None:
        url = f"{self.world.emulator.url}/inference/westeurope/{SERVING}/{route}"
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        self.world.request(method, url, headers=encoded, content=body)

    @rule(form=st.dictionaries(st.sampled_from(["grant_type", "client_id", "scope", "client_secret"]), st.text()))
    def sign_in_badly(self, form: dict[str, str]) -> None:
        tenant = self.world.emulator.environment["AZURE_TENANT_ID"]
        answer = self.world.request("POST", f"{self.world.emulator.url}/{tenant}/oauth2/v2.0/token", data=form)
        assert answer.json()["error_codes"], self.world.tell(answer.text)

    @rule(
        path=st.text(max_size=20).map(quote),
        method=st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "POST"]),
        query=st.sampled_from(["", "?comp=block", "?comp=blocklist", "?restype=container&comp=list", "?sig=x&se=y"]),
    )
    def touch_blobs_without_a_right(self, path: str, method: str, query: str) -> None:
        url = f"{self.world.emulator.url}/blob/devstore.blob.core.windows.net/some/{path}{query}"
        assert self.world.request(method, url).status_code in (400, 401, 403)

    @invariant()
    def weights_are_whole_and_on_what_exists(self) -> None:
        with self.world.checking() as world:
            endpoints = world.arm("GET", "/onlineEndpoints").json()["value"]
            listed = [world.arm("GET", f"/onlineEndpoints/{one['name']}/deployments").json() for one in endpoints]
        for endpoint, deployments in zip(endpoints, listed, strict=True):
            properties = endpoint["properties"]
            present = {one["name"].lower() for one in deployments["value"]}
            assert sum(properties["traffic"].values()) in (0, 100), world.tell(str(endpoint))
            assert sum(properties["mirrorTraffic"].values()) <= 50, world.tell(str(endpoint))
            for weights_shown in (properties["traffic"], properties["mirrorTraffic"]):
                absent = {name for name, weight in weights_shown.items() if weight and name.lower() not in present}
                assert not absent, world.tell(f"{endpoint} has weights on {absent}, of {present}")

    @invariant()
    def one_operation_runs_per_endpoint(self) -> None:
        world = self.world
        for endpoint, urls in world.operations.items():
            with world.checking():
                answers = {url: world.request("GET", url).json()["status"] for url in urls}
            urls -= {url for url, status in answers.items() if status in ("Succeeded", "Failed")}
            assert len(urls) <= 1, world.tell(f"{len(urls)} operations run on {endpoint}")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An emulator with operations that last, and an endpoint that serves."""
    with running_emulator(tmp_path, "--profile", "azure", "--seed", str(NO_LAGS)) as emulator:
        world = World(emulator)
        world.arm("PUT", f"/onlineEndpoints/{SERVING}", ENDPOINT)
        world.advance(600)
        for deployment in ("blue", "green"):
            path = f"/onlineEndpoints/{SERVING}/deployments/{deployment}"
            world.arm("PUT", path, world.runnable).raise_for_status()
            world.advance(600)
            assert wait_for(world.rest, path) == "Succeeded"
        yield world


def test_random_requests_never_break_it(world: World) -> None:
    chosen = settings(
        max_examples=3,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    while world.requests < REQUESTS:
        run_state_machine_as_test(type("SomeCalls", (Calls,), {"world": world}), settings=chosen)

    print(f"{world.requests} requests and {world.checks} that check: {dict(sorted(world.statuses.items()))}")
    assert {200, 201, 204, 400, 404, 409} <= set(world.statuses)
    assert "Traceback" not in world.emulator.log()
