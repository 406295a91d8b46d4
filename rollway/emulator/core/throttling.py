"""ARM's throttling: token buckets per principal for reads, writes and deletes (request-limits-and-throttling)."""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from rollway.emulator.core import errors
from rollway.emulator.core.clock import Clock
from rollway.emulator.core.seed import Bucket, Throttling

Kind = Literal["reads", "writes", "deletes"]
KINDS: dict[str, Kind] = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
# All principals of a subscription share a bucket that is this many times the bucket of one principal.
SUBSCRIPTION_FACTOR = 15


@dataclass
class _Level:
    tokens: float
    at: float


class Throttle:
    """Throttling of all principals. If `limits` is None, no request is refused and the counters stay full."""

    def __init__(self, limits: Throttling | None, clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._levels: dict[tuple[str, Kind], _Level] = {}

    def acquire(self, principal: str, method: str) -> dict[str, str]:
        """Take a token for one request and return the headers with the remaining tokens.

        Raises the 429 with `Retry-After` in whole seconds if there is no token.
        """
        kind = KINDS.get(method, "writes")
        limits = self._limits or Throttling()
        bucket: Bucket = getattr(limits, kind)
        factor = SUBSCRIPTION_FACTOR
        shared_bucket = Bucket(size=bucket.size * factor, per_second=bucket.per_second * factor)
        if self._limits is None:
            return _headers(kind, bucket.size, shared_bucket.size)
        own, shared = self._refilled((principal.lower(), kind), bucket), self._refilled(("", kind), shared_bucket)
        if own.tokens < 1 or shared.tokens < 1:
            waits = [(1 - level.tokens) / one.per_second for level, one in ((own, bucket), (shared, shared_bucket))]
            raise errors.throttled(kind, max(ceil(max(waits)), 1), _headers(kind, own.tokens, shared.tokens))
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


def _headers(kind: Kind, own: float, shared: float) -> dict[str, str]:
    return {
        f"x-ms-ratelimit-remaining-subscription-{kind}": str(int(own)),
        f"x-ms-ratelimit-remaining-subscription-global-{kind}": str(int(shared)),
    }
