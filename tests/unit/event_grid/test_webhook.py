"""The webhook as Event Grid sees it: real HTTP, both schemas, handshakes, wrong secrets and malformed bodies."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from rollway.errors import PrefectUnavailable, RollwayError
from rollway.event_grid import webhook
from rollway.event_grid.messages import SUBSCRIPTION_VALIDATION, ModelRegistered
from tests.unit.event_grid.test_messages import EXPECTED, cloud_event, event_grid

SECRET = "0123456789abcdef-ä"
BEARER = f"BEARER {SECRET}".encode()  # as Microsoft's page on delivery properties writes it


class Watcher:
    """Records the triggers; `error` is raised instead, and a stuck one never answers."""

    def __init__(self) -> None:
        self.triggers: list[tuple[ModelRegistered, ...]] = []
        self.error: RollwayError | None = None
        self.is_stuck = False

    async def trigger(self, events: Sequence[ModelRegistered]) -> None:
        if self.error:
            raise self.error
        if self.is_stuck:
            await asyncio.Event().wait()
        self.triggers.append(tuple(events))


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
def sender(watcher: Watcher) -> Iterator[httpx.Client]:
    """A client of a webhook that listens on loopback."""
    server = webhook.make_server(webhook.make_app(SECRET, watcher.trigger))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", trust_env=False, timeout=600
            ) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def test_events_of_event_grids_own_schema_reach_the_watcher(sender: httpx.Client, watcher: Watcher) -> None:
    answer = sender.post(
        "/events", params={"code": SECRET}, json=[event_grid()], headers={"aeg-event-type": "Notification"}
    )

    assert (answer.status_code, answer.json()) == (200, {"models": 1})
    assert watcher.triggers == [(EXPECTED,)]


@pytest.mark.parametrize(
    ("kind", "document"),
    [("application/cloudevents+json", cloud_event()), ("application/cloudevents-batch+json", [cloud_event()])],
)
def test_cloud_events_reach_the_watcher(sender: httpx.Client, watcher: Watcher, kind: str, document: Any) -> None:
    headers = [(b"Authorization", BEARER), (b"Content-Type", f"{kind}; charset=utf-8".encode())]

    answer = sender.post("/events", json=document, headers=headers)

    assert (answer.status_code, answer.json()) == (200, {"models": 1})
    assert watcher.triggers == [(EXPECTED,)]


def test_event_grids_own_handshake_is_answered_with_its_code(sender: httpx.Client, watcher: Watcher) -> None:
    handshake = event_grid({"validationCode": "512d38b6"}, SUBSCRIPTION_VALIDATION)

    answer = sender.post(
        "/events",
        params={"code": SECRET},
        json=[handshake],
        headers={"aeg-event-type": "SubscriptionValidation"},
    )

    assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
    assert watcher.triggers == []


def test_the_handshake_of_cloud_events_is_answered_with_the_origin_and_a_rate(sender: httpx.Client) -> None:
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}

    answer = sender.options("/events", params={"code": SECRET}, headers=headers)

    assert answer.status_code == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert answer.headers["WebHook-Allowed-Rate"] == "120"


def test_a_handshake_without_an_origin_is_refused(sender: httpx.Client) -> None:
    answer = sender.options("/events", params={"code": SECRET})

    assert (answer.status_code, answer.json()) == (400, {"error": "the header WebHook-Request-Origin is missing"})


@pytest.mark.parametrize(
    "credentials",
    [
        {},
        {"params": {"code": ""}},
        {"params": {"code": SECRET[:-1]}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Authorization": f"Basic {SECRET}".encode()}},
        {"headers": {"aeg-sas-key": SECRET.encode()}},
    ],
    ids=["none", "empty", "short", "no token", "wrong", "other scheme", "other header"],
)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_without_the_secret_a_request_is_refused_and_triggers_nothing(
    sender: httpx.Client, watcher: Watcher, method: str, credentials: dict[str, Any]
) -> None:
    credentials = {**credentials, "headers": {**credentials.get("headers", {}), "WebHook-Request-Origin": "x"}}

    answer = sender.request(method, "/events", json=[event_grid()], **credentials)

    assert (answer.status_code, answer.json()) == (401, {"error": "the secret is missing or wrong"})
    assert "WebHook-Allowed-Origin" not in answer.headers
    assert watcher.triggers == []


def test_other_events_are_accepted_and_trigger_nothing(sender: httpx.Client, watcher: Watcher) -> None:
    other = event_grid({}, "Microsoft.MachineLearningServices.RunCompleted")

    answer = sender.post("/events", params={"code": SECRET}, json=[other])

    assert (answer.status_code, answer.json()) == (200, {"models": 0})
    assert watcher.triggers == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [(b"not JSON", "the body is not JSON"), (b"[{}]", "event 1: eventType is missing or not text")],
)
def test_a_malformed_body_is_refused_with_the_reason(
    sender: httpx.Client, watcher: Watcher, body: bytes, reason: str
) -> None:
    answer = sender.post("/events", params={"code": SECRET}, content=body)

    assert (answer.status_code, answer.json()) == (400, {"error": reason})
    assert watcher.triggers == []


def test_the_largest_batch_is_accepted_and_one_byte_more_is_refused(sender: httpx.Client, watcher: Watcher) -> None:
    largest = b'{"specversion": "1.0", "type": "other"}'.ljust(webhook.MAX_BODY_BYTES)

    taken = sender.post("/events", params={"code": SECRET}, content=largest)
    refused = sender.post("/events", params={"code": SECRET}, content=largest + b" ")

    assert taken.status_code == 200
    assert (refused.status_code, refused.json()) == (413, {"error": "the body has more than 1048576 bytes"})


def test_a_body_that_does_not_arrive_in_time_is_refused(sender: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "READ_TIMEOUT_SECONDS", 0.1)
    request = f"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 9\r\n\r\n["

    with socket.create_connection((sender.base_url.host, sender.base_url.port or 0), timeout=600) as connection:
        connection.sendall(request.encode())
        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_sender_that_hangs_up_does_not_affect_the_next_one(sender: httpx.Client, watcher: Watcher) -> None:
    request = f"POST /events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SECRET}\r\nContent-Length: 9\r\n\r\n["
    with socket.create_connection((sender.base_url.host, sender.base_url.port or 0)) as connection:
        connection.sendall(request.encode())

    assert sender.post("/events", params={"code": SECRET}, json=[event_grid()]).status_code == 200
    assert watcher.triggers == [(EXPECTED,)]


def test_when_the_trigger_fails_event_grid_is_asked_to_deliver_again(
    sender: httpx.Client, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    watcher.error = PrefectUnavailable("the Prefect server is away", why="connection refused")
    away = sender.post("/events", params={"code": SECRET}, json=[event_grid()])
    watcher.error = None
    again = sender.post("/events", params={"code": SECRET}, json=[event_grid()])

    assert (away.status_code, away.json()) == (503, {"error": "the Prefect server is away"})
    assert "connection refused" in caplog.text
    assert again.status_code == 200
    assert watcher.triggers == [(EXPECTED,)]


def test_a_trigger_that_takes_too_long_is_given_up(
    sender: httpx.Client, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher.is_stuck = True
    monkeypatch.setattr(webhook, "TRIGGER_TIMEOUT_SECONDS", 0)

    answer = sender.post("/events", params={"code": SECRET}, json=[event_grid()])

    assert (answer.status_code, answer.json()) == (503, {"error": "the watcher could not be triggered within 0 s"})


def test_accepted_events_are_logged_and_the_secret_is_not(
    sender: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="rollway"):
        sender.post("/events", params={"code": SECRET}, json=[event_grid()])
        sender.post("/events", params={"code": SECRET}, content=b"x")

    messages = [one.getMessage() for one in caplog.records if one.name == "rollway.event_grid.webhook"]
    assert messages == [
        "triggered the watcher for 'diabetes:7'",
        "refused a request with status 400: the body is not JSON",
    ]


def test_the_health_page_says_ok_and_nothing_else_is_served(sender: httpx.Client) -> None:
    health = sender.get("/health")

    assert (health.status_code, health.text) == (200, "ok\n")
    assert "server" not in health.headers
    assert sender.get("/events").status_code == 405
    assert sender.get("/").status_code == 404


def test_a_port_in_use_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RollwayError) as caught:
            webhook.serve(webhook.make_app(SECRET, Watcher().trigger), "127.0.0.1", port, on_ready=lambda _: None)

    assert str(caught.value).startswith(f"the webhook cannot start\n  where: 127.0.0.1 port {port}\n  why: Address")
