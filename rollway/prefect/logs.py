"""Run logs: changes while waiting, and our own errors once and without a traceback."""

import logging
from collections.abc import Awaitable, Callable

from prefect.logging import get_run_logger

from rollway.errors import RollwayError


def log_changes(what: str) -> Callable[[str, float], Awaitable[None]]:
    """Return a progress callback that logs the state of a wait whenever it changes."""
    logger, last = get_run_logger(), ""

    async def on_progress(state: str, waited_seconds: float) -> None:
        nonlocal last
        if state != last:
            logger.info("%s, after %.0f s: %s", what, waited_seconds, state)
            last = state

    return on_progress


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
