"""The lease on an endpoint, on a clock that only moves when somebody sleeps: who gets it, when, and what it protects."""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rollway.azure import lease
from rollway.azure.lease import LONGEST_INTERVAL_SECONDS, MOST_FAILED_WRITES
from rollway.errors import AnotherRollout, AzureUnavailable, Busy, LeaseLost, NotFound
from rollway.rollout.state import LEASE, EndpointState
from tests.unit.azure.fake import OURS, THEIRS, FakeAzure, run
from tests.unit.builders import Clock

TTL_SECONDS = 60


class EventfulClock(Clock):
    """A clock on which things happen: `at` names the second, at or after which a call is made once."""

    def __init__(self, *at: tuple[float, Callable[[], object]]) -> None:
        super().__init__()
        self.due = list(at)

    async def sleep(self, seconds: float) -> None:
        """Lets time pass, and what is due happen."""
        await super().sleep(seconds)
        while self.due and self.due[0][0] <= self.seconds:
            self.due.pop(0)[1]()


async def ended(_: str) -> bool:
    """Every holder is known to have ended."""
    return True


def acquire(
    azure: FakeAzure,
    clock: Clock | None = None,
    *,
    run_id: str = OURS,
    timeout_seconds: float = 3600,
    has_ended: lease.HasEnded = lease.never_known,
    on_progress: Callable[[str, float], Awaitable[None]] | None = None,
) -> EndpointState:
    return run(
        lease.acquire(
            azure.session,
            "diabetes",
            run_id,
            timeout_seconds=timeout_seconds,
            has_ended=has_ended,
            on_progress=on_progress,
            clock=clock or Clock(),
        )
    )


def test_a_free_endpoint_is_taken_with_one_write_that_touches_nothing_else(azure: FakeAzure) -> None:
    assert azure.endpoint is not None
    azure.endpoint.mirror_traffic = {"green": 10}

    state = acquire(azure)

    assert azure.writes == [f"lease to {OURS}"]
    assert (azure.holder, azure.tags, azure.traffic) == (OURS, {"team": "ml"}, {"blue": 100})
    assert azure.endpoint.mirror_traffic == {"green": 10}
    assert (state.is_settled, state.tags[LEASE]) == (True, (azure.endpoint.tags or {})[LEASE])
    assert [one.name for one in state.online_deployments] == ["blue", "green"]


@pytest.mark.parametrize("tag", ["free", "something that no rollout wrote"])
def test_an_endpoint_that_was_given_back_is_free(azure: FakeAzure, tag: str) -> None:
    assert azure.endpoint is not None
    azure.endpoint.tags = {LEASE: tag}
    clock = Clock()

    acquire(azure, clock)

    assert azure.holder == OURS
    assert clock.seconds < 1


