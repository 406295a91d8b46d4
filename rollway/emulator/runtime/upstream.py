"""HTTP/1.1 client for containers on loopback, with a streamed response.

Every request has its own connection: the inference server's gunicorn has synchronous workers, which close the
connection after each response.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import cast

import httptools

HOST = "127.0.0.1"
MAX_BUFFERED_BYTES = 1024 * 1024

Headers = list[tuple[bytes, bytes]]


class BrokenResponse(Exception):
    """The container closed the connection, or its response is not HTTP."""


class UpstreamResponse(asyncio.Protocol):
    """A container's response: `status` and `headers` after `wait_for_headers`, then the body from `chunks`.

    Header names are in lower case.
    """

    def __init__(self, request: bytes, *, is_head: bool) -> None:
        self.status, self.headers = 0, Headers()
        self._request, self._is_head = request, is_head
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._has_ended = False
        self._ends_with_connection = False
        self._error: BrokenResponse | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    async def wait_for_headers(self) -> None:
        """Wait until status and headers have arrived. Raises BrokenResponse."""
        while not self.status:
            await self._wait_for_data()

    async def chunks(self) -> AsyncIterator[tuple[bytes, bool]]:
        """Yield pairs of a piece of the body and True if more follows; at least one pair. Raises BrokenResponse."""
        is_more = True
        while is_more:
            while not self._body and not self._has_ended:
                await self._wait_for_data()
            content, is_more = bytes(self._body), not self._has_ended
            self._body.clear()
            if self._transport is not None and is_more:
                self._transport.resume_reading()
            yield content, is_more

    def close(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    async def _wait_for_data(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._error = BrokenResponse(f"the container's response is not HTTP: {exc}")
            self.close()
        if len(self._body) > MAX_BUFFERED_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self.status and self._ends_with_connection and exc is None:
            self._has_ended = True
        if not self._has_ended and self._error is None:
            self._error = BrokenResponse(f"the container closed the connection: {exc}")
        self._wake()

    # Called by the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # 100 Continue
            self.headers.clear()
            return
        framing = {name for name, _ in self.headers} & {b"content-length", b"transfer-encoding"}
        self.status, self._ends_with_connection = status, not framing
        self._has_ended = self._is_head

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self._has_ended = self.status > 0


@asynccontextmanager
async def send_request(
    port: int, method: str, target: bytes, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> AsyncIterator[UpstreamResponse]:
    """Send a request and yield its response, with status and headers. Drop the connection at the end of the block.

    Raises OSError or BrokenResponse.
    """
    lines = [b"%s %s HTTP/1.1\r\nhost: %s:%d" % (method.encode(), target, HOST.encode(), port)]
    lines += [b"%s: %s" % pair for pair in headers]
    lines.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
    loop = asyncio.get_running_loop()
    request = b"\r\n".join(lines) + body
    _, response = await loop.create_connection(lambda: UpstreamResponse(request, is_head=method == "HEAD"), HOST, port)
    try:
        await response.wait_for_headers()
        yield response
    finally:
        response.close()
