"""The arrows of a run's graph: from each task to those that come directly after it."""

from uuid import UUID


class Arrows:
    """The order in which the tasks of a run start and end.

    Prefect would draw an arrow from each task whose result, or any part of it, is an argument: more than anybody can
    read, and none between two moves.
    """

    def __init__(self) -> None:
        self._last: frozenset[UUID] = frozenset()  # they have ended, and nothing that came after them has
        self._sources: dict[UUID, frozenset[UUID]] = {}

    @property
    def sources(self) -> frozenset[UUID]:
        """The tasks that a task which starts now comes directly after."""
        return self._last

    def start(self, task: UUID, sources: frozenset[UUID]) -> None:
        """Take in that a task has started, after these."""
        self._sources[task] = sources

    def end(self, task: UUID) -> None:
        """Take in that a task, or one try of it, has ended."""
        self._last = self._last - self._sources.get(task, frozenset()) | {task}
