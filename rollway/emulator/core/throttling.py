"""ARM's throttling: token buckets per principal for reads, writes and deletes (request-limits-and-throttling).

Writes of online deployments have a bucket of their own, and a header of their own.
"""

import re
from dataclasses import dataclass
from math import ceil
from typing import Literal

from rollway.emulator.core import errors
from rollway.emulator.core.clock import Clock
from rollway.emulator.core.seed import Bucket, Throttling

Kind = Literal["reads", "writes", "deletes", "resource_requests"]
KINDS: dict[str, Kind] = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
ONLINE_DEPLOYMENT = re.compile(r"/onlineEndpoints/[^/]+/deployments/[^/]+", re.IGNORECASE)
# All principals of a subscription share a bucket that is this many times the bucket of one principal.
SUBSCRIPTION_FACTOR = 15


@dataclass
class _Level:
    tokens: float
    at: float


class Throttle:
    """Throttling of all principals. If `limits` is None, no request is refused and the buckets are always full."""

    def __init__(self, limits: Throttling | None, clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._levels: dict[tuple[str, Kind], _Level] = {}

    def acquire(self, principal: str, method: str, path: str) -> dict[str, str]:
        """Take a token for one request and return the headers with the remaining tokens.

        Raises the 429 with `Retry-After` in whole seconds if there is no token.
        """
        kind = _kind(method, path)
        limits = self._limits or Throttling()
        bucket: Bucket = getattr(limits, kind)
        factor = SUBSCRIPTION_FACTOR
        shared_bucket = Bucket(size=bucket.size * factor, per_second=bucket.per_second * factor)
        if self._limits is None:
            return _headers(kind, bucket.size - 1, shared_bucket.size - 1)
        own, shared = self._refilled((principal.lower(), kind), bucket), self._refilled(("", kind), shared_bucket)
        if own.tokens < 1 or shared.tokens < 1:
            waits = [(1 - level.tokens) / one.per_second for level, one in ((own, bucket), (shared, shared_bucket))]
            headers = _headers(kind, own.tokens, shared.tokens)
            raise errors.throttled(kind.replace("_", " "), max(ceil(max(waits)), 1), headers)
        own.tokens -= 1
        shared.tokens -= 1
        return _headers(kind, own.tokens, shared.tokens)

    def refill(self) -> None:
        """Fill all buckets."""
        self._levels.clear()

    def _refilled(self, key: tuple[str, Kind], bucket: Bucket) -> _Level:
        now = self._clock.now()
        level = self._levels.setdefault(key, _Level(bucket.size, now))
        level.tokens = min(bucket.size, level.tokens + max(now - level.at, 0) * bucket.per_second)
        level.at = now
        return level


def _kind(method: str, path: str) -> Kind:
    is_resource_request = method in ("PUT", "PATCH") and ONLINE_DEPLOYMENT.search(path) is not None
    return "resource_requests" if is_resource_request else KINDS.get(method, "writes")


def _headers(kind: Kind, own: float, shared: float) -> dict[str, str]:
    prefix = "x-ms-ratelimit-remaining-subscription"
    if kind == "resource_requests":  # recorded without the other counters
        return {f"{prefix}-resource-requests": str(int(own))}
    return {f"{prefix}-{kind}": str(int(own)), f"{prefix}-global-{kind}": str(int(shared))}
