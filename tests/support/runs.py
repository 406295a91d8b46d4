"""Runs whose tasks were tried, and the Prefect server that receives their labels."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, Self
from uuid import uuid4

from rollway.errors import RollwayError
from rollway.prefect.run import Run


class SlowServer:
    """A Prefect server that answers only when it is allowed to; `labels` are those it received, in order."""

    def __init__(self) -> None:
        self.labels: list[dict[str, Any]] = []
        self.is_free = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def read_flow_run(self, _: object) -> Any:
        return SimpleNamespace(labels={name: value for one in self.labels for name, value in one.items()})

    async def update_flow_run_labels(self, _: object, labels: dict[str, Any]) -> None:
        await self.is_free.wait()
        self.labels.append(labels)


def a_run() -> Run:
    """Return the first attempt of a flow run."""
    return Run(str(uuid4()), 1)


async def attempt(one: Run, task: str, error: BaseException | None = None) -> None:
    """Try a task once; it raises the error if there is one."""
    with contextlib.suppress(RollwayError, asyncio.CancelledError):
        async with one.trying(task):
            if error is not None:
                raise error


def run_after(server: SlowServer, *tries: tuple[str, RollwayError | None]) -> Run:
    """Return a run that has tried these tasks, each with its error or None, and has written its labels."""

    async def try_all() -> Run:
        one = a_run()
        server.is_free.set()
        for task, error in tries:
            await attempt(one, task, error)
        await one.labels_written()
        return one

    return asyncio.run(try_all())
