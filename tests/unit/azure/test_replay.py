"""Pinned requests to stable and the canary, on a clock that moves at once."""

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest
from pydantic import JsonValue

from rollway.azure.replay import MOST_IN_FLIGHT, Answer, probe, replay
from rollway.errors import AccessDenied
from rollway.rollout.smoke import NoAnswer
from tests.support.builders import Clock, measurement
from tests.support.scoring import Gateway, scorer

STABLE, CANARY = "main-1", "main-2"


@dataclass
class Scores:
    """A client that records each request with its time; the answer says how many came before.

    Attributes:
        latencies: How long the answers take, in turn and again.
        held: Online deployments and requests that are not answered until `release`.
        enough: Number of requests after which `is_enough` is set.
    """

    clock: Clock
    latencies: tuple[float, ...] = (0.0,)
    sent: list[tuple[float, str | None, JsonValue]] = field(default_factory=list)
    unanswered: int = 0
    most_unanswered: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)
    held: tuple[tuple[str, JsonValue], ...] = ()
    enough: int = 0
    is_enough: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    async def score(self, request: JsonValue, *, online_deployment: str | None = None) -> Answer:
        number = len(self.sent)
        self.sent.append((round(self.clock.now(), 6), online_deployment, request))
        if len(self.sent) == self.enough:
            self.is_enough.set()
        if self.error is not None:
            raise self.error
        self.clock.seconds += self.latencies[number % len(self.latencies)]
        if (online_deployment, request) in self.held:
            self.unanswered += 1
            self.most_unanswered = max(self.most_unanswered, self.unanswered)
            await self.release.wait()
            self.unanswered -= 1
        return measurement(body=[online_deployment, request, number], served_by=online_deployment)

    def times(self, name: str) -> list[float]:
        """Return when the requests to an online deployment were sent."""
        return [moment for moment, to, _ in self.sent if to == name]


def bodies(answers: list[Answer]) -> list[JsonValue]:
    return [None if isinstance(one, NoAnswer) else one.body for one in answers]


def test_each_request_goes_to_stable_the_canary_and_stable_again() -> None:
    clock = Clock()
    scores = Scores(clock)

    trios = asyncio.run(replay(scores, ["a", "b"], STABLE, CANARY, requests_per_second=1, clock=clock))

    assert [(name, request) for _, name, request in scores.sent] == [
        *[(STABLE, "a"), (CANARY, "a"), (STABLE, "a")],
        *[(STABLE, "b"), (CANARY, "b"), (STABLE, "b")],
    ]
    assert [bodies([one.stable, one.canary, one.stable_again]) for one in trios] == [
        [[STABLE, "a", 0], [CANARY, "a", 1], [STABLE, "a", 2]],
        [[STABLE, "b", 3], [CANARY, "b", 4], [STABLE, "b", 5]],
    ]


@pytest.mark.parametrize("latencies", [(0.0,), (0.1,), (0.7,), (3.0, 0.0, 0.0, 0.0)])
def test_a_replay_never_exceeds_its_rate_and_never_catches_up(latencies: tuple[float, ...]) -> None:
    clock = Clock(seconds=100)
    scores = Scores(clock, latencies=latencies)

    asyncio.run(replay(scores, list(range(10)), STABLE, CANARY, requests_per_second=2, clock=clock))

    for name in (STABLE, CANARY):
        times = scores.times(name)
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.5
    assert min(clock.naps, default=1) > 0


def test_a_replay_tells_its_progress() -> None:
    clock, told = Clock(), list[tuple[str, float]]()

    async def on_progress(state: str, seconds: float) -> None:
        told.append((state, seconds))

    scores = Scores(clock)
    asyncio.run(replay(scores, ["a", "b"], STABLE, CANARY, requests_per_second=1, clock=clock, on_progress=on_progress))

    assert told == [("1 of 2 requests replayed", 1.0), ("2 of 2 requests replayed", 3.0)]


def test_a_replay_of_nothing_sends_nothing() -> None:
    clock = Clock()

    assert asyncio.run(replay(Scores(clock), [], STABLE, CANARY, requests_per_second=1, clock=clock)) == ()


