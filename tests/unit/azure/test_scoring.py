"""Scoring, against a small HTTP server on loopback."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, cast

import pytest
import stamina
from azure.core.exceptions import HttpResponseError, ServiceRequestError

from rollway.azure.scoring import ROUTING_HEADER, Scorer
from rollway.azure.session import Session
from rollway.errors import AzureUnavailable, EndpointUnreachable, RollwayError, SmokeTestFailed
from rollway.rollout.smoke import Measurement
from rollway.rollout.state import EndpointState

ATTEMPTS = 4


@dataclass
class Gateway:
    """A scoring gateway that sends its answers in turn, repeats the last one, and records the requests."""

    answers: list[tuple[int, dict[str, str], str]] = field(default_factory=lambda: [(200, {}, "{}")])
    requests: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)  # until set, slow answers are held back
    url: str = ""

    def will_answer(self, *answers: tuple[int, dict[str, str], Any]) -> None:
        """Set the answers; a body that is not text is sent as JSON."""
        self.answers = [
            (status, headers, body if isinstance(body, str) else json.dumps(body)) for status, headers, body in answers
        ]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway on a free port."""
    gateway = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            gateway.requests.append((headers, json.loads(self.rfile.read(length))))
            status, extra, body = gateway.answers.pop(0) if len(gateway.answers) > 1 else gateway.answers[0]
            if "slow" in extra:
                gateway.release.wait(10)
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    gateway.url = f"http://127.0.0.1:{server.server_port}/score"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield gateway
    gateway.release.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_waiting() -> Iterator[None]:
    """Retry without pauses, and at most ATTEMPTS times."""
    with stamina.set_testing(True, attempts=ATTEMPTS, cap=True):
        yield


def a_session(*keys: object) -> Session:
    """Return a session that reads these keys in turn; exceptions are raised."""
    remaining = list(keys or ["key-1"])

    def get_keys(name: str) -> Any:
        key = remaining.pop(0)
        if isinstance(key, Exception):
            raise key
        return SimpleNamespace(primary_key=key, access_token=f"token of {name}")

    operations = SimpleNamespace(get_keys=get_keys)
    credential = SimpleNamespace(get_token=lambda scope: SimpleNamespace(token=f"for {scope}"))
    return cast(Session, SimpleNamespace(ml=SimpleNamespace(online_endpoints=operations), credential=credential))


def score(
    url: str,
    session: Session | None = None,
    *,
    auth_mode: str = "key",
    online_deployment: str | None = None,
    warm_up_seconds: float = 0.0,
    timeout_seconds: float = 5.0,
) -> Measurement:
    async def call() -> Measurement:
        endpoint = EndpointState(name="diabetes", scoring_uri=url, auth_mode=auth_mode)
        async with Scorer(session or a_session(), endpoint, timeout_seconds=timeout_seconds) as scorer:
            return await scorer.score(
                {"data": [[1.0]]}, online_deployment=online_deployment, warm_up_seconds=warm_up_seconds
            )

    return asyncio.run(call())


def test_an_answer_is_measured(gateway: Gateway) -> None:
    gateway.will_answer((200, {ROUTING_HEADER: "main-1", "x-ms-request-id": "abc", "other": "x"}, {"y": [1]}))

    measured = score(gateway.url)

    assert (measured.status, measured.body, measured.served_by) == (200, {"y": [1]}, "main-1")
    assert measured.headers == {"x-ms-request-id": "abc"}
    assert 0 < measured.latency_seconds < 5


def test_the_request_is_sent_as_json_with_the_key(gateway: Gateway) -> None:
    score(gateway.url, a_session("secret"))

    ((headers, body),) = gateway.requests
    assert body == {"data": [[1.0]]}
    assert (headers["authorization"], headers["content-type"]) == ("Bearer secret", "application/json")


@pytest.mark.parametrize("name", ["main-1", None])
def test_only_a_pinned_request_names_the_online_deployment(gateway: Gateway, name: str | None) -> None:
    score(gateway.url, online_deployment=name)

    assert gateway.requests[0][0].get(ROUTING_HEADER) == name


@pytest.mark.parametrize(
    ("auth_mode", "token"),
    [("key", "key-1"), ("aml_token", "token of diabetes"), ("aad_token", "for https://ml.azure.com/.default")],
)
def test_each_auth_mode_has_its_own_token(gateway: Gateway, auth_mode: str, token: str) -> None:
    score(gateway.url, auth_mode=auth_mode)

    assert gateway.requests[0][0]["authorization"] == f"Bearer {token}"


