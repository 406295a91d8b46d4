"""Having the lease on an endpoint: proving it, keeping it alive and giving it back."""

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from rollway.azure import lease
from rollway.errors import Busy, LeaseLost
from rollway.rollout.record import LEASE, PAUSED, EndpointRecord
from tests.support.builders import Clock
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, run


def pause(record: EndpointRecord) -> EndpointRecord:
    return record.paused("why")


def test_one_that_has_expired_but_was_not_taken_is_still_its_holders(azure: FakeAzure) -> None:
    azure.lease_to(OURS, ttl_seconds=1, renewed_at="1970-01-01T00:00:00+00:00")

    assert run(lease.require(azure.session, "diabetes", OURS)).name == "diabetes"


def test_the_lease_of_another_attempt_is_not_ours(azure: FakeAzure) -> None:
    azure.lease_to("ours/2", renewed_at="12:00:00")

    with pytest.raises(LeaseLost) as caught:
        run(lease.require(azure.session, "diabetes", "ours/1"))

    assert str(caught.value) == (
        "another rollout took over the endpoint 'diabetes'\n"
        "  where: endpoint diabetes, tag rollway:lease\n"
        "  why: it is held by ours/2 since 12:00:00\n"
        "  try: nothing more was written; look at the other run, its outcome stands"
    )


@pytest.mark.parametrize("tags", [{}, {LEASE: "free"}], ids=["vanished", "given back"])
def test_no_record_is_written_without_a_lease(azure: FakeAzure, tags: dict[str, str]) -> None:
    azure.have_endpoint(tags=tags)

    with pytest.raises(LeaseLost) as caught:
        run(lease.write_record(azure.session, "diabetes", OURS, pause, clock=Clock()))

    assert caught.value.why == "its lease was given back or removed"
    assert azure.writes == []


def release(azure: FakeAzure, change: lease.ChangeRecord = lambda record: record) -> bool:
    return run(lease.release(azure.session, "diabetes", OURS, change, clock=Clock()))


def test_giving_back_frees_the_endpoint_and_keeps_its_tags(held: FakeAzure) -> None:
    assert release(held, pause)

    assert (held.holder, held.tags) == (None, {"team": "ml", PAUSED: "why"})
    assert held.writes == [f"lease free {PAUSED}"]


def test_giving_back_what_was_given_back_writes_nothing(azure: FakeAzure) -> None:
    assert not release(azure, pause)
    assert azure.writes == []


def test_there_is_nothing_to_give_back_where_there_is_no_endpoint() -> None:
    assert not release(FakeAzure())


def test_anothers_lease_is_not_given_back(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS)

    with pytest.raises(LeaseLost, match="another rollout took over"):
        release(azure)

    assert (azure.writes, azure.holder) == ([], THEIRS)


def test_giving_back_waits_for_the_operation_on_the_endpoint(held: FakeAzure) -> None:
    held.start_operation(lambda: held.set_traffic(green=100))

    assert release(held)
    assert (held.holder, held.traffic) == (None, {"green": 100})


def test_giving_back_while_azure_refuses_is_an_error_that_can_be_tried_again(held: FakeAzure) -> None:
    patch = held._patch_endpoint_tags

    def refuse(name: str, tags: Any) -> None:
        held.start_operation(lambda: None)
        patch(name, tags)

    held._patch_endpoint_tags = refuse  # type: ignore[method-assign]

    with pytest.raises(Busy):
        release(held)

    assert held.holder == OURS