def test_probes_go_to_both_in_turns_at_the_given_rate() -> None:
    clock = Clock(seconds=100)
    scores = Scores(clock)

    stable, canary = asyncio.run(probe(scores, ["a", "b"], STABLE, CANARY, count=3, requests_per_second=2, clock=clock))

    assert scores.sent == [
        (100.0, STABLE, "a"),
        (100.25, CANARY, "a"),
        (100.5, STABLE, "b"),
        (100.75, CANARY, "b"),
        (101.0, STABLE, "a"),
        (101.25, CANARY, "a"),
    ]
    assert bodies(stable) == [[STABLE, "a", 0], [STABLE, "b", 2], [STABLE, "a", 4]]
    assert bodies(canary) == [[CANARY, "a", 1], [CANARY, "b", 3], [CANARY, "a", 5]]


def test_without_stable_only_the_canary_is_probed() -> None:
    clock = Clock()
    scores = Scores(clock)

    stable, canary = asyncio.run(probe(scores, ["a"], None, CANARY, count=3, requests_per_second=2, clock=clock))

    assert (stable, len(canary)) == ([], 3)
    assert scores.sent == [(0.0, CANARY, "a"), (0.5, CANARY, "a"), (1.0, CANARY, "a")]


@pytest.mark.parametrize("stable", [STABLE, None])
def test_no_probe_is_sent_for_a_count_of_zero(stable: str | None) -> None:
    clock = Clock()
    scores = Scores(clock)

    assert asyncio.run(probe(scores, ["a"], stable, CANARY, count=0, requests_per_second=2, clock=clock)) == ([], [])
    assert scores.sent == []


def test_a_slow_answer_does_not_lower_the_rate_and_keeps_its_place() -> None:
    async def call() -> tuple[list[Answer], list[Answer]]:
        scores = Scores(clock, held=((CANARY, 0),), enough=16)

        async def release_at_the_end() -> None:
            await scores.is_enough.wait()
            scores.release.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(release_at_the_end())
            answers = await probe(scores, list(range(8)), STABLE, CANARY, count=8, requests_per_second=1, clock=clock)
        assert scores.times(CANARY) == [0.5 + number for number in range(8)]
        return answers

    clock = Clock()

    _, canary = asyncio.run(call())

    assert [body[1] for body in bodies(canary) if isinstance(body, list)] == list(range(8))


def test_unanswered_probes_are_bounded_and_those_after_them_catch_up() -> None:
    async def call() -> Scores:
        scores = Scores(clock, held=((CANARY, "a"),))

        async def release_later() -> None:
            for _ in range(100):
                await asyncio.sleep(0)
            clock.seconds = 60.0
            scores.release.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(release_later())
            await probe(scores, ["a"], STABLE, CANARY, count=10, requests_per_second=1, clock=clock)
        return scores

    clock = Clock()

    scores = asyncio.run(call())

    assert scores.most_unanswered == MOST_IN_FLIGHT
    assert scores.times(CANARY) == [0.5, 1.5, 2.5, 3.5, *[60.0] * 6]
    assert min(clock.naps) > 0


def test_an_error_ends_the_probes_at_once_and_is_raised_as_it_is() -> None:
    clock = Clock()
    scores = Scores(clock, error=AccessDenied("cannot read the endpoint's keys"))

    with pytest.raises(AccessDenied, match="cannot read the endpoint's keys"):
        asyncio.run(probe(scores, ["a"], STABLE, CANARY, count=1000, requests_per_second=2, clock=clock))

    assert len(scores.sent) <= 2


def test_a_cancelled_probe_leaves_no_request_behind() -> None:
    async def call() -> int:
        scores = Scores(Clock(), held=((CANARY, "a"),), enough=MOST_IN_FLIGHT)
        task = asyncio.create_task(
            probe(scores, ["a"], None, CANARY, count=10, requests_per_second=1, clock=scores.clock)
        )
        await scores.is_enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks())

    assert asyncio.run(call()) == 1


def test_the_scorer_pins_what_is_replayed(gateway: Gateway) -> None:
    first: list[JsonValue] = [{"data": 1}]
    second: list[JsonValue] = [{"data": 2}]

    async def call() -> None:
        clock = Clock()
        async with scorer(gateway.url) as client:
            await replay(client, first, STABLE, CANARY, requests_per_second=1, clock=clock)
            await probe(client, second, STABLE, CANARY, count=1, requests_per_second=1, clock=clock)

    asyncio.run(call())

    sent = [(headers["azureml-model-deployment"], body["data"]) for headers, body in gateway.requests]
    assert sent[:3] == [(STABLE, 1), (CANARY, 1), (STABLE, 1)]
    assert sorted(sent[3:]) == [(STABLE, 2), (CANARY, 2)]
