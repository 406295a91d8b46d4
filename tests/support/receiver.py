"""The other end of a webhook: a local HTTP server that keeps what it is sent."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Delivery:
    """One request: its JSON body, its headers, and when it came, on the monotonic clock."""

    subject: str
    body: str
    headers: dict[str, str]
    at: float


@dataclass
class Receiver:
    """Deliveries so far, oldest first."""

    url: str = ""
    deliveries: list[Delivery] = field(default_factory=list)

    def about(self, text: str) -> list[Delivery]:
        """The deliveries whose subject or body contains a text."""
        return [one for one in self.deliveries if text in f"{one.subject}\n{one.body}"]

    def wait_for(self, text: str, *, count: int = 1, timeout_seconds: float = 300) -> Delivery:
        """The latest delivery about a text, once there are so many of them."""
        deadline = time.monotonic() + timeout_seconds
        while len(found := self.about(text)) < count:
            subjects = [one.subject for one in self.deliveries]
            assert time.monotonic() < deadline, f"no alert about {text!r} within {timeout_seconds} s, only {subjects}"
            time.sleep(0.2)
        return found[-1]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver on a free port of loopback."""
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.deliveries.append(
                Delivery(content["subject"], content["body"], dict(self.headers.items()), time.monotonic())
            )
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}/alerts"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield received
        server.shutdown()
        thread.join()
