"""Minutes that Rollway reads of requests that were really sent, on an emulator whose metrics are three minutes late."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from rollway.azure.metrics import read_minutes, requests_of_last_hour
from rollway.azure.session import Session
from rollway.errors import AccessDenied
from rollway.rollout.evidence import Counts, Minute
from tests.contract.conftest import session_with
from tests.support.emulator_process import EmulatorProcess, running_emulator
from tests.support.plain_rest import ENDPOINT, PlainRest, register_assets, wait_for

LAG_SECONDS = 180
SEED = f"""
scoring: {{metrics_lag_seconds: {LAG_SECONDS}}}
principals:
  - {{client_id: contributor, client_secret: contributor-secret}}
  - {{client_id: scientist, client_secret: scientist-secret, role: data_scientist}}
  - {{client_id: watcher, client_secret: watcher-secret, role: [data_scientist, monitoring_reader]}}
"""
STABLE, CANARY = ("blue", "red"), "Green"


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """An emulator whose metrics arrive late; only these tests move its clock."""
    folder = tmp_path_factory.mktemp("late")
    (folder / "seed.yaml").write_text(SEED)
    with running_emulator(folder / "state", "--seed", str(folder / "seed.yaml")) as running:
        yield running


@pytest.fixture
def session(late: EmulatorProcess) -> Iterator[Session]:
    """The contributor's session."""
    with session_with(late) as one:
        yield one


