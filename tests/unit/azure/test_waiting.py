"""Waiting under a deadline, on a clock that moves only when somebody sleeps."""

import asyncio
from collections.abc import Iterable, Iterator

import pytest

from rollway.azure.state import CHANGE_ENDPOINT
from rollway.azure.waiting import (
    LAG_SECONDS,
    MOST_FAILED_WRITES,
    SHORTEST_INTERVAL_SECONDS,
    UNKNOWN,
    Lag,
    Usual,
    next_look,
    wait_for,
    write_when_free,
)
from rollway.errors import AzureUnavailable, Busy, Cause, DeadlineExceeded, NotFound
from tests.support.builders import Clock


class Readings:
    """Returns its readings in turn and repeats the last one; exceptions are raised."""

    def __init__(self, values: Iterable[str | Exception]) -> None:
        self._values: Iterator[str | Exception] = iter(values)
        self._last: str | Exception = "never"
        self.count = 0

    async def __call__(self) -> str:
        """Return the next reading."""
        self.count += 1
        self._last = next(self._values, self._last)
        if isinstance(self._last, Exception):
            raise self._last
        return self._last


def waited(readings: Readings, clock: Clock, timeout_seconds: float = 60.0) -> str:
    return asyncio.run(
        wait_for(readings, lambda one: one == "done", what="it", timeout_seconds=timeout_seconds, clock=clock)
    )


def test_an_operation_that_is_done_is_not_waited_for() -> None:
    clock = Clock()

    assert waited(Readings(["done"]), clock) == "done"
    assert clock.naps == []


def looks(duration: float, usual: Usual = UNKNOWN) -> list[float]:
    """Return the times of the looks at an operation of that duration; the last one sees its end."""
    times = [0.0]
    while times[-1] < duration:
        times.append(next_look(times[-1], usual))
    return times


def test_the_interval_grows_up_to_its_limit() -> None:
    clock = Clock()

    waited(Readings([*["busy"] * 200, "done"]), clock, timeout_seconds=10_000)

    assert clock.naps[0] == SHORTEST_INTERVAL_SECONDS
    assert clock.naps == pytest.approx(sorted(clock.naps))
    assert clock.naps[-1] == pytest.approx(7.5)


@pytest.mark.parametrize("duration", [0.01, 0.6, 3.0, 9.9, 20.0, 75.0, 390.0, 540.0, 1361.0])
def test_the_end_is_seen_at_most_a_twentieth_and_seven_and_a_half_seconds_late(duration: float) -> None:
    late = looks(duration)[-1] - duration

    assert 0 <= late <= min(max(0.5, 0.05 * duration), 7.5)


@pytest.mark.parametrize("duration", [0.01, 0.6, 3.0, 9.9, 20.0, 75.0, 359.0])
def test_an_end_before_its_usual_time_is_seen_at_most_as_late_as_it_took_and_forty_seconds(
    duration: float,
) -> None:
    late = looks(duration, Usual(360.0))[-1] - duration

    assert 0 <= late <= min(max(0.5, duration), 40.0)


@pytest.mark.parametrize(("duration", "most"), [(20.0, 8), (45.0, 11), (70.0, 15)])
def test_the_end_of_a_change_of_an_endpoint_is_seen_at_most_seven_and_a_half_seconds_late_in_few_looks(
    duration: float, most: int
) -> None:
    found = looks(duration, CHANGE_ENDPOINT)

    assert 0 <= found[-1] - duration <= 7.5
    assert len(found) <= most


@pytest.mark.parametrize("duration", [360.0, 390.0, 540.0, 1361.0])
def test_from_its_usual_time_on_the_end_is_seen_at_most_seven_and_a_half_seconds_late(duration: float) -> None:
    late = looks(duration, Usual(360.0))[-1] - duration

    assert 0 <= late <= 7.5


def test_a_known_usual_time_saves_more_than_half_of_the_looks() -> None:
    assert len(looks(540.0, Usual(360.0))) < len(looks(540.0)) / 2


@pytest.mark.parametrize("last_time", [75.0, 390.0, 540.0, 1361.0])
@pytest.mark.parametrize("share", [0.951, 1.0, 1.05])
def test_an_operation_that_takes_as_long_as_the_last_time_is_seen_at_most_two_and_a_half_seconds_late(
    last_time: float, share: float
) -> None:
    assert 0 <= looks(last_time * share, Usual.like(last_time, UNKNOWN))[-1] - last_time * share <= 2.5


def test_to_know_the_last_time_of_a_long_operation_saves_looks() -> None:
    assert len(looks(540.0, Usual.like(540.0, UNKNOWN))) < len(looks(540.0, Usual(360.0)))


def test_without_a_last_time_what_is_usual_for_all_counts() -> None:
    assert Usual.like(0, Usual(360.0)) == Usual(360.0)


def test_a_wait_looks_at_the_usual_time_even_if_the_interval_would_pass_it() -> None:
    clock = Clock()

    asyncio.run(
        wait_for(
            Readings([*["busy"] * 5, "done"]),
            lambda one: one == "done",
            what="it",
            timeout_seconds=60,
            usual=Usual(1.2),
            clock=clock,
        )
    )

    assert clock.naps == pytest.approx([0.5, 0.5, 0.2, 0.5, 0.5])


