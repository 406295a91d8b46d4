"""Token buckets that limit requests per second."""

from collections.abc import Callable


class RateLimit:
    """A token bucket per key. A bucket holds the tokens of one second, but at least one.

    `now` returns seconds.
    """

    def __init__(self, per_second: float, now: Callable[[], float]) -> None:
        self._per_second, self._now = per_second, now
        self._capacity = max(1.0, per_second)
        self._buckets: dict[str, tuple[float, float]] = {}

    def try_acquire(self, key: str) -> bool:
        """Take a token for one request. Return False if there is none."""
        now = self._now()
        left, since = self._buckets.get(key, (self._capacity, now))
        left = min(self._capacity, left + max(0.0, now - since) * self._per_second)
        is_allowed = left >= 1
        self._buckets[key] = (left - 1 if is_allowed else left, now)
        return is_allowed
