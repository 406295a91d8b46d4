"""A client that keeps scoring an endpoint, in its own thread."""

import asyncio
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from rollway.azure.folder import load_folder
from rollway.azure.scoring import Scorer
from rollway.azure.session import open_session
from rollway.azure.state import read_endpoint
from rollway.azure.threads import in_thread
from rollway.errors import RollwayError
from rollway.local.stack import gone_wrong
from rollway.rollout.smoke import NoAnswer, excerpt
from rollway.settings import workspace_from_environment

PAUSE_SECONDS = 0.05  # leave some of a small machine to the rollout


class Load:
    """Scores the smoke-test request of a rollout during a `with` block, and counts requests and failures."""

    def __init__(self, folder: str) -> None:
        self.requests = 0
        self.errors: list[str] = []
        self.failed_by: Counter[str] = Counter()  # failures by the online deployment that answered
        self.answers: list[JsonValue] = []  # each different answer once, in the order seen
        self._folder = folder
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._score()), daemon=True)

    @property
    def failures(self) -> int:
        """Number of requests without a 200."""
        return len(self.errors)

    def __enter__(self) -> Self:
        self._thread.start()
        self.wait_for_answers(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_stopping.set()
        self._thread.join()

    def wait_for_answers(self, count: int, timeout_seconds: float = 60) -> JsonValue:
        """Wait until that many different answers have come; return the last of them."""
        deadline = time.monotonic() + timeout_seconds
        while len(self.answers) < count:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise gone_wrong(f"only {len(self.answers)} different answers came", self.errors)
            time.sleep(0.05)
        return self.answers[-1]

    async def _score(self) -> None:
        spec = await in_thread(load_folder, self._folder)
        session = await open_session(workspace_from_environment())
        async with Scorer(session, await read_endpoint(session, spec.endpoint.name)) as scorer:
            while not self._is_stopping.is_set():
                self.requests += 1
                try:
                    answer = await scorer.score(spec.smoke_requests[0])
                except RollwayError as error:
                    self.errors.append(str(error))
                    continue
                if isinstance(answer, NoAnswer):
                    self.errors.append(answer.why)
                elif answer.status != 200:
                    self.errors.append(f"{answer.status}: {excerpt(answer.body)}")
                    self.failed_by[answer.served_by or "the gateway"] += 1
                elif answer.body not in self.answers:
                    self.answers.append(answer.body)
                await asyncio.sleep(PAUSE_SECONDS)
