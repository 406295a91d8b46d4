"""Traffic and the record: written together, only if the endpoint is still as decided, waited for, and read back."""

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError

from rollway.azure.endpoints import write_endpoint
from rollway.azure.waiting import LAG_SECONDS, MOST_FAILED_WRITES
from rollway.errors import AzureUnavailable, Cause, DeadlineExceeded, ForeignChange, RequestRefused
from rollway.rollout.entries import Command, Lease, Order
from rollway.rollout.moves import Kind, Move
from rollway.rollout.record import LEASE, PAUSED, RUN, STABLE_TRAFFIC, VERSION, WRITTEN_TRAFFIC
from rollway.rollout.state import EndpointState
from tests.support.builders import Clock
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, answer_with_404_once, refuse, run

TO_GREEN = "put endpoint {'green': 100}"
CLAIM = Lease(holder=OURS, ttl_seconds=300, renewed_at="now")


def to_green(azure: FakeAzure, name: str = "green") -> Move:
    """The move of all traffic from blue to green."""
    traffic = {name: 100}
    record = azure.record.moved(OURS, traffic, {"blue": 100}).claimed(CLAIM)
    return Move(kind=Kind.MOVE_TRAFFIC, target=name, why="it answers", traffic=traffic, record=record)


def pause(azure: FakeAzure) -> Move:
    """A move that writes the record alone."""
    return Move(kind=Kind.RECORD, target="diabetes", why="somebody said so", record=azure.record.paused("a reason"))


def write(azure: FakeAzure, move: Move, before: EndpointState | None = None, clock: Clock | None = None) -> bool:
    return run(write_endpoint(azure.session, before or azure.state, move, clock or Clock()))


def test_traffic_the_record_and_the_claim_are_one_write(azure: FakeAzure) -> None:
    assert write(azure, to_green(azure))

    assert (azure.writes, azure.traffic, azure.holder) == ([TO_GREEN], {"green": 100}, OURS)
    assert azure.tags == {"team": "ml", STABLE_TRAFFIC: "blue=100", WRITTEN_TRAFFIC: "green=100", RUN: OURS}


def test_the_record_alone_leaves_everything_else_as_it_is(azure: FakeAzure) -> None:
    assert write(azure, pause(azure))

    assert (azure.writes, azure.traffic) == ([f"patch {LEASE} {PAUSED} {VERSION}"], {"blue": 100})
    assert azure.tags == {"team": "ml", PAUSED: "a reason"}


def test_a_claim_that_is_given_back_is_free_and_not_missing(azure: FakeAzure) -> None:
    azure.lease_to(OURS)
    move = Move(kind=Kind.RECORD, target="diabetes", why="it ended", record=azure.record.released())

    assert write(azure, move)

    assert azure.endpoint is not None
    assert ((azure.endpoint.tags or {})[LEASE], azure.holder) == ("free", None)


def test_a_write_is_waited_for_even_if_reads_lag_behind_it(azure: FakeAzure) -> None:
    before, clock = azure.state, Clock()
    azure.lagging_reads = 4

    assert write(azure, to_green(azure), before, clock)

    assert azure.state.traffic == {"blue": 0, "green": 100}, "the next decision sees it"
    assert 0 < clock.seconds < LAG_SECONDS


def test_a_record_that_no_read_shows_is_waited_for_a_minute_and_no_longer(azure: FakeAzure) -> None:
    before, clock = azure.state, Clock()
    azure.lagging_reads = 10_000

    assert write(azure, pause(azure), before, clock)

    assert LAG_SECONDS <= clock.seconds < 2 * LAG_SECONDS


def claim_by_them(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS)


def traffic_by_hand(azure: FakeAzure) -> None:
    azure.set_traffic(blue=50, green=50)


def an_order(azure: FakeAzure) -> None:
    azure.remember(lambda record: record.told(Command(order=Order.HOLD, by="ann", at="then")))