def test_the_tag_says_how_long_the_lease_is_valid(azure: FakeAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROLLWAY_LEASE_SECONDS", "77")

    acquire(azure)

    assert azure.endpoint is not None
    assert (azure.endpoint.tags or {})[LEASE].split(" ")[:2] == [OURS, "77"]


def test_a_lease_that_is_ours_already_is_not_written_again(held: FakeAzure) -> None:
    clock = Clock()

    acquire(held, clock)

    assert (held.writes, clock.naps) == ([], [])


def test_the_endpoint_is_ours_only_when_nothing_is_running_on_it(held: FakeAzure) -> None:
    held.have("red", "Creating")
    clock = EventfulClock((100, lambda: held.have("red")))

    state = acquire(held, clock)

    assert 100 <= clock.seconds <= 100 + LONGEST_INTERVAL_SECONDS
    assert all(one.is_settled for one in state.online_deployments)
    assert held.writes == []


def test_an_endpoint_that_is_gone_is_an_error_that_says_so() -> None:
    with pytest.raises(NotFound, match="the endpoint 'diabetes' is gone"):
        acquire(FakeAzure())


def test_a_strangers_lease_is_waited_for_until_it_has_not_changed_for_as_long_as_it_is_valid(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS, ttl_seconds=TTL_SECONDS)
    clock, taken = Clock(), []
    patch = azure._patch_endpoint_tags

    def noting(name: str, tags: Any) -> None:
        taken.append(clock.seconds)
        patch(name, tags)

    azure._patch_endpoint_tags = noting  # type: ignore[method-assign]

    acquire(azure, clock)

    assert azure.writes == [f"lease to {OURS}"]
    assert TTL_SECONDS <= taken[0] <= TTL_SECONDS + LONGEST_INTERVAL_SECONDS


@pytest.mark.parametrize("ttl_seconds", [1, 60, 200])
def test_how_long_a_lease_is_valid_is_for_its_holder_to_say(azure: FakeAzure, ttl_seconds: int) -> None:
    azure.lease_to(THEIRS, ttl_seconds=ttl_seconds)
    clock = Clock()

    acquire(azure, clock)

    assert ttl_seconds <= clock.seconds <= ttl_seconds + 2 * LONGEST_INTERVAL_SECONDS


@pytest.mark.parametrize(
    "happens",
    [
        lambda azure: azure.lease_to(THEIRS, TTL_SECONDS, renewed_at="later"),
        lambda azure: azure.lease_to("another/1", TTL_SECONDS),
        lambda azure: azure.start_operation(lambda: None),
        lambda azure: azure.have("red", "Updating"),
    ],
    ids=["a renewal", "another holder", "an operation on the endpoint", "an operation behind it"],
)
def test_every_sign_of_life_starts_the_time_again(azure: FakeAzure, happens: Callable[[FakeAzure], object]) -> None:
    azure.lease_to(THEIRS, ttl_seconds=TTL_SECONDS)
    clock = EventfulClock((TTL_SECONDS - 20, lambda: happens(azure)), (TTL_SECONDS - 1, lambda: azure.have("red")))

    acquire(azure, clock)

    assert clock.seconds >= TTL_SECONDS - 20 + TTL_SECONDS
    assert azure.writes == [f"lease to {OURS}"]


def test_a_holder_that_renews_is_never_robbed(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS, ttl_seconds=TTL_SECONDS)
    renewals = [
        (second, lambda second=second: azure.lease_to(THEIRS, TTL_SECONDS, renewed_at=str(second)))
        for second in range(20, 400, 20)
    ]

    with pytest.raises(AnotherRollout):
        acquire(azure, EventfulClock(*renewals), timeout_seconds=300)

    assert (azure.writes, azure.holder) == ([], THEIRS)


def test_a_lease_that_is_given_back_is_taken_at_the_next_look(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS, ttl_seconds=1000)
    clock = EventfulClock((50, lambda: setattr(azure.endpoint, "tags", {LEASE: "free"})))

    acquire(azure, clock)

    assert 50 <= clock.seconds <= 50 + 2 * LONGEST_INTERVAL_SECONDS


@pytest.mark.parametrize("renewed_at", ["1970-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00", "nonsense"])
def test_what_the_holders_clock_says_does_not_matter(azure: FakeAzure, renewed_at: str) -> None:
    azure.lease_to(THEIRS, TTL_SECONDS, renewed_at)
    clock = Clock(seconds=1e9)

    acquire(azure, clock)

    assert TTL_SECONDS <= clock.seconds - 1e9 <= TTL_SECONDS + 2 * LONGEST_INTERVAL_SECONDS


def test_two_renewals_in_the_same_second_are_two_signs_of_life(
    held: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(["12:00:00.100", "12:00:00.900"])
    asked = []
    monkeypatch.setattr(lease, "now", lambda timespec: (asked.append(timespec), next(times))[1])

    assert lease.renewal(OURS) != lease.renewal(OURS)
    assert asked == ["milliseconds", "milliseconds"]


def test_an_earlier_attempt_of_the_same_flow_run_is_followed_at_once(azure: FakeAzure) -> None:
    azure.lease_to("ours/1", ttl_seconds=TTL_SECONDS)
    clock = Clock()

    acquire(azure, clock, run_id="ours/2")

    assert (azure.holder, azure.writes) == ("ours/2", ["lease to ours/2"])
    assert clock.seconds < 1


def test_a_later_attempt_is_not_followed_by_an_earlier_one(azure: FakeAzure) -> None:
    azure.lease_to("ours/2", ttl_seconds=TTL_SECONDS)

    with pytest.raises(AnotherRollout):
        acquire(azure, run_id="ours/1", timeout_seconds=TTL_SECONDS - 10)

    assert azure.writes == []


def test_a_holder_that_is_known_to_have_ended_is_followed_at_once(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS, ttl_seconds=TTL_SECONDS)
    clock, asked = Clock(), []

    async def has_ended(holder: str) -> bool:
        asked.append(holder)
        return True

    acquire(azure, clock, has_ended=has_ended)

    assert (azure.holder, asked) == (OURS, [THEIRS])
    assert clock.seconds < 1


def test_also_what_an_ended_holder_has_left_running_is_waited_for(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS, ttl_seconds=TTL_SECONDS)
    azure.have("red", "Creating")
    clock = EventfulClock((40, lambda: azure.have("red", "Failed")))

    acquire(azure, clock, has_ended=ended)

    assert 40 <= clock.seconds <= 40 + 2 * LONGEST_INTERVAL_SECONDS
    assert azure.holder == OURS


def test_a_wait_that_takes_too_long_says_who_holds_it(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS, ttl_seconds=TTL_SECONDS, renewed_at="12:00:00")
    clock = Clock()

    with pytest.raises(AnotherRollout) as caught:
        acquire(azure, clock, timeout_seconds=30)

    assert str(caught.value) == (
        "the endpoint 'diabetes' did not become free within 30 s\n"
        "  where: endpoint diabetes\n"
        "  why: another rollout holds it: theirs/1, seen alive 12:00:00\n"
        "  try: wait until that has ended, or see what holds it up, and run the rollout again"
    )
    assert 30 <= clock.seconds <= 30 + LONGEST_INTERVAL_SECONDS
    assert azure.writes == []


def test_an_operation_that_does_not_end_ends_with_the_deadline_and_is_named(azure: FakeAzure) -> None:
    azure.have("red", "Creating")

    with pytest.raises(AnotherRollout) as caught:
        acquire(azure, timeout_seconds=60)

    assert caught.value.why == "an operation is running: red Creating"
    assert azure.writes == []


def test_every_look_is_told_with_the_seconds_so_far(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS, ttl_seconds=1, renewed_at="12:00:00")
    seen: list[tuple[str, float]] = []

    async def on_progress(looks: str, seconds: float) -> None:
        seen.append((looks, seconds))

    acquire(azure, on_progress=on_progress)

    looks = [next(group)[0] for _, group in itertools.groupby(seen, key=lambda one: one[0])]
    assert looks == ["another rollout holds it: theirs/1, seen alive 12:00:00", "an operation is running: Updating"]
    assert [seconds for _, seconds in seen] == sorted(seconds for _, seconds in seen)
    assert seen[0][1] == 0.0


def test_a_write_that_another_operation_refuses_is_made_again_after_reading(azure: FakeAzure) -> None:
    patch, refusals = azure._patch_endpoint_tags, []

    def refuse_once(name: str, tags: Any) -> None:
        if not refusals:
            refusals.append(name)
            azure.start_operation(lambda: azure.lease_to(THEIRS, ttl_seconds=30), reads=1)
        patch(name, tags)

    azure._patch_endpoint_tags = refuse_once  # type: ignore[method-assign]
    clock = Clock()

    acquire(azure, clock)

    assert azure.writes == [f"lease to {OURS}"]
    assert clock.seconds >= 30, "the lease that was written meanwhile counts"


def test_a_write_whose_answer_is_lost_is_found_to_be_made(azure: FakeAzure) -> None:
    azure.lost_answers = 1

    acquire(azure)

    assert (azure.writes, azure.holder) == ([f"lease to {OURS}"], OURS)


@pytest.mark.parametrize("lost", range(MOST_FAILED_WRITES))
def test_writes_that_do_not_arrive_are_made_again(azure: FakeAzure, lost: int) -> None:
    azure.lost_requests = lost

    acquire(azure)

    assert (azure.writes, azure.holder) == ([f"lease to {OURS}"], OURS)


def test_an_azure_that_takes_no_write_ends_it(azure: FakeAzure) -> None:
    azure.lost_requests = MOST_FAILED_WRITES

    with pytest.raises(AzureUnavailable, match="cannot write the lease on 'diabetes'"):
        acquire(azure)

    assert (azure.writes, azure.lost_requests) == ([], 0)


def test_an_azure_that_keeps_no_tag_of_ours_ends_with_the_deadline(azure: FakeAzure) -> None:
    def forget(*_: Any) -> None:
        azure.writes.append("forgotten")

    azure._patch_endpoint_tags = forget  # type: ignore[method-assign]
    clock = Clock()

    with pytest.raises(AnotherRollout) as caught:
        acquire(azure, clock, timeout_seconds=60)

    assert caught.value.why == f"the tag {LEASE} was written, but something removes it"
    assert len(azure.writes) < 60


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


def release(azure: FakeAzure, tags: dict[str, str] | None = None) -> bool:
    return run(lease.release(azure.session, "diabetes", OURS, tags, clock=Clock()))


def test_giving_back_frees_the_endpoint_and_keeps_its_tags(held: FakeAzure) -> None:
    assert release(held, {"new": "tag"})

    assert (held.holder, held.tags) == (None, {"team": "ml", "new": "tag"})
    assert held.writes == ["lease free new"]


def test_giving_back_what_was_given_back_writes_nothing(azure: FakeAzure) -> None:
    assert not release(azure, {"new": "tag"})
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
        while not condition():
            await asyncio.sleep(0)


def test_a_long_block_renews_the_lease_every_third_of_its_time_and_stops_after(held: FakeAzure) -> None:
    clock = RealNaps()

    async def block() -> None:
        async with lease.renewed(held.session, "diabetes", OURS, clock):
            for number in (1, 2):
                held._running = None
                clock.ticks.put_nowait(None)
                await until(lambda number=number: len(clock.naps) == number + 1)
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
