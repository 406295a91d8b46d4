"""Orders of people: one write into the record, whoever else writes at the same time."""

from collections.abc import Callable
from typing import Any

import pytest

from rollway.azure.abort import AbortResult
from rollway.azure.steering import MOST_TRIES, abort_canary, give_command
from rollway.errors import Busy, ConfigurationError
from rollway.rollout.entries import Command, Order
from rollway.rollout.record import COMMAND, LEASE, PAUSED, VERSION, EndpointRecord
from rollway.rollout.state import EndpointState
from tests.support.builders import Clock
from tests.support.fake_azure import THEIRS, FakeAzure, run

PERSON = "person/1"  # the attempt of the run that gives an order


def command(order: Order, reason: str = "") -> Command:
    return Command(order=order, by="ann", at="2026-01-02T03:04:05.678+00:00", reason=reason)


def give(azure: FakeAzure, order: Order, reason: str = "") -> EndpointState:
    return run(give_command(azure.session, "diabetes", command(order, reason), clock=Clock()))


def promoted_green(record: EndpointRecord) -> EndpointRecord:
    """A canary at 10 % that passed its smoke test."""
    return record.moved(THEIRS, {"blue": 90, "green": 10}, {"blue": 100}).tested({"blue": 90, "green": 10})


@pytest.fixture
def canary(azure: FakeAzure) -> FakeAzure:
    """`green` is a canary that nobody works on; the endpoint is paused for it."""
    azure.set_traffic(blue=90, green=10)
    azure.remember(lambda record: promoted_green(record).paused("canary at 10 %"))
    return azure


@pytest.mark.parametrize("order", [Order.PROMOTE, Order.ABORT, Order.HOLD])
def test_an_order_is_one_write_of_the_record_and_needs_no_lease(canary: FakeAzure, order: Order) -> None:
    canary.lease_to(THEIRS)

    after = give(canary, order, "the graphs look odd")

    assert canary.writes == [f"patch {COMMAND}"]
    assert after.record.command == command(order, "the graphs look odd")
    assert (after.record.command.sentence, canary.holder) == (f"{order.value} by ann: the graphs look odd", THEIRS)


def test_an_order_that_is_there_already_is_not_written_again(canary: FakeAzure) -> None:
    give(canary, Order.HOLD)
    canary.writes.clear()

    assert give(canary, Order.HOLD).record.command == command(Order.HOLD)
    assert canary.writes == []


def test_resume_ends_a_pause_and_takes_a_hold_back_in_one_write(canary: FakeAzure) -> None:
    canary.remember(lambda record: record.told(command(Order.HOLD)))

    after = give(canary, Order.RESUME)

    assert canary.writes == [f"patch {COMMAND} {PAUSED}"]
    assert (after.record.command, after.record.pause_reason) == (None, "")


def test_an_order_that_is_carried_out_at_once_is_not_given_again(canary: FakeAzure) -> None:
    patch = canary._patch_endpoint_tags
    canary.instead(patch_endpoint_tags=lambda name, tags: patch(name, {**tags, COMMAND: ""}))

    assert give(canary, Order.PROMOTE).record.command is None
    assert len(canary.writes) == 1


def test_an_order_waits_for_the_operation_that_is_running(canary: FakeAzure) -> None:
    canary.start_operation(lambda: None, requests=9)

    assert give(canary, Order.HOLD).record.command == command(Order.HOLD)


def test_an_order_is_given_again_if_a_rollout_writes_meanwhile(canary: FakeAzure) -> None:
    canary.start_operation(lambda: canary.lease_to(THEIRS), requests=5)

    after = give(canary, Order.HOLD)

    assert (after.record.command, canary.holder) == (command(Order.HOLD), THEIRS)
    assert canary.writes == [f"patch {COMMAND}"]


def test_if_others_write_all_the_time_the_order_is_not_given_and_that_is_an_error(canary: FakeAzure) -> None:
    read, numbers = canary._list, iter(range(1000))

    def read_and_meddle(name: str) -> Any:
        canary.lease_to(THEIRS, renewed_at=str(next(numbers)))
        return read(name)

    canary.instead(list=read_and_meddle)

    with pytest.raises(Busy) as caught:
        give(canary, Order.HOLD)

    assert caught.value.what == "the order could not be written to the endpoint 'diabetes'"
    assert (caught.value.retryable, canary.writes) == (True, [])
    assert canary.requests.count("list") == MOST_TRIES


@pytest.mark.parametrize(
    ("order", "what"),
    [(Order.PROMOTE, "there is nothing to promote"), (Order.RESUME, "there is nothing to resume")],
)
def test_an_order_without_a_meaning_is_refused(azure: FakeAzure, order: Order, what: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        give(azure, order)

    assert (caught.value.what, caught.value.exit_code, azure.writes) == (what, 2, [])


@pytest.mark.parametrize("order", list(Order))
def test_an_order_to_an_endpoint_that_does_not_exist_is_refused(order: Order) -> None:
    with pytest.raises(ConfigurationError) as caught:
        give(FakeAzure(), order)

    assert (caught.value.what, caught.value.hint) == (
        "there is no endpoint 'diabetes'",
        "`rollway status` lists those that there are; roll it out first",
    )


def abort(azure: FakeAzure, order: Order = Order.ABORT) -> AbortResult | None:
    return run(abort_canary(azure.session, azure.state, command(order), PERSON, clock=Clock()))


def test_a_canary_that_no_run_works_on_is_aborted_in_one_write(canary: FakeAzure) -> None:
    give(canary, Order.ABORT)
    canary.writes.clear()

    done = abort(canary)

    assert done is not None
    assert (done.cleaned_up, done.traffic_now) == (("traffic restored: blue 100 %",), {"blue": 100})
    assert canary.writes == ["put endpoint {'blue': 100}"]
    assert (canary.record.command, canary.holder) == (None, None)
    assert "green" in canary.online_deployments, "it is kept, to look into what is wrong with it"


def held(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS)


def not_moved(azure: FakeAzure) -> None:
    azure.set_traffic(blue=100)


@pytest.mark.parametrize("arrange", [held, not_moved])
def test_an_abort_is_left_to_the_run_that_works_and_where_nothing_is_moved_nothing_is_done(
    canary: FakeAzure, arrange: Callable[[FakeAzure], None]
) -> None:
    arrange(canary)

    assert abort(canary) is None
    assert canary.writes == []


@pytest.mark.parametrize("order", [Order.PROMOTE, Order.HOLD, Order.RESUME])
def test_no_other_order_moves_traffic(canary: FakeAzure, order: Order) -> None:
    assert abort(canary, order) is None
    assert canary.traffic == {"blue": 90, "green": 10}


def test_the_first_order_on_an_endpoint_without_a_record_begins_one(azure: FakeAzure) -> None:
    give(azure, Order.HOLD)

    assert azure.writes == [f"patch {COMMAND} {LEASE} {VERSION}"]