def test_a_refused_key_is_read_again_once(gateway: Gateway) -> None:
    gateway.will_answer((401, {}, ""), (200, {}, {}))

    measured = score(gateway.url, a_session("old", "new"))

    assert measured.status == 200
    assert [headers["authorization"] for headers, _ in gateway.requests] == ["Bearer old", "Bearer new"]


def test_a_second_401_is_returned(gateway: Gateway) -> None:
    gateway.will_answer((401, {}, "no"))

    assert score(gateway.url, a_session("old", "new")).status == 401
    assert len(gateway.requests) == 2


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (404, {}),
        (429, {}),
        (502, {}),
        (503, {}),
        (504, {}),
        (424, {"ms-azureml-model-error-reason": "model_not_ready"}),
    ],
)
def test_answers_that_are_normal_during_the_warm_up_are_retried(
    gateway: Gateway, status: int, headers: dict[str, str]
) -> None:
    gateway.will_answer((status, headers, ""), (status, headers, ""), (200, {}, {}))

    assert score(gateway.url, warm_up_seconds=30).status == 200
    assert len(gateway.requests) == 3


@pytest.mark.parametrize(
    ("status", "headers"),
    [(400, {}), (403, {}), (408, {}), (424, {"ms-azureml-model-error-reason": "model_error"}), (424, {}), (500, {})],
)
def test_a_failure_of_the_model_is_returned_at_once(gateway: Gateway, status: int, headers: dict[str, str]) -> None:
    gateway.will_answer((status, headers, "boom"))

    measured = score(gateway.url, warm_up_seconds=30)

    assert (measured.status, measured.body, measured.headers) == (status, "boom", headers)
    assert len(gateway.requests) == 1


def test_without_a_warm_up_nothing_is_retried(gateway: Gateway) -> None:
    gateway.will_answer((503, {}, "busy"))

    assert score(gateway.url).status == 503
    assert len(gateway.requests) == 1


def test_if_the_endpoint_stays_unready_its_last_answer_is_returned(gateway: Gateway) -> None:
    gateway.will_answer((503, {}, "busy"))

    measured = score(gateway.url, warm_up_seconds=30)

    assert (measured.status, measured.body) == (503, "busy")
    assert len(gateway.requests) == ATTEMPTS


def test_an_endpoint_that_cannot_be_reached_is_named_with_a_hint() -> None:
    with pytest.raises(EndpointUnreachable) as caught:
        score("http://127.0.0.1:1/score", online_deployment="main-1", warm_up_seconds=1)

    assert str(caught.value).startswith(
        "the endpoint cannot be reached\n  where: http://127.0.0.1:1/score (main-1)\n  why: "
    )
    assert "inside the workspace's network" in str(caught.value.hint)
    assert not caught.value.is_candidates_fault


def test_a_missing_answer_is_an_error_that_names_the_setting_to_change(gateway: Gateway) -> None:
    gateway.will_answer((200, {"slow": "yes"}, {}))

    with pytest.raises(SmokeTestFailed, match=r"the endpoint did not answer within 0\.1 s") as caught:
        score(gateway.url, timeout_seconds=0.1)

    assert "max_latency_seconds" in str(caught.value.hint)


@pytest.mark.parametrize("body", ["", "plain text", '{"cut": ', "<html>"])
def test_an_answer_that_is_not_json_is_kept_as_text(gateway: Gateway, body: str) -> None:
    gateway.will_answer((200, {}, body))

    assert score(gateway.url).body == body


@pytest.mark.parametrize("error", [ServiceRequestError("no network"), HttpResponseError("no")])
def test_keys_that_cannot_be_read_are_a_rollway_error(error: Exception) -> None:
    with pytest.raises(RollwayError, match="cannot read the endpoint's keys") as caught:
        score("http://127.0.0.1:1/score", a_session(error))

    assert isinstance(caught.value, AzureUnavailable) is isinstance(error, ServiceRequestError)


def test_no_secret_is_in_the_text_of_an_error() -> None:
    with pytest.raises(EndpointUnreachable) as caught:
        score("http://127.0.0.1:1/score", a_session("very-secret"))

    assert "very-secret" not in f"{caught.value!r} {caught.value} {vars(caught.value)}"