@pytest.mark.parametrize("meddle", [claim_by_them, traffic_by_hand, an_order])
@pytest.mark.parametrize("decided", [to_green, pause])
def test_an_endpoint_that_is_no_longer_as_the_decision_saw_it_is_not_written(
    azure: FakeAzure, decided: Callable[[FakeAzure], Move], meddle: Callable[[FakeAzure], None]
) -> None:
    before, move = azure.state, decided(azure)
    meddle(azure)
    traffic, record = azure.traffic, azure.record

    assert not write(azure, move, before)

    assert (azure.writes, azure.traffic, azure.record) == ([], traffic, record)


@pytest.mark.parametrize("meddle", [claim_by_them, traffic_by_hand, an_order])
def test_what_another_operation_does_while_it_holds_the_endpoint_is_not_overwritten(
    azure: FakeAzure, meddle: Callable[[FakeAzure], None]
) -> None:
    before, move = azure.state, to_green(azure)
    azure.start_operation(lambda: meddle(azure))

    assert not write(azure, move, before)

    assert azure.writes == []


def test_a_tag_that_somebody_else_sets_meanwhile_is_kept_and_does_not_hinder(azure: FakeAzure) -> None:
    before = azure.state
    assert azure.endpoint is not None
    azure.endpoint.tags = {"team": "ml", "cost-centre": "42"}

    assert write(azure, to_green(azure), before)

    assert azure.tags["cost-centre"] == "42"


@pytest.mark.parametrize("decided", [to_green, pause])
@pytest.mark.parametrize("loss", ["lost_answers", "lost_requests"])
def test_a_write_of_which_the_answer_or_the_request_is_lost_is_made_once_and_not_taken_for_a_foreign_one(
    azure: FakeAzure, decided: Callable[[FakeAzure], Move], loss: str
) -> None:
    before = azure.state
    setattr(azure, loss, 1)

    assert write(azure, decided(azure), before)

    assert len(azure.writes) == 1


def test_a_write_that_is_made_already_is_not_made_again(azure: FakeAzure) -> None:
    before, move = azure.state, to_green(azure)

    assert [write(azure, move, before) for _ in range(3)] == [True, True, True]
    assert azure.writes == [TO_GREEN]


def test_a_write_that_never_arrives_is_an_error_after_three_tries(azure: FakeAzure) -> None:
    before = azure.state
    azure.lost_requests = MOST_FAILED_WRITES

    with pytest.raises(AzureUnavailable) as caught:
        write(azure, to_green(azure), before)

    assert caught.value.what == "cannot change the endpoint 'diabetes'"
    assert (azure.writes, azure.traffic) == ([], {"blue": 100})


def test_an_endpoint_that_is_busy_is_tried_again_until_it_is_free(azure: FakeAzure) -> None:
    before = azure.state
    azure.start_operation(lambda: None, requests=9)

    assert write(azure, to_green(azure), before)

    assert azure.traffic == {"green": 100}


def test_an_endpoint_that_stays_busy_ends_with_the_deadline(azure: FakeAzure) -> None:
    before = azure.state
    azure.start_operation(lambda: None, requests=10_000)

    with pytest.raises(DeadlineExceeded) as caught:
        write(azure, to_green(azure), before)

    assert caught.value.what == "another operation on the endpoint diabetes took longer than 1800 s"
    assert (caught.value.cause, caught.value.exit_code, azure.traffic) == (Cause.BUSY, 5, {"blue": 100})


@pytest.mark.parametrize("decided", [to_green, pause])
def test_a_write_that_azure_refuses_is_an_error_at_once(azure: FakeAzure, decided: Callable[[FakeAzure], Move]) -> None:
    azure.instead(put_endpoint=refuse, patch_endpoint_tags=refuse)

    with pytest.raises(RequestRefused, match="cannot change the endpoint 'diabetes'") as caught:
        write(azure, decided(azure))

    assert "it says no" in str(caught.value)


