"""One rollout, fast: `python -m tests.support.quick_rollout <job>` carries out a job; see `Lab.roll_out`.

What waits in the adapter, in the retries of Azure's client and of Prefect waits a `SPEED`th.
"""

import asyncio
import functools
import itertools
import json
import os
import re
import signal
import sys
import time
import types
from collections.abc import Callable
from typing import Any, NoReturn

import anyio
import httpx
import prefect.client.base
import requests
from azure.core.pipeline.policies import RetryPolicy
from azure.storage.blob import ExponentialRetry
from prefect import Task
from prefect.settings import PREFECT_API_URL

import tasks.connect
import tasks.evidence
import tasks.moves
import tasks.plan
import tasks.prepare
from flows.deploy import deploy_endpoint
from rollway.azure.scoring import Scorer
from rollway.azure.waiting import SystemClock
from rollway.errors import RollwayError
from rollway.prefect.ending import leave, run_here
from rollway.rollout import removal

SPEED = 100.0
UNEXPECTED = 70  # the exit code for an error that is none of Rollway's own


class RealTime(SystemClock):
    """The clock of latencies: a model has as many seconds as rollout.yml allows, and not a `SPEED`th of them."""

    def now(self) -> float:
        return time.monotonic()


def hurry() -> None:
    """Lets everything that waits in a rollout wait less."""
    for owner, name, replacement in replacements():
        setattr(owner, name, replacement)
    for module in (tasks.connect, tasks.moves, tasks.plan, tasks.prepare):
        for task in tasks_of(module):
            if isinstance(task.retry_delay_seconds, list):
                task.retry_delay_seconds = [delay / SPEED for delay in task.retry_delay_seconds]


def replacements() -> list[tuple[Any, str, object]]:
    """Return the attributes that wait, each with what waits less."""

    async def sleep(_: SystemClock, seconds: float) -> None:
        await asyncio.sleep(seconds / SPEED)

    async def nap(seconds: float) -> None:  # before Prefect asks again a server that was busy
        await anyio.sleep(seconds / 10)

    backoff, told, of_storage = (
        RetryPolicy.get_backoff_time,
        RetryPolicy.get_retry_after,
        ExponentialRetry.get_backoff_time,
    )
    return [
        (SystemClock, "now", lambda _: time.monotonic() * SPEED),
        (SystemClock, "sleep", sleep),
        (Scorer, "__init__", functools.partialmethod(Scorer.__init__, clock=RealTime())),
        (RetryPolicy, "get_backoff_time", lambda policy, settings: backoff(policy, settings) / SPEED),
        (RetryPolicy, "get_retry_after", lambda policy, response: (told(policy, response) or 0) / SPEED),
        (prefect.client.base, "anyio", types.SimpleNamespace(**{**vars(anyio), "sleep": nap})),
        (tasks.evidence, "POLL_SECONDS", 30.0),
        (removal, "SETTLE_SECONDS", removal.SETTLE_SECONDS / SPEED),
        (ExponentialRetry, "get_backoff_time", lambda policy, settings: of_storage(policy, settings) / SPEED),
    ]


def move_clock(url: str) -> None:
    """Let all time be that of waits: Azure's clock and the rollout's own go on by each of them, and stand otherwise."""
    sleep, cloud, waited = SystemClock.sleep, httpx.Client(timeout=240), [0.0]

    async def sleep_and_move(clock: SystemClock, seconds: float) -> None:
        await sleep(clock, seconds)
        answer = await asyncio.to_thread(cloud.post, url, json={"advance_seconds": seconds})
        answer.raise_for_status()
        waited[0] += max(seconds, 0.001)  # less may be lost in a sum of floats, and such a wait would never end

    SystemClock.sleep = sleep_and_move  # type: ignore[method-assign, assignment]
    SystemClock.now = lambda _: waited[0]  # type: ignore[method-assign, assignment]


def tasks_of(module: types.ModuleType) -> list[Task[Any, Any]]:
    return [one for one in vars(module).values() if isinstance(one, Task)]


def carry_out(
    rollout: str,
    kill: dict[str, Any] | None,
    away: dict[str, Any] | None,
    clock: str | None,
    answers: str | None,
    parameters: dict[str, Any],
) -> NoReturn:
    """Run one rollout, print its error, and exit with the code of `rollway deploy`."""
    hurry()
    if clock:
        move_clock(clock)
    if kill:
        kill_at(**kill)
    if away:
        lose_prefect_at(**away)
    if answers:
        remember_answers(answers)
    code = 0
    try:
        asyncio.run(run_here(deploy_endpoint, rollout, **parameters))
    except BaseException as error:  # noqa: BLE001 - the edge of the process
        code = error.exit_code if isinstance(error, RollwayError) else UNEXPECTED
        print(f"ENDED WITH {type(error).__name__}: {error}", flush=True)
    leave(code)  # Prefect sends its last logs


def kill_at(method: str, path: str, occurrence: int, moment: str) -> None:
    """Kills this process with -9 right `before` or `after` a request: the one that is number `occurrence` of its kind.

    `path` is a regular expression.
    """

    def kill(when: str) -> None:
        if when == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    at_request(method, path, occurrence, kill)


def lose_prefect_at(method: str, path: str, occurrence: int) -> None:
    """Let Prefect's server be away from a request to Azure on: the one that is number `occurrence` of its kind."""
    api, send = str(PREFECT_API_URL.value()), httpx.AsyncHTTPTransport.handle_async_request

    async def refuse(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        if str(request.url).startswith(api):
            raise httpx.ConnectError("the server is away", request=request)
        return await send(transport, request)

    def lose(_: str) -> None:
        httpx.AsyncHTTPTransport.handle_async_request = refuse  # type: ignore[method-assign, assignment]

    at_request(method, path, occurrence, lose)


def at_request(method: str, path: str, occurrence: int, act: Callable[[str], None]) -> None:
    """Call `act("before")` and `act("after")` around the request that is number `occurrence` of its kind.

    `path` is a regular expression.
    """
    send, numbers = requests.Session.send, itertools.count(1)  # files are uploaded by several threads

    def counted(session: requests.Session, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        is_of_kind = request.method == method and re.search(path, str(request.url).partition("?")[0], re.IGNORECASE)
        is_meant = bool(is_of_kind) and next(numbers) == occurrence
        if is_meant:
            act("before")
        response = send(session, request, **settings)
        if is_meant:
            act("after")
        return response

    requests.Session.send = counted  # type: ignore[method-assign, assignment]


def remember_answers(path: str) -> None:
    """Keeps each answer that is JSON as a line of a file."""
    send = requests.Session.send

    def remembered(session: requests.Session, request: requests.PreparedRequest, **settings: Any) -> requests.Response:
        response = send(session, request, **settings)
        if response.headers.get("Content-Type", "").startswith("application/json"):
            with open(path, "a") as file:
                file.write(json.dumps(response.json()) + "\n")
        return response

    requests.Session.send = remembered  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    carry_out(**json.loads(sys.argv[1]))
