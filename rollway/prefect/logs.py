"""Run logs: changes while waiting, and our own errors once and without a traceback."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from prefect.logging import get_run_logger

from rollway.errors import RollwayError
from rollway.terminal import pause_seconds


class ChangeLog:
    """A progress callback that logs the state of a wait whenever it changes; `repeat` logs that it still lasts.

    Args:
        what: What is waited for.
        allowed: How far the wait is, such as "1800 s are allowed"; shown in the repeated lines.
    """

    def __init__(self, what: str, allowed: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._allowed, self._clock = what, f" ({allowed})" if allowed else "", clock
        self._logger, self._state, self._started = get_run_logger(), "", clock()

    async def __call__(self, state: str, waited_seconds: float) -> None:
        if state != self._state:
            self._logger.info("%s, after %.0f s: %s", self._what, waited_seconds, state)
            self._state = state

    async def repeat(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Log again and again that the wait still lasts, until cancelled."""
        while True:
            waited = self._clock() - self._started
            await sleep(pause_seconds(waited))
            waited = self._clock() - self._started
            self._logger.info("%s, after %.0f s: still %s%s", self._what, waited, self._state, self._allowed)


class _ErrorsOnce(logging.Filter):
    """Log a RollwayError in full where the task failed, without a traceback, and briefly everywhere else.

    Its text already says what to do next. At debug level everything stays as Prefect writes it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if logging.getLogger("prefect").isEnabledFor(logging.DEBUG):
            return True
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, RollwayError):
            is_task = record.name == "prefect.task_runs"
            record.exc_info = None
            record.msg, record.args = error.with_log if is_task else error.what, ()
        message = record.getMessage()
        if message.startswith("Finished in state Failed(") and "\\n" in message:  # the state's text is a repr
            record.msg, record.args = message.partition("\\n")[0] + " …", ()
        return True


def shorten_error_logs() -> None:
    """Install the filter on the loggers of flow runs and task runs; safe to call again."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        if not any(isinstance(one, _ErrorsOnce) for one in logger.filters):
            logger.addFilter(_ErrorsOnce())