@pytest.mark.parametrize("name", ["green", "Green"])
def test_what_gets_live_traffic_gets_no_mirror_traffic_any_more_and_others_keep_theirs(
    azure: FakeAzure, name: str
) -> None:
    assert azure.endpoint is not None
    azure.endpoint.mirror_traffic = {"green": 20, "red": 10}

    write(azure, to_green(azure, name))

    assert azure.endpoint.mirror_traffic == {"red": 10}


def test_a_record_alone_keeps_the_mirror_traffic(azure: FakeAzure) -> None:
    assert azure.endpoint is not None
    azure.endpoint.mirror_traffic = {"green": 20}

    write(azure, pause(azure))

    assert azure.endpoint.mirror_traffic == {"green": 20}


def test_traffic_that_is_not_what_was_written_is_a_foreign_change(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_meddle(entity: Any) -> None:
        put(entity)
        azure.start_operation(lambda: azure.set_traffic(red=100))

    azure.instead(put_endpoint=put_and_meddle)

    with pytest.raises(ForeignChange) as caught:
        write(azure, to_green(azure))

    assert caught.value.what == "the traffic of 'diabetes' is not what was written"
    assert caught.value.why == "wrote green 100 %, read back red 100 %"
    assert (caught.value.cause, caught.value.exit_code) == (Cause.CONFLICT, 3)
    assert str(caught.value.hint).startswith("find out who changed it")


def test_a_rollout_that_has_written_since_is_no_foreign_change_and_it_is_decided_again(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_before_another_rollout(entity: Any) -> None:
        put(entity)
        azure.end_operation()
        azure.start_operation(write_theirs)

    def write_theirs() -> None:
        azure.set_traffic(red=100)
        azure.remember(lambda record: record.moved(THEIRS, {"red": 100}, {"green": 100}))

    azure.instead(put_endpoint=put_before_another_rollout)

    assert not write(azure, to_green(azure))

    assert (azure.writes, azure.traffic) == ([TO_GREEN], {"red": 100})


def test_an_operation_that_ends_between_the_read_and_the_write_is_not_overwritten(azure: FakeAzure) -> None:
    before, read = azure.state, azure._get_endpoint
    azure.start_operation(lambda: azure.set_traffic(red=100), requests=2)

    def read_just_before_it_ends(name: str) -> Any:
        shown = read(name)
        azure._note("a request of somebody else")
        return shown

    azure.instead(get_endpoint=read_just_before_it_ends)

    assert not write(azure, to_green(azure), before)

    assert (azure.writes, azure.traffic) == ([], {"red": 100})


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_single_404_ends_no_write(azure: FakeAzure, after: int) -> None:
    before = azure.state
    answer_with_404_once(azure, "get_endpoint", after=after)

    assert write(azure, to_green(azure), before)

    assert azure.traffic == {"green": 100}


def test_single_404s_during_a_long_operation_do_not_mean_that_the_endpoint_is_gone(azure: FakeAzure) -> None:
    before, clock = azure.state, Clock()
    azure.duration = 60  # requests, so that it takes longer than reads lag
    get, times = azure._get_endpoint, [20, 20 + 2 * LAG_SECONDS]

    def get_or_not(name: str) -> Any:
        if times and clock.seconds > times[0]:
            times.pop(0)
            raise ResourceNotFoundError("no such endpoint")
        return get(name)

    azure.instead(get_endpoint=get_or_not)

    assert write(azure, to_green(azure), before, clock)
    assert (times, azure.traffic) == ([], {"green": 100})


def test_a_read_that_lags_at_the_start_does_not_shorten_the_wait_for_one_that_lags_at_the_end(azure: FakeAzure) -> None:
    before, clock = azure.state, Clock()
    azure.duration, azure.lagging_reads = 60, 1
    get = azure._get_endpoint

    def get_before_its_start(name: str) -> Any:
        found = get(name)
        if clock.seconds < 1:
            found._provisioning_state = "Succeeded"
        return found

    azure.instead(get_endpoint=get_before_its_start)

    assert write(azure, to_green(azure), before, clock)
    assert clock.seconds > LAG_SECONDS
