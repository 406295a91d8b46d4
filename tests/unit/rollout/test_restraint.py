"""Restraint: what holds automation back."""

from datetime import datetime, timedelta

import pytest

from rollway.rollout.entries import Failures, Order
from rollway.rollout.follow import content_digest, rejection
from rollway.rollout.record import EndpointRecord
from rollway.rollout.restraint import MOST_FAILURES, restraint
from rollway.spec import Follow, FreezeWindow
from tests.unit.rollout.examples import EARLIER, NOW, at, order, spec_with

SPEC = spec_with()
V2 = "diabetes:2"


def failed(times: int, model: str = V2, last: datetime = NOW) -> EndpointRecord:
    """The record after a model version failed so many times for temporary reasons."""
    record = EndpointRecord()
    for _ in range(times):
        record = record.failed(content_digest(model, SPEC), at(last))
    return record


def test_nothing_holds_automation_back_on_a_new_endpoint() -> None:
    assert restraint(SPEC, V2, EndpointRecord(), NOW) == ""
    assert restraint(SPEC, None, EndpointRecord(), NOW) == ""


def test_a_pause_holds_it_back_until_a_person_resumes() -> None:
    paused = EndpointRecord().paused("rolled back to blue")

    assert restraint(SPEC, V2, paused, NOW) == "it is paused: rolled back to blue"
    assert restraint(SPEC, V2, paused.told(order(Order.RESUME, NOW)), NOW) == ""


def test_a_hold_holds_it_back_until_a_person_resumes() -> None:
    held = EndpointRecord().told(order(Order.HOLD, EARLIER))

    assert restraint(SPEC, V2, held, NOW) == "it is held: hold by ann: because"
    assert restraint(SPEC, V2, held.told(order(Order.RESUME, NOW)), NOW) == ""


@pytest.mark.parametrize("word", [Order.PROMOTE, Order.ABORT])
def test_an_order_to_one_rollout_does_not_hold_back_the_next_one(word: Order) -> None:
    assert restraint(SPEC, V2, EndpointRecord().told(order(word, EARLIER)), NOW) == ""


def test_a_freeze_window_holds_it_back_until_its_end() -> None:
    frozen = spec_with({"follow": Follow(freeze=(FreezeWindow(days=("fri",), start="11:00"),))})

    assert restraint(frozen, V2, EndpointRecord(), NOW) == "no automatic rollouts in fri 11:00 to 24:00 UTC"
    assert restraint(frozen, V2, EndpointRecord(), NOW + timedelta(hours=12)) == ""


def test_a_rejected_version_is_not_tried_again_with_the_same_folder() -> None:
    rejected = EndpointRecord().rejecting(rejection(V2, SPEC))

    assert restraint(SPEC, V2, rejected, NOW) == (
        "diabetes:2 was rejected: it failed through its own fault; change the folder, or name the version"
    )
    assert restraint(SPEC, "diabetes:3", rejected, NOW) == ""


def test_a_changed_folder_gives_a_rejected_version_another_chance() -> None:
    rejected = EndpointRecord().rejecting(rejection(V2, SPEC))

    assert restraint(spec_with(code_sha256="beef" * 16), V2, rejected, NOW) == ""


@pytest.mark.parametrize(
    ("times", "minutes"), [(1, 10), (2, 20), (3, 40), (4, 80)], ids=["once", "twice", "three times", "four times"]
)
def test_after_a_temporary_failure_it_is_tried_again_after_a_distance_that_grows(times: int, minutes: int) -> None:
    due = NOW + timedelta(minutes=minutes)

    before = restraint(SPEC, V2, failed(times), due - timedelta(seconds=1))

    how_often = "once" if times == 1 else f"{times} times"
    assert before == f"it failed {how_often} for a temporary reason; the next try is due at {due:%H:%M:%S} UTC"
    assert restraint(SPEC, V2, failed(times), due) == ""


def test_after_five_temporary_failures_a_person_must_look() -> None:
    assert MOST_FAILURES == 5
    assert restraint(SPEC, V2, failed(5), NOW + timedelta(days=365)) == (
        f"it failed 5 times for temporary reasons, last at {at(NOW)}; a person must look"
    )


def test_failures_count_for_one_version_with_one_folder() -> None:
    five = failed(5)

    assert restraint(SPEC, "diabetes:3", five, NOW) == ""
    assert restraint(spec_with(code_sha256="beef" * 16), V2, five, NOW) == ""
    assert five.failed(content_digest("diabetes:3", SPEC), at(NOW)).failures == Failures(
        content=content_digest("diabetes:3", SPEC), count=1, at=at(NOW)
    )


@pytest.mark.parametrize(
    "last",
    ["yesterday", "", "2026-01-02T12:00:00", "9999-12-31T23:59:59+00:00"],
    ids=["words", "nothing", "no zone", "the last second"],
)
def test_a_time_that_rollway_did_not_write_holds_nothing_back(last: str) -> None:
    record = EndpointRecord(failures=Failures(content=content_digest(V2, SPEC), count=1, at=last))

    assert restraint(SPEC, V2, record, NOW) == ""


def test_no_number_of_failures_that_somebody_writes_is_an_error() -> None:
    for count in (0, 10**6):
        record = EndpointRecord(failures=Failures(content=content_digest(V2, SPEC), count=count, at=at(NOW)))
        assert restraint(SPEC, V2, record, NOW)
