"""Pauses of the machine, which a test that measures a time takes off."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

TICK_SECONDS = 0.1
LONGEST_SECONDS = 1.0  # between two ticks on a machine that is only busy


class Stalls:
    """The moments, on the monotonic clock, at which this process was seen to run; a long gap is a pause."""

    def __init__(self, ticks: Sequence[float] = ()) -> None:
        self._ticks = list(ticks)

    def tick(self) -> None:
        """Note that the process runs."""
        self._ticks.append(time.monotonic())

    def seconds_between(self, begin: float, end: float) -> float:
        """Return how long the machine stood still between two moments."""
        gaps = [(before, after) for before, after in pairwise(self._ticks) if after - before > LONGEST_SECONDS]
        return sum(max(0.0, min(after, end) - max(before, begin)) for before, after in gaps)


@contextmanager
def watching_for_stalls() -> Iterator[Stalls]:
    """Watch until the block ends."""
    stalls, is_over = Stalls(), threading.Event()

    def watch() -> None:
        while not is_over.is_set():
            stalls.tick()
            is_over.wait(TICK_SECONDS)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield stalls
    is_over.set()
    thread.join()