class RealNaps(Clock):
    """A clock whose sleeps let the others run, and end only when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks: asyncio.Queue[None] = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        """Waits for the next tick."""
        self.naps.append(seconds)
        await self.ticks.get()
        self.seconds += seconds


async def until(condition: Callable[[], bool]) -> None:
    """Lets the others run until it is so; fails after some seconds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (what is waited for is somebody else's)
            await asyncio.sleep(0)


def has_napped(clock: Clock, times: int) -> bool:
    return len(clock.naps) == times


def test_a_long_block_renews_the_lease_every_third_of_its_time_and_stops_after(held: FakeAzure) -> None:
    clock = RealNaps()

    async def block() -> None:
        async with lease.renewed(held.session, "diabetes", OURS, clock):
            for number in (1, 2):
                held._running = None
                clock.ticks.put_nowait(None)
                await until(functools.partial(has_napped, clock, number + 1))
        clock.ticks.put_nowait(None)
        await asyncio.sleep(0)

    run(block())

    assert held.writes == [f"lease to {OURS}"] * 2
    assert set(clock.naps) == {100.0}
    assert clock.ticks.qsize() == 1, "nobody waits for the next tick any more"


def test_a_renewal_that_meets_another_operation_or_no_azure_ends_nothing(held: FakeAzure) -> None:
    clock = RealNaps()

    async def block() -> str:
        async with lease.renewed(held.session, "diabetes", OURS, clock):
            held.start_operation(lambda: None, reads=100)
            clock.ticks.put_nowait(None)
            await until(lambda: len(clock.naps) == 2)
            held._running, held.lost_requests = None, 1
            clock.ticks.put_nowait(None)
            await until(lambda: len(clock.naps) == 3)
            clock.ticks.put_nowait(None)
            await until(lambda: len(clock.naps) == 4)
            return "its result"

    assert run(block()) == "its result"
    assert held.writes == [f"lease to {OURS}"]


def test_a_loss_during_a_block_is_found_by_the_next_write_and_not_written_over(held: FakeAzure) -> None:
    clock = RealNaps()

    async def block() -> str:
        async with lease.renewed(held.session, "diabetes", OURS, clock):
            held.lease_to(THEIRS)
            clock.ticks.put_nowait(None)
            await until(lambda: len(asyncio.all_tasks()) == 1)  # the renewing has ended
            return "its result"

    assert run(block()) == "its result"
    assert (held.writes, held.holder) == ([], THEIRS)
    with pytest.raises(LeaseLost):
        run(lease.require(held.session, "diabetes", OURS))


def test_an_endpoint_that_vanishes_during_a_block_does_not_hide_the_error_of_the_block(held: FakeAzure) -> None:
    clock = RealNaps()

    async def block() -> None:
        async with lease.renewed(held.session, "diabetes", OURS, clock):
            held.endpoint = None
            clock.ticks.put_nowait(None)
            await until(lambda: len(asyncio.all_tasks()) == 1)
            raise ValueError("of the block")

    with pytest.raises(ValueError, match="of the block"):
        run(block())


def test_a_renewal_that_is_under_way_when_the_block_ends_is_waited_for(held: FakeAzure) -> None:
    clock, patch = RealNaps(), held._patch_endpoint_tags
    entered, may_write = threading.Event(), threading.Event()

    def slow(name: str, tags: Any) -> None:
        entered.set()
        assert may_write.wait(30)
        patch(name, tags)

    held._patch_endpoint_tags = slow  # type: ignore[method-assign]

    async def block() -> list[str]:
        leaving = asyncio.Event()

        async def inside() -> None:
            async with lease.renewed(held.session, "diabetes", OURS, clock):
                clock.ticks.put_nowait(None)
                await until(entered.is_set)
                leaving.set()

        task = asyncio.create_task(inside())
        await leaving.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done(), "a thread that still writes cannot be cancelled"
        may_write.set()
        await task
        return list(held.writes)

    assert run(block()) == [f"lease to {OURS}"]


def test_two_renewals_in_the_same_second_are_two_signs_of_life(
    held: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(["12:00:00.100", "12:00:00.900"])
    asked: list[str] = []

    def now(timespec: str) -> str:
        asked.append(timespec)
        return next(times)

    monkeypatch.setattr(lease, "now", now)

    assert lease.new_lease(OURS) != lease.new_lease(OURS)
    assert asked == ["milliseconds", "milliseconds"]
