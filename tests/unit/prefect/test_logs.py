"""The log of a wait."""

import asyncio
import logging

import pytest

from rollway.prefect import logs
from rollway.prefect.logs import ChangeLog
from tests.support.builders import Clock


@pytest.fixture(autouse=True)
def logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The logger of a run, outside of a run."""
    monkeypatch.setattr(logs, "get_run_logger", lambda: logging.getLogger("a run"))


def test_a_state_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def wait() -> None:
        log = ChangeLog("blue")
        for state, waited in (("Creating", 0.0), ("Creating", 2.0), ("Succeeded", 9.0)):
            await log(state, waited)

    asyncio.run(wait())

    assert caplog.messages == ["blue, after 0 s: Creating", "blue, after 9 s: Succeeded"]


def test_a_long_wait_is_logged_again_and_again_with_what_is_allowed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock = Clock()

    async def sleep(seconds: float) -> None:
        if clock.seconds + seconds > 70:
            raise asyncio.CancelledError
        await clock.sleep(seconds)

    async def wait() -> None:
        log = ChangeLog("blue", "1800 s are allowed", clock.now)
        await log("Creating", 0.0)
        await log.repeat(sleep)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(wait())

    assert caplog.messages[:3] == [
        "blue, after 0 s: Creating",
        "blue, after 5 s: still Creating (1800 s are allowed)",
        "blue, after 10 s: still Creating (1800 s are allowed)",
    ]
    assert len(caplog.messages) == 14
