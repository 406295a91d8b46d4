"""What the gateway and the containers have done, minute by minute: the raw material of Azure Monitor's metrics."""

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rollway.emulator.core.clock import Clock
from rollway.emulator.core.store import Resource

MAX_MINUTES = 24 * 60


@dataclass
class Usage:
    """What one instance has used in one minute, in percent: a value for each look at it."""

    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    state: str = ""


@dataclass
class Minute:
    """The requests to one online deployment in one minute; `statuses` are (gateway's, model's or "")."""

    statuses: Counter[tuple[int, str]] = field(default_factory=Counter)
    latencies_ms: "array[float]" = field(default_factory=lambda: array("f"))
    byte_count: int = 0
    instances: dict[str, Usage] = field(default_factory=dict)


class Samples:
    """All endpoints, for as long as the process runs. Minutes are of the emulator's clock, since the epoch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minutes: dict[str, dict[int, dict[str, Minute]]] = {}

    def add_request(
        self,
        endpoint: Resource,
        deployment: Resource | None,
        *,
        status: int,
        model_status: str,
        milliseconds: float,
        byte_count: int,
    ) -> None:
        """One answered request; without an online deployment the gateway has refused it."""
        minute = self._current_minute(endpoint, "" if deployment is None else deployment.name)
        minute.statuses[status, model_status] += 1
        minute.byte_count += byte_count
        if deployment is not None:
            minute.latencies_ms.append(milliseconds)

    def current_usage(self, endpoint: Resource, deployment: Resource, instance: str) -> Usage:
        """Of one instance in this minute, to be added to."""
        return self._current_minute(endpoint, deployment.name).instances.setdefault(instance, Usage())

    def clear(self) -> None:
        """Forget everything."""
        self._minutes.clear()

    def _current_minute(self, endpoint: Resource, name: str) -> Minute:
        minutes = self._minutes.setdefault(_key(endpoint), {})
        number = int(self._clock.now() // 60)
        if number not in minutes and len(minutes) >= MAX_MINUTES:
            del minutes[min(minutes)]
        return minutes.setdefault(number, {}).setdefault(name, Minute())

    def between(self, endpoint: Resource, first: int, last: int) -> Iterator[tuple[int, str, Minute]]:
        """Number, online deployment ("" for none) and requests of each minute from `first` to `last`."""
        for number, minute in self._minutes.get(_key(endpoint), {}).items():
            if first <= number <= last:
                for name, requests in minute.items():
                    yield number, name, requests


def _key(endpoint: Resource) -> str:
    """The endpoint itself, not another one of the same name later."""
    return str(endpoint.properties["properties"]["azureml.onlineendpointid"])
