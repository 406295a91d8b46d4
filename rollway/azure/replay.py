"""Pinned requests to stable and the canary, at a limited rate: replays of recorded requests, and probes."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeVar

from rollway.azure.waiting import Clock, OnProgress
from rollway.rollout.predictions import Trio
from rollway.rollout.smoke import Measurement, NoAnswer

MOST_IN_FLIGHT = 4  # probes of one online deployment: an instance answers one request at a time by default

Answer = Measurement | NoAnswer
R = TypeVar("R")  # a request in any form
R_contra = TypeVar("R_contra", contravariant=True)


class Scores(Protocol[R_contra]):
    """A client that sends a request to one online deployment: a `Scorer`."""

    async def score(self, request: R_contra, *, online_deployment: str | None = None) -> Answer: ...


async def replay(
    scorer: Scores[R],
    requests: Sequence[R],
    stable: str,
    canary: str,
    *,
    requests_per_second: float,
    clock: Clock,
    on_progress: OnProgress | None = None,
) -> tuple[Trio, ...]:
    """Send each request to stable, to the canary and to stable again, and return the answers.

    One request is in flight at a time, so a slow answer lowers the rate: a replay must not overload live instances.

    Args:
        requests_per_second: Maximum rate for each of both.
        on_progress: Called after each request with the number of replayed requests and the seconds so far.
    """
    start, due = clock.now(), dict.fromkeys((stable, canary), clock.now())

    async def ask(request: R, name: str) -> Answer:
        await _sleep_until(due[name], clock)
        due[name] = clock.now() + 1 / requests_per_second
        return await scorer.score(request, online_deployment=name)

    trios: list[Trio] = []
    for request in requests:
        first, other = await ask(request, stable), await ask(request, canary)
        trios.append(Trio(stable=first, canary=other, stable_again=await ask(request, stable)))
        if on_progress is not None:
            await on_progress(f"{len(trios)} of {len(requests)} requests replayed", clock.now() - start)
    return tuple(trios)


async def probe(
    scorer: Scores[R],
    requests: Sequence[R],
    stable: str | None,
    canary: str,
    *,
    count: int,
    requests_per_second: float,
    clock: Clock,
) -> tuple[list[Answer], list[Answer]]:
    """Send `count` requests to each of both in turns; return the answers of stable and those of the canary.

    Each request has a time at which it is due, whether or not earlier ones were answered, so a slow answer does not
    lower the rate. With `MOST_IN_FLIGHT` requests unanswered the next one waits, and those after it catch up.

    Args:
        requests: At least one; they are repeated if there are fewer than `count`.
        stable: None if there is only the canary.
        requests_per_second: Rate for each of both.
    """
    names = [canary] if stable is None else [stable, canary]
    answers: dict[str, dict[int, Answer]] = {name: {} for name in names}
    free = {name: asyncio.Semaphore(MOST_IN_FLIGHT) for name in names}

    async def send(name: str, number: int) -> None:
        try:
            answers[name][number] = await scorer.score(requests[number % len(requests)], online_deployment=name)
        finally:
            free[name].release()

    began = clock.now()
    try:
        async with asyncio.TaskGroup() as tasks:
            for turn in range(count * len(names)):
                number, place = divmod(turn, len(names))
                await _sleep_until(began + turn / len(names) / requests_per_second, clock)
                await free[names[place]].acquire()
                tasks.create_task(send(names[place], number))
                await asyncio.sleep(0)  # it is sent now, even if the next one is due already
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    in_order = {name: [answers[name][number] for number in range(count)] for name in names}
    return ([] if stable is None else in_order[stable]), in_order[canary]


async def _sleep_until(moment: float, clock: Clock) -> None:
    if (seconds := moment - clock.now()) > 0:
        await clock.sleep(seconds)
