"""A flow that has ended in this process counts as what it did, whether or not Prefect could record it."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from prefect import Flow, flow
from prefect.client.schemas.objects import StateType
from prefect.events.worker import EventsWorker
from prefect.exceptions import Pause

from rollway.errors import SmokeTestFailed
from rollway.prefect import ending
from rollway.prefect.ending import ended, leave, run_here
from rollway.reports.rollout import RolloutOutcome
from tests.unit.reports.test_rollout import a_report

AWAY = OSError("All connection attempts failed")
FAILED = SmokeTestFailed("the smoke test failed")


def roll_out(
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[str], Coroutine[Any, Any, Any]],
    *,
    starting: BaseException | None = None,
    recording: BaseException | None = None,
) -> Any:
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


@pytest.mark.parametrize("outcome", RolloutOutcome)
def test_a_run_ends_completed_and_its_message_says_if_it_is_held(outcome: RolloutOutcome) -> None:
    report = a_report(outcome).model_copy(update={"end": "told to hold by ann"})

    state: Any = ended(report)

    if outcome is RolloutOutcome.HELD:
        assert (state.type, state.name, state.message) == (
            StateType.COMPLETED,
            "Completed",
            "held: told to hold by ann",
        )
        assert state.data is report
    else:
        assert state is report


def test_a_held_run_whose_end_cannot_be_recorded_answers_with_its_report(monkeypatch: pytest.MonkeyPatch) -> None:
    report = a_report(RolloutOutcome.HELD)

    async def hold(rollout: str) -> Any:
        return ended(report)

    assert roll_out(monkeypatch, hold, recording=AWAY) is report


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


@pytest.mark.parametrize(("value", "seconds"), [(None, 5), ("240", 120), ("soon", 0)])
def test_the_last_logs_and_events_have_half_of_the_time_of_a_call(
    monkeypatch: pytest.MonkeyPatch, value: str | None, seconds: float
) -> None:
    if value is not None:
        monkeypatch.setenv("ROLLWAY_PREFECT_SECONDS", value)
    limits: list[float] = []

    def drain(timeout: float) -> tuple[set[object], set[object]]:
        limits.append(timeout)
        return set(), set()

    monkeypatch.setattr(EventsWorker, "drain_all", drain)

    with pytest.raises(SystemExit):
        leave(3)

    assert limits == [seconds]
