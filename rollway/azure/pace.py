"""Slow down before Azure refuses requests: its responses say how many more it will take."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

HEADER = "x-ms-ratelimit-remaining-subscription-"
RESERVED_SHARE = 0.2  # of a bucket: above it, requests are not delayed
LONGEST_SECONDS = 10.0  # 250 processes that wait as long send 25 requests a second together
JITTER = 0.25  # so that processes that start together do not go on together


class Bucket(NamedTuple):
    """Token bucket of one principal: its size in requests, and its refill per second."""

    size: int
    per_second: float


# Azure: "Understand how Azure Resource Manager throttles requests". The size of the last one is recorded, its refill is
# not documented.
BUCKETS: Mapping[str, Bucket] = {
    "reads": Bucket(250, 25),
    "writes": Bucket(200, 10),
    "deletes": Bucket(200, 10),
    "resource-requests": Bucket(25, 1),
}


def delay_seconds(remaining: float, bucket: Bucket) -> float:
    """Return how long to wait before the next request: nothing while the bucket is well filled, more as it empties."""
    reserve = RESERVED_SHARE * bucket.size
    empty = min(max(1 - remaining / reserve, 0.0), 1.0)
    return LONGEST_SECONDS * empty**2


class Pace:
    """The pace of the requests of one session; `before` and `after` are hooks of azure-core's CustomHookPolicy.

    Threads share it. Other processes of the same principal see the same headers, so they slow down, too.
    """

    def __init__(
        self,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = lambda: random.uniform(1 - JITTER, 1 + JITTER),  # noqa: S311
    ) -> None:
        self._now, self._sleep, self._jitter = now, sleep, jitter
        self._last: dict[tuple[str, str], tuple[float, float]] = {}  # remaining requests, and when

    def before(self, request: Any) -> None:
        """Wait as long as the last responses to such requests suggest."""
        method = str(request.http_request.method)
        seconds = max((delay_seconds(*one) for one in self._levels(method)), default=0.0)
        if seconds:
            self._sleep(seconds * self._jitter())

    def after(self, response: Any) -> None:
        """Take in how many requests are left."""
        method, headers = str(response.http_request.method), response.http_response.headers
        for kind in BUCKETS:
            remaining = str(headers.get(HEADER + kind, ""))
            if remaining.isdecimal():
                self._last[method, kind] = int(remaining), self._now()

    def _levels(self, method: str) -> Iterator[tuple[float, Bucket]]:
        for (of, kind), (remaining, at) in tuple(self._last.items()):
            if of == method:
                bucket = BUCKETS[kind]
                yield remaining + (self._now() - at) * bucket.per_second, bucket
