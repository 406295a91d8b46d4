"""A flow that has ended in this process counts as what it did, whether or not Prefect could record it."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from prefect import Flow, flow
from prefect.events.worker import EventsWorker
from prefect.exceptions import Pause

from rollway.errors import SmokeTestFailed
from rollway.prefect import ending
from rollway.prefect.ending import leave, run_here

AWAY = OSError("All connection attempts failed")
FAILED = SmokeTestFailed("the smoke test failed")


def roll_out(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[str], Coroutine[Any, Any, str]],
    *,
    starting: BaseException | None = None,
    recording: BaseException | None = None,
) -> str:
    """Run a flow with an engine that raises what Prefect's raises when it starts and when it records the end."""

    async def run(started: Flow[Any, Any], *args: Any) -> Any:
        if starting is not None:
            raise starting
        try:
            return await started.fn(*args)
        finally:
            if recording is not None:
                raise recording

    monkeypatch.setattr(Flow, "__call__", run)
    monkeypatch.setattr(ending, "get_logger", lambda _: logging.getLogger("run"))
    return asyncio.run(run_here(flow(work), "diabetes"))


async def succeed(rollout: str) -> str:
    return f"{rollout} is promoted"


async def fail(rollout: str) -> str:
    raise FAILED


async def break_down(rollout: str) -> str:
    raise ZeroDivisionError


async def pause(rollout: str) -> str:
    raise Pause


def test_a_flow_answers_with_its_result(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    assert roll_out(monkeypatch, succeed) == "diabetes is promoted"
    assert caplog.messages == []


def test_a_flow_whose_end_cannot_be_recorded_answers_with_its_result_and_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert roll_out(monkeypatch, succeed, recording=AWAY) == "diabetes is promoted"
    assert caplog.messages == ["The flow has ended, but Prefect could not record it: All connection attempts failed"]


@pytest.mark.parametrize("recording", [None, AWAY])
def test_a_rollout_that_failed_raises_its_own_error_whatever_prefect_raises_on_top(
    monkeypatch: pytest.MonkeyPatch, recording: BaseException | None
) -> None:
    with pytest.raises(SmokeTestFailed) as raised:
        roll_out(monkeypatch, fail, recording=recording)

    assert raised.value is FAILED


def test_an_error_of_the_start_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="All connection attempts failed"):
        roll_out(monkeypatch, succeed, starting=AWAY)


def test_an_unexpected_error_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        roll_out(monkeypatch, break_down)


def test_a_signal_of_prefect_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Pause):
        roll_out(monkeypatch, pause)


@pytest.mark.parametrize(("unsent", "expected"), [(set(), "exit 3"), ({"a queue"}, "exit at once 3")])
def test_a_process_ends_with_its_code_and_does_not_wait_for_queues_that_nobody_takes(
    monkeypatch: pytest.MonkeyPatch, unsent: set[str], expected: str
) -> None:
    class Ended(BaseException):
        pass

    def end(how: str) -> Callable[[int], None]:
        def ended(code: int) -> None:
            raise Ended(f"{how} {code}")

        return ended

    monkeypatch.setattr(EventsWorker, "drain_all", lambda **_: (set(), unsent))
    monkeypatch.setattr(sys, "exit", end("exit"))
    monkeypatch.setattr(os, "_exit", end("exit at once"))

    with pytest.raises(Ended, match=f"^{expected}$"):
        leave(3)
