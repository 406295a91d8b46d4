"""Token buckets: how many requests may come in a second."""

from collections.abc import Callable


class RateLimit:
    """One bucket for each key; it holds the requests of one second, at least one."""

    def __init__(self, per_second: float, now: Callable[[], float]) -> None:
        """`now` gives seconds."""
        self._per_second, self._now = per_second, now
        self._most = max(1.0, per_second)
        self._buckets: dict[str, tuple[float, float]] = {}

    def try_acquire(self, key: str) -> bool:
        """Whether one more request may come now."""
        now = self._now()
        left, since = self._buckets.get(key, (self._most, now))
        left = min(self._most, left + max(0.0, now - since) * self._per_second)
        is_allowed = left >= 1
        self._buckets[key] = (left - 1 if is_allowed else left, now)
        return is_allowed
