"""Settings of all tests."""

import os
import signal

import pytest
from hypothesis import settings

from tests.support.matrix import IS_FULL

# A Python that the machine has not is replaced in the environments of the emulator: no test downloads one.
os.environ["UV_PYTHON_DOWNLOADS"] = "never"

# Who starts the tests in the background may ignore signals, and so would every process that a test starts and signals.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)

# `make test` tries the same examples of a property each time; `make matrix` tries more, and others each time.
settings.register_profile(
    "rollway",
    max_examples=500 if IS_FULL else 50,
    derandomize=not IS_FULL,
    deadline=None,  # a busy machine is no failure
    database=None,  # a test run leaves nothing behind
)
settings.load_profile("rollway")

pytest.register_assert_rewrite("tests.support.world", "tests.support.lab")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the end how many cells the matrices had, which each notes as its property `cells`."""
    reports = [one for outcome in ("passed", "failed") for one in terminalreporter.getreports(outcome)]
    for line in [value for report in reports for name, value in report.user_properties if name == "cells"]:
        terminalreporter.write_line(f"matrix: {line}")
