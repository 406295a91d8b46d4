"""A scoring gateway on loopback, and clients of it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, cast

import httpx

from rollway.azure.scoring import Scorer
from rollway.azure.session import Session
from rollway.azure.waiting import SystemClock
from rollway.rollout.state import EndpointState

WAIT_SECONDS = 600.0  # far longer than a busy machine stands still


@dataclass
class Gateway:
    """A scoring gateway that sends its answers in turn, repeats the last one, and records the requests."""

    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=lambda: [(200, {}, b"{}")])
    paths: list[str] = field(default_factory=list)
    requests: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)  # until set, slow answers are held back
    url: str = ""

    def will_answer(self, *answers: tuple[int, dict[str, str], Any]) -> None:
        """Set the answers; a body that is neither text nor bytes is sent as JSON."""
        self.answers = [(status, headers, _encoded(body)) for status, headers, body in answers]


def _encoded(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


@contextmanager
def serving_gateway() -> Iterator[Gateway]:
    """Serve a gateway on a free port."""
    gateway = Gateway()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            headers = {name.lower(): value for name, value in self.headers.items()}
            body: Any = self.rfile.read(length)
            gateway.paths.append(self.path)
            gateway.requests.append((headers, json.loads(body) if "json" in headers["content-type"] else body))
            status, extra, answer = gateway.answers.pop(0) if len(gateway.answers) > 1 else gateway.answers[0]
            if "slow" in extra:
                gateway.release.wait(WAIT_SECONDS)
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

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


class Latencies(SystemClock):
    """A clock by which the answers take these seconds, in turn, and later ones none."""

    def __init__(self, *latencies: float) -> None:
        self._moments = [moment for latency in latencies for moment in (0.0, latency)]

    def now(self) -> float:
        return self._moments.pop(0) if self._moments else 0.0


def scorer(url: str, session: Session | None = None, *, auth_mode: str = "key", **settings: Any) -> Scorer:
    """Return a client of the endpoint `diabetes` at that address; only answers may time out, no connection does."""
    endpoint = EndpointState(name="diabetes", scoring_uri=url, auth_mode=auth_mode)
    made = Scorer(session or a_session(), endpoint, **{"timeout_seconds": WAIT_SECONDS, **settings})
    made._client.timeout = httpx.Timeout(WAIT_SECONDS, read=made._client.timeout.read)
    return made
