"""Memory and processor time of groups of processes, each with everything that they started."""

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Self

import psutil

from tests.support.processes import family

BETWEEN_SECONDS = 1.0


class Meter:
    """Looks at groups of processes each second, while its block lasts.

    Args:
        groups: Returns the ids of the first processes of each group; their descendants count with them.

    Attributes:
        peak_megabytes: The largest memory of each group at one time, in MB of 10^6 bytes; memory that processes share
            counts once (PSS).
        most_processes: The largest number of processes of each group at one time.
    """

    def __init__(self, groups: Callable[[], Mapping[str, Iterable[int]]]) -> None:
        self._groups = groups
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._cpu: defaultdict[str, dict[tuple[int, float], float]] = defaultdict(dict)
        self._before: dict[tuple[int, float], float] = {}
        self.peak_megabytes: Counter[str] = Counter()
        self.most_processes: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._look()
        self._before = {one: seconds for group in self._cpu.values() for one, seconds in group.items()}
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def cpu_seconds(self, group: str) -> float:
        """Return the processor time of a group since the block began; a process's last second may be missing."""
        return sum(seconds - self._before.get(one, 0.0) for one, seconds in self._cpu[group].items())

    def _run(self) -> None:
        while not self._ended.wait(BETWEEN_SECONDS):
            self._look()

    def _look(self) -> None:
        for group, firsts in self._groups().items():
            found = [process for first in firsts for process in family(first)]
            bytes_used = 0
            for process in found:
                with contextlib.suppress(psutil.Error):  # it has ended
                    times = process.cpu_times()
                    self._cpu[group][process.pid, process.create_time()] = times.user + times.system
                    bytes_used += process.memory_full_info().pss
            self.peak_megabytes[group] = max(self.peak_megabytes[group], round(bytes_used / 1e6))
            self.most_processes[group] = max(self.most_processes[group], len(found))
