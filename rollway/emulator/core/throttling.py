"""ARM's throttling: token buckets per principal for reads, writes and deletes (request-limits-and-throttling)."""

from dataclasses import dataclass
from math import ceil
from typing import Literal

from rollway.emulator.core import errors
from rollway.emulator.core.clock import Clock
from rollway.emulator.core.seed import Bucket, Throttling

Kind = Literal["reads", "writes", "deletes"]
KINDS: dict[str, Kind] = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}
CEILING = 15  # what all principals of a subscription share, as a multiple of one principal's bucket


@dataclass
class _Level:
    tokens: float
    at: float


class Throttle:
    """Counts the requests of every principal. Without `limits` it lets all pass, and shows the counters of Azure."""

    def __init__(self, limits: Throttling | None, clock: Clock) -> None:
        self._limits, self._clock = limits, clock
        self._levels: dict[tuple[str, Kind], _Level] = {}

    def acquire(self, principal: str, method: str) -> dict[str, str]:
        """The headers with what remains after this request; raises the 429 with `Retry-After` in whole seconds."""
        kind = KINDS.get(method, "writes")
        limits = self._limits or Throttling()
        one: Bucket = getattr(limits, kind)
        all_ = Bucket(size=one.size * CEILING, per_second=one.per_second * CEILING)
        if self._limits is None:
            return _headers(kind, one.size, all_.size)
        own, shared = self._refilled((principal.lower(), kind), one), self._refilled(("", kind), all_)
        if own.tokens < 1 or shared.tokens < 1:
            waits = [(1 - level.tokens) / bucket.per_second for level, bucket in ((own, one), (shared, all_))]
            raise errors.throttled(kind, max(ceil(max(waits)), 1), _headers(kind, own.tokens, shared.tokens))
        own.tokens -= 1
        shared.tokens -= 1
        return _headers(kind, own.tokens, shared.tokens)

    def refill(self) -> None:
        """All buckets are full again."""
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
