"""The pace of requests to Azure, on a clock that moves only when somebody waits."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.azure.pace import BUCKETS, HEADER, LONGEST_SECONDS, Bucket, Pace, delay_seconds

READS = BUCKETS["reads"]


class World:
    """A principal's bucket of reads at Azure, and processes that share it; a round is one request of each."""

    def __init__(self, processes: int, bucket: Bucket = READS) -> None:
        self.now, self.waited, self.refused = 0.0, 0.0, 0
        self.tokens, self._bucket = float(bucket.size), bucket
        self.paces = [Pace(lambda: self.now, self._wait, lambda: 1.0) for _ in range(processes)]

    def read(self, pace: Pace, method: str = "GET", seconds: float = 0.0) -> None:
        request = SimpleNamespace(http_request=SimpleNamespace(method=method))
        pace.before(request)
        self._pass(seconds)
        self.refused += self.tokens < 1
        self.tokens = max(self.tokens - 1, 0)
        response = SimpleNamespace(headers={HEADER + "reads": str(int(self.tokens))})
        pace.after(SimpleNamespace(http_request=request.http_request, http_response=response))

    def _wait(self, seconds: float) -> None:
        self.waited += seconds
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        self.now += seconds
        self.tokens = min(self.tokens + seconds * self._bucket.per_second, self._bucket.size)


def test_a_rollout_alone_is_never_delayed() -> None:
    world = World(1)

    for _ in range(200):
        world.read(world.paces[0])

    assert (world.waited, world.refused) == (0, 0)


def test_a_fleet_slows_down_before_azure_refuses_a_request() -> None:
    world = World(1)

    for _ in range(2000):
        world.read(world.paces[0])

    assert world.refused == 0
    assert world.now >= (2000 - READS.size) / READS.per_second, "no faster than the bucket fills"
    assert world.now <= 2 * 2000 / READS.per_second, "and not much slower"


def test_every_process_of_a_principal_slows_down_by_what_azure_tells_it() -> None:
    world = World(20)

    for _ in range(50):
        for pace in world.paces:
            world.read(pace)

    assert world.refused == 0


def test_a_bucket_that_has_filled_again_delays_nothing() -> None:
    world = World(1)
    world.tokens = 1.0
    world.read(world.paces[0])
    world.now += 60

    world.read(world.paces[0])

    assert world.waited == 0


def test_only_requests_of_the_same_method_wait() -> None:
    world = World(1)
    world.tokens = 1.0
    world.read(world.paces[0], "GET")

    world.read(world.paces[0], "PUT")

    assert world.waited == 0


@pytest.mark.parametrize("value", ["", "many", "-1"])
def test_an_answer_without_a_number_changes_nothing(value: str) -> None:
    waited: list[float] = []
    pace = Pace(lambda: 0.0, waited.append)
    request: Any = SimpleNamespace(http_request=SimpleNamespace(method="GET"))

    pace.after(
        SimpleNamespace(
            http_request=request.http_request, http_response=SimpleNamespace(headers={HEADER + "reads": value})
        )
    )
    pace.before(request)

    assert waited == []


@given(st.floats(0, 1000), st.sampled_from(sorted(BUCKETS)))
def test_the_delay_is_bounded_and_ends_when_a_fifth_of_the_bucket_is_full(remaining: float, kind: str) -> None:
    bucket = BUCKETS[kind]

    delay = delay_seconds(remaining, bucket)

    assert 0 <= delay <= LONGEST_SECONDS
    assert (delay == 0) == (remaining >= 0.2 * bucket.size)
