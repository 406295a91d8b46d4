"""Samples of requests and container usage, per minute. Azure Monitor's metrics are computed from them.

Beside them is what the page shows of an endpoint: its weights over time, and the last request that was answered.
"""

from array import array
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from rollway.emulator.core.clock import Clock
from rollway.emulator.core.store import Resource

MAX_MINUTES = 24 * 60
MAX_WEIGHTS = 100
MAX_EXAMPLE_BYTES = 4096


@dataclass
class Usage:
    """Usage of one instance in one minute, in percent, with one value per measurement."""

    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    state: str = ""


@dataclass
class Minute:
    """Requests to one online deployment in one minute.

    `statuses` counts pairs of the gateway's status and the model's status ("" without one). Copies for a mirror are
    counted apart.
    """

    statuses: Counter[tuple[int, str]] = field(default_factory=Counter)
    latencies_ms: "array[float]" = field(default_factory=lambda: array("f"))
    copied_statuses: Counter[tuple[int, str]] = field(default_factory=Counter)
    copied_latencies_ms: "array[float]" = field(default_factory=lambda: array("f"))
    byte_count: int = 0
    instances: dict[str, Usage] = field(default_factory=dict)


@dataclass(frozen=True)
class Weights:
    """The weights of an endpoint since a time, by online deployment."""

    since: float
    weights: dict[str, int]


class Samples:
    """Samples of all endpoints, kept in memory for one day.

    A minute is numbered since the epoch, on the emulator's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minutes: dict[str, dict[int, dict[str, Minute]]] = {}
        self._weights: dict[str, deque[Weights]] = {}
        self._examples: dict[str, str] = {}

    def add_request(
        self,
        endpoint: Resource,
        deployment: Resource | None,
        *,
        status: int,
        model_status: str,
        milliseconds: float,
        byte_count: int,
        is_copy: bool = False,
    ) -> None:
        """Add one completed request. `deployment` is None if the gateway refused the request."""
        minute = self._current_minute(endpoint, "" if deployment is None else deployment.name)
        if is_copy:
            minute.copied_statuses[status, model_status] += 1
            minute.copied_latencies_ms.append(milliseconds)
            return
        minute.statuses[status, model_status] += 1
        minute.byte_count += byte_count
        if deployment is not None:
            minute.latencies_ms.append(milliseconds)

    def current_usage(self, endpoint: Resource, deployment: Resource, instance: str) -> Usage:
        """Return the usage of one instance in the current minute. Callers append to it."""
        return self._current_minute(endpoint, deployment.name).instances.setdefault(instance, Usage())

    def note_weights(self, endpoint: Resource) -> list[Weights]:
        """Take in the weights that an endpoint has now; return its last ones with the times since when it had them."""
        found = {name: int(weight) for name, weight in endpoint.properties["traffic"].items() if weight}
        history = self._weights.setdefault(endpoint.guid, deque(maxlen=MAX_WEIGHTS))
        if not history or history[-1].weights != found:
            history.append(Weights(self._clock.now(), found))
        return list(history)

    def note_example(self, endpoint: Resource, body: bytes) -> None:
        """Take in a request that was answered, if it is a short text."""
        with suppress(UnicodeDecodeError):
            if len(body) <= MAX_EXAMPLE_BYTES:
                self._examples[endpoint.guid] = body.decode()

    def example(self, endpoint: Resource) -> str:
        """Return the last short request that was answered; an empty JSON object if there was none."""
        return self._examples.get(endpoint.guid) or "{}"

    def clear(self) -> None:
        """Delete all samples."""
        self._minutes.clear()
        self._weights.clear()
        self._examples.clear()

    def _current_minute(self, endpoint: Resource, name: str) -> Minute:
        minutes = self._minutes.setdefault(endpoint.guid, {})
        number = int(self._clock.now() // 60)
        if number not in minutes and len(minutes) >= MAX_MINUTES:
            del minutes[min(minutes)]
        return minutes.setdefault(number, {}).setdefault(name, Minute())

    def between(self, endpoint: Resource, first: int, last: int) -> Iterator[tuple[int, str, Minute]]:
        """Yield the number, the online deployment ("" for none) and the samples of the minutes `first` to `last`."""
        for number, minute in self._minutes.get(endpoint.guid, {}).items():
            if first <= number <= last:
                for name, samples in minute.items():
                    yield number, name, samples
