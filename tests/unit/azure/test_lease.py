"""Who gets the lease on an endpoint and when, on a clock that moves only when somebody sleeps."""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from azure.core.exceptions import ServiceResponseError

from rollway.azure import lease
from rollway.azure.lease import LONGEST_INTERVAL_SECONDS
from rollway.azure.waiting import MOST_FAILED_WRITES
from rollway.errors import AnotherRollout, AzureUnavailable, DeadlineExceeded, NotFound
from rollway.rollout.record import LEASE
from rollway.rollout.state import EndpointState
from tests.support.builders import Clock
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, run

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
        "  why: another rollout holds it: theirs/1, last renewed 12:00:00\n"
        "  try: wait until that has ended, or find out what delays it, and run the rollout again"
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
    assert looks == ["another rollout holds it: theirs/1, last renewed 12:00:00", "an operation is running: Updating"]
    assert [seconds for _, seconds in seen] == sorted(seconds for _, seconds in seen)
    assert seen[0][1] == 0.0


def test_a_write_that_another_operation_refuses_is_made_again_after_reading(azure: FakeAzure) -> None:
    patch = azure._patch_endpoint_tags
    refusals: list[str] = []

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

    azure._patch_endpoint_tags = forget  # type: ignore[method-assign, assignment]
    clock = Clock()

    with pytest.raises(AnotherRollout) as caught:
        acquire(azure, clock, timeout_seconds=60)

    assert caught.value.why == f"the tag {LEASE} was written, but something removes it"
    assert len(azure.writes) < 60


class Outage(FakeAzure):
    """An Azure that cannot be read between two moments of the clock."""

    def __init__(self, clock: Clock, start: float, end: float) -> None:
        super().__init__()
        self.have_endpoint()
        self._clock, self._start, self._end = clock, start, end

    def _get_endpoint(self, name: str) -> Any:
        if self._start <= self._clock.seconds < self._end:
            raise ServiceResponseError("the connection was closed")
        return super()._get_endpoint(name)


@pytest.mark.parametrize("outage_seconds", [5, 10 * TTL_SECONDS])
def test_what_was_observed_before_azure_was_unavailable_counts_and_the_outage_does_not(outage_seconds: int) -> None:
    clock, start = Clock(), TTL_SECONDS / 2
    azure = Outage(clock, start, start + outage_seconds)
    azure.lease_to(THEIRS, ttl_seconds=TTL_SECONDS)

    acquire(azure, clock, timeout_seconds=100 * TTL_SECONDS)

    assert azure.holder == OURS
    waited = clock.seconds - outage_seconds
    assert TTL_SECONDS - LONGEST_INTERVAL_SECONDS <= waited <= TTL_SECONDS + 4 * LONGEST_INTERVAL_SECONDS


def test_an_azure_that_stays_away_ends_the_wait_with_the_deadline_and_is_told() -> None:
    clock, told = Clock(), list[str]()
    away = Outage(clock, 0, 10_000)

    async def on_progress(looks: str, _: float) -> None:
        told.append(looks)

    with pytest.raises(DeadlineExceeded) as caught:
        acquire(away, clock, timeout_seconds=60, on_progress=on_progress)

    assert caught.value.what == "the endpoint 'diabetes' did not become free within 60 s"
    assert caught.value.why == "cannot read the endpoint 'diabetes' (no connection: the connection was closed)"
    assert set(told) == {caught.value.why}
    assert 60 <= clock.seconds <= 60 + LONGEST_INTERVAL_SECONDS
