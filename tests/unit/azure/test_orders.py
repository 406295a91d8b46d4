"""An order is one write: the abort of a canary, or the record."""

import pytest

from rollway.azure.steering import give_order
from rollway.rollout.entries import Command, End, Order
from rollway.rollout.record import COMMAND
from tests.support.builders import Clock
from tests.support.fake_azure import THEIRS, FakeAzure, run


def command(order: Order) -> Command:
    return Command(order=order, by="ann", at="2026-01-02T03:04:05.678+00:00", reason="wrong answers")


@pytest.fixture
def canary(azure: FakeAzure) -> FakeAzure:
    """`green` is a canary that nobody works on; the endpoint is paused for it."""
    share = {"blue": 90, "green": 10}
    azure.set_traffic(**share)
    azure.remember(lambda record: record.moved(THEIRS, share, {"blue": 100}).tested(share).paused("canary at 10 %"))
    return azure


def test_the_abort_of_a_canary_is_one_write_and_leaves_the_endpoint_to_people(canary: FakeAzure) -> None:
    _, done = run(give_order(canary.session, "diabetes", command(Order.ABORT), "person/1", clock=Clock()))

    assert done is not None
    assert done.traffic_now == {"blue": 100}
    assert canary.writes == ["put endpoint {'blue': 100}"]
    record = canary.record
    assert (record.command, record.pause_reason) == (None, "abort by ann: wrong answers")
    assert record.last is not None
    assert (record.last.outcome, record.last.attempt) == (End.ABORTED, "person/1")


def test_an_abort_that_a_run_carries_out_is_an_order_in_the_record(canary: FakeAzure) -> None:
    canary.lease_to(THEIRS)

    state, done = run(give_order(canary.session, "diabetes", command(Order.ABORT), "person/1", clock=Clock()))

    assert (state.record.command, done) == (command(Order.ABORT), None)
    assert canary.writes == [f"patch {COMMAND}"]


def test_a_hold_leaves_the_traffic_of_a_canary_as_it_is(canary: FakeAzure) -> None:
    state, done = run(give_order(canary.session, "diabetes", command(Order.HOLD), "person/1", clock=Clock()))

    assert (state.serving, state.record.command, done) == ({"blue": 90, "green": 10}, command(Order.HOLD), None)