@dataclass
class Watched:
    """An endpoint with three online deployments, and the requests that were sent to it."""

    emulator: EmulatorProcess
    rest: PlainRest
    session: Session
    path: str
    uri: str = ""
    key: str = ""
    sent: dict[datetime, dict[str, Counter[int]]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the endpoint."""
        return self.path.rpartition("/")[2]

    def now(self) -> datetime:
        """Return the emulator's time, as the session sees it after a call."""
        self.session.ml.online_endpoints.get(self.name)
        return self.session.now()

    def next_minute(self) -> datetime:
        """Move the clock to the first seconds of a minute; the session knows it to two seconds."""
        self.emulator.advance_clock(65 - self.now().second)
        return self.now().replace(second=0, microsecond=0)

    def set_traffic(self, traffic: dict[str, int], mirror: dict[str, int]) -> None:
        """Give weights, and a share of copies."""
        properties = {"authMode": "Key", "traffic": traffic, "mirrorTraffic": mirror}
        self.rest.send("PUT", self.path, {**ENDPOINT, "properties": properties}).raise_for_status()
        wait_for(self.rest, self.path)

    def send(self, http: httpx.Client, at: datetime, *statuses: int, pinned: str = "") -> None:
        """Send a request for each status of the model, and note which online deployment answered in which minute."""
        for status in statuses:
            headers = {"Authorization": f"Bearer {self.key}"}
            if pinned:
                headers["azureml-model-deployment"] = pinned
            answer = http.post(f"{self.uri}?status={status}", json={}, headers=headers)
            name = answer.headers["azureml-model-deployment"].lower()
            self.sent.setdefault(at, {}).setdefault(name, Counter())[answer.status_code] += 1

    def read(self, start: datetime, end: datetime, live_since: datetime | None) -> tuple[Minute, ...]:
        """Return the minutes by Rollway."""
        return asyncio.run(read_minutes(self.session, self.name, CANARY, STABLE, 95, start, end, live_since))


@pytest.fixture(scope="module")
def body(late: EmulatorProcess) -> dict[str, Any]:
    """The body of an online deployment whose model answers with the status that the request asks for."""
    body = register_assets(PlainRest(late), "any_answer")
    body["properties"]["requestSettings"]["maxConcurrentRequestsPerInstance"] = 100  # no copy is refused
    return body


@pytest.fixture
def watched(late: EmulatorProcess, session: Session, body: dict[str, Any]) -> Watched:
    """An endpoint with the online deployments blue, red and Green, without traffic."""
    rest = PlainRest(late)
    one = Watched(late, rest, session, f"/onlineEndpoints/minutes-{uuid.uuid4().hex[:8]}")
    rest.send("PUT", one.path, ENDPOINT).raise_for_status()
    for name in (*STABLE, CANARY):
        rest.send("PUT", f"{one.path}/deployments/{name}", body).raise_for_status()
        assert wait_for(rest, f"{one.path}/deployments/{name}") == "Succeeded"
    one.uri = rest.send("GET", one.path).json()["properties"]["scoringUri"]
    one.key = rest.send("POST", f"{one.path}/listKeys").json()["primaryKey"]
    return one


def without_latency(counts: Counts) -> Counts:
    return counts.model_copy(update={"latency_seconds": None})


def of_sent(statuses: Counter[int]) -> Counts:
    return Counts(requests=statuses[200] + statuses[424], errors=statuses[424])


def answered(watched: Watched) -> Counter[int]:
    """Return the statuses of the canary's model, from its log; its one worker has answered all earlier requests."""
    path = f"{watched.path}/deployments/{CANARY}/getLogs"
    log = watched.rest.send("POST", path, {"containerType": "InferenceServer", "tail": 10_000}).json()["content"]
    lines = {status: log.count(f"POST /score?status={status} {status} ") for status in (200, 500)}
    return Counter({200: lines[200], 424: lines[500]})


def test_minutes_are_what_was_sent(watched: Watched) -> None:
    watched.set_traffic({"blue": 60, "red": 40}, {CANARY: 50})
    start = copied_at = watched.next_minute()
    with watched.emulator.http() as http:
        watched.send(http, copied_at, *[200] * 30, *[500] * 10)
        watched.send(http, copied_at, 200, pinned=CANARY)
        of_canary = answered(watched)
        watched.emulator.advance_clock(60)
        watched.set_traffic({"blue": 40, "red": 30, CANARY: 30}, {})
        live_since = watched.now()
        lived_at = watched.next_minute()
        watched.send(http, lived_at, *[200] * 30, *[500] * 10)
        watched.send(http, lived_at, 500, 200, 200, pinned=CANARY)
        refused = http.post(watched.uri, json={}, headers={"Authorization": "Bearer wrong"})
    end = lived_at + timedelta(minutes=1)
    watched.emulator.advance_clock(60)
    too_early = watched.read(start, end, live_since)
    watched.emulator.advance_clock(LAG_SECONDS)
    minutes = watched.read(start, end, live_since)
    with_copies_only = watched.read(start, end, None)

    assert refused.status_code == 401
    assert lived_at not in {one.at for one in too_early}
    assert [one.at for one in minutes] == [copied_at, lived_at]
    first, second = minutes
    sent = watched.sent
    assert without_latency(first.stable) == of_sent(sent[copied_at]["blue"] + sent[copied_at]["red"])
    assert without_latency(second.stable) == of_sent(sent[lived_at]["blue"] + sent[lived_at]["red"])
    assert without_latency(second.canary) == of_sent(sent[lived_at]["green"])
    assert first.canary.requests > sent[copied_at]["green"].total() == 1
    assert (first.canary.requests, first.canary.errors) == (of_canary.total(), of_canary[424])
    for one in (first.canary, first.stable, second.canary, second.stable):
        assert one.latency_seconds is not None
        assert 0 < one.latency_seconds < 30
    assert with_copies_only == minutes  # the canary's own metrics count its traffic, too
    assert asyncio.run(requests_of_last_hour(watched.session, watched.name)) == 41 + 43 + 1


def test_the_endpoint_does_not_count_copies(watched: Watched) -> None:
    watched.set_traffic({"blue": 100}, {CANARY: 50})
    start = watched.next_minute()
    with watched.emulator.http() as http:
        watched.send(http, start, *[200] * 40)
        watched.send(http, start, 200, pinned=CANARY)
    end = start + timedelta(minutes=1)
    watched.emulator.advance_clock(60 + LAG_SECONDS)

    (by_endpoint,) = watched.read(start, end, start)
    (by_canary,) = watched.read(start, end, None)

    assert (by_endpoint.canary.requests, by_endpoint.stable.requests) == (1, 40)
    assert by_canary.canary.requests == answered(watched).total() > 1  # 40 draws at 50 %
    assert by_canary.stable == by_endpoint.stable


def test_a_filter_gives_ten_series_unless_more_are_asked_for(watched: Watched) -> None:
    start = watched.next_minute()
    with watched.emulator.http() as http:
        watched.send(http, start, *range(500, 512), pinned="blue")
    watched.emulator.advance_clock(60 + LAG_SECONDS)
    query: dict[str, Any] = {"metricnames": "RequestsPerMinute", "filter": "modelStatusCode eq '*'"}
    resource = watched.session.workspace.endpoint_id(watched.name)

    found = {top: watched.session.monitor.metrics.list(resource, top=top, **query) for top in (None, 3, 100)}

    assert {top: len(one.value[0].timeseries) for top, one in found.items()} == {None: 10, 3: 3, 100: 12}


@pytest.mark.parametrize(("client_id", "is_allowed"), [("scientist", False), ("watcher", True)])
def test_a_data_scientist_needs_a_role_that_reads_metrics(
    late: EmulatorProcess, name: str, client_id: str, is_allowed: bool
) -> None:
    PlainRest(late).send("PUT", f"/onlineEndpoints/{name}", ENDPOINT).raise_for_status()
    now = datetime.now(UTC)
    with session_with(late, client_id) as session:
        if is_allowed:
            assert asyncio.run(requests_of_last_hour(session, name)) == 0
            return
        with pytest.raises(AccessDenied) as caught:
            asyncio.run(read_minutes(session, name, CANARY, STABLE, 95, now - timedelta(hours=1), now))

    assert caught.value.code == "AuthorizationFailed"
    assert caught.value.what == f"cannot read the metrics of {name!r}"
    assert "Microsoft.Insights/metrics/read" in str(caught.value.why)
    assert "'Monitoring Reader'" in str(caught.value.hint)