def test_the_deadline_ends_the_wait_on_time_with_the_last_state() -> None:
    clock = Clock()

    with pytest.raises(DeadlineExceeded) as caught:
        waited(Readings(["Creating", "Updating"]), clock, timeout_seconds=7.5)

    assert clock.seconds == pytest.approx(7.5)
    assert (caught.value.what, caught.value.why) == ("it took longer than 7.5 s", "it was last seen as: Updating")


def test_the_state_is_read_once_more_at_the_deadline() -> None:
    clock = Clock()
    readings = Readings(["busy", "done"])

    assert waited(readings, clock, timeout_seconds=0.1) == "done"
    assert readings.count == 2


def test_the_deadline_counts_from_the_start_of_the_operation() -> None:
    clock = Clock()

    with pytest.raises(DeadlineExceeded, match="it took longer than 60 s"):
        asyncio.run(
            wait_for(
                Readings(["busy"]), lambda _: False, what="it", timeout_seconds=60, since_seconds=57.5, clock=clock
            )
        )

    assert clock.seconds == pytest.approx(2.5)


def test_a_deadline_of_zero_still_reads_once() -> None:
    assert waited(Readings(["done"]), Clock(), timeout_seconds=0) == "done"


def test_an_unavailable_azure_does_not_end_the_wait() -> None:
    assert (
        waited(Readings([AzureUnavailable("throttled"), "busy", AzureUnavailable("gone"), "done"]), Clock()) == "done"
    )


def test_if_azure_stays_unavailable_the_deadline_ends_the_wait_with_the_reason() -> None:
    with pytest.raises(DeadlineExceeded, match="last seen as: cannot read the endpoint"):
        waited(Readings([AzureUnavailable("cannot read the endpoint")]), Clock())


def test_any_other_error_ends_the_wait_at_once() -> None:
    clock = Clock()

    with pytest.raises(NotFound):
        waited(Readings([NotFound("gone")]), clock)

    assert clock.naps == []


def test_progress_is_reported_after_every_read_even_a_failed_one() -> None:
    clock, seen = Clock(seconds=1000), []

    async def on_progress(looks: str, seconds: float) -> None:
        seen.append((looks, seconds))

    asyncio.run(
        wait_for(
            Readings(["a", AzureUnavailable("x", why="429"), "b", "done"]),
            lambda one: one == "done",
            what="it",
            timeout_seconds=60,
            on_progress=on_progress,
            clock=clock,
        )
    )

    assert seen == [("a", 0.0), ("x (429)", 0.5), ("b", 1.0), ("done", 1.5)]


def test_the_error_has_the_last_state_and_the_callers_hint() -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        asyncio.run(
            wait_for(
                Readings(["abc"]),
                lambda _: False,
                what="it",
                timeout_seconds=1,
                describe=str.upper,
                hint="be patient",
                clock=Clock(),
            )
        )

    assert (caught.value.why, caught.value.hint) == ("it was last seen as: ABC", "be patient")


def test_a_resource_that_stays_busy_is_reported_as_busy_and_any_other_wait_as_transient() -> None:
    async def write() -> None:
        raise Busy("taken")

    with pytest.raises(DeadlineExceeded) as busy:
        asyncio.run(write_when_free(write, what="endpoint x", clock=Clock()))
    with pytest.raises(DeadlineExceeded) as other:
        asyncio.run(wait_for(Readings(["a"]), lambda _: False, what="it", timeout_seconds=1, clock=Clock()))

    assert (busy.value.cause, other.value.cause) == (Cause.BUSY, Cause.TRANSIENT)


def test_a_write_is_retried_while_the_resource_is_busy_or_azure_is_unavailable() -> None:
    write = Readings([Busy("taken"), AzureUnavailable("throttled"), *[Busy("taken")] * 20, "written"])

    async def written() -> None:
        await write()

    asyncio.run(write_when_free(written, what="endpoint x", clock=Clock()))

    assert write.count == 23


def test_if_azure_stays_unavailable_a_write_fails_long_before_the_deadline() -> None:
    write, clock = Readings([Busy("taken"), AzureUnavailable("cannot move the traffic")]), Clock()

    async def written() -> None:
        await write()

    with pytest.raises(AzureUnavailable, match="cannot move the traffic") as caught:
        asyncio.run(write_when_free(written, what="endpoint x", clock=clock))

    assert not isinstance(caught.value, Busy)
    assert (write.count, clock.seconds < 5) == (1 + MOST_FAILED_WRITES, True)


def test_a_write_is_made_as_soon_as_the_other_operation_has_ended() -> None:
    write = Readings([Busy("cannot write"), Busy("cannot write"), "written"])

    async def written() -> None:
        await write()

    asyncio.run(write_when_free(written, what="endpoint x", clock=Clock()))

    assert write.count == 3


def test_a_reading_that_may_lag_is_believed_when_it_has_not_changed_for_long_enough() -> None:
    clock = Clock()
    lag = Lag(clock)

    def after(seconds: float, *, is_seen: bool) -> bool:
        asyncio.run(clock.sleep(seconds))
        return lag.is_over(is_seen=is_seen)

    assert not after(0, is_seen=True)
    assert not after(LAG_SECONDS - 1, is_seen=True)
    assert after(1, is_seen=True)
    assert not after(1, is_seen=False)
    assert not after(LAG_SECONDS, is_seen=True), "another reading begins it afresh"
    assert after(LAG_SECONDS, is_seen=True)
