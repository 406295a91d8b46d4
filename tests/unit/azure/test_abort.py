"""An abort: traffic back to stable in one write with the record, then the candidate at fault goes; nothing else."""

from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError, ServiceRequestError

from rollway.azure import abort as azure_abort
from rollway.azure.abort import AbortResult
from rollway.errors import AzureUnavailable, DeadlineExceeded, NotFound, RequestRefused
from rollway.rollout.abort import Failure
from rollway.rollout.entries import Command, End, Ended, Failures, Lease, Order, Served
from rollway.rollout.record import CREATED_BY, LAST, LEASE, MOST_REJECTED, REJECTED, RUN, VERSION, EndpointRecord
from tests.support.builders import Clock, autoscale_document
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, refuse, run
from tests.support.fake_monitor import BLUE, GREEN

AT = "2026-01-02T03:04:05.678+00:00"
CLAIM = Lease(holder=OURS, ttl_seconds=300, renewed_at="then")
GREEN_STAYS = "online deployment green stays without traffic (Succeeded), to continue with"
RESTORED = "traffic restored: blue 100 %"
BACK = "put endpoint {'blue': 100}"
REJECTION = "diabetes:2/0123abcd"


def abort(azure: FakeAzure, attempt: str = OURS, clock: Clock | None = None, **failure: Any) -> AbortResult:
    failed = Failure(attempt=attempt, at=AT, **failure)
    return run(azure_abort.abort(azure.session, "diabetes", failed, clock=clock or Clock()))


@pytest.fixture
def moved(azure: FakeAzure) -> FakeAzure:
    """Our run has moved all traffic from `blue` to `green`, and has not tested it yet."""
    move(azure, {"green": 100}, {"blue": 100})
    return azure


def move(azure: FakeAzure, traffic: dict[str, int], stable: dict[str, int]) -> None:
    azure.set_traffic(**traffic)
    azure.remember(lambda record: record.moved(OURS, traffic, stable).claimed(CLAIM))


# What an abort brings back


def test_traffic_goes_back_to_stable_in_one_write_with_the_record(moved: FakeAzure) -> None:
    moved.remember(lambda record: record.told(Command(order=Order.ABORT, by="ann", at=AT)))

    done = abort(moved, rejects=REJECTION, delays="0123abcd")

    assert done == AbortResult(cleaned_up=(RESTORED,), kept=(GREEN_STAYS,), traffic_now={"blue": 100})
    assert (moved.writes, moved.traffic) == ([BACK], {"blue": 100})
    assert moved.record == EndpointRecord(
        moved_by=OURS,
        written_traffic={"blue": 100},
        stable_traffic={"blue": 100},
        last=Ended(outcome=End.ABORTED, attempt=OURS, at=AT),
        rejected=(REJECTION,),
        failures=Failures(content="0123abcd", count=1, at=AT),
    ), "the claim is given back and the order is carried out, too"
    assert moved.tags["team"] == "ml"


def test_the_candidate_at_fault_and_its_autoscale_settings_are_deleted_after_traffic_went_back(
    moved: FakeAzure,
) -> None:
    for target, name in ((BLUE, "of-blue"), (GREEN, "of-green")):
        moved.monitor.documents[name] = autoscale_document(target, name)

    done = abort(moved, candidate="green")

    assert done == AbortResult(cleaned_up=(RESTORED, "online deployment green deleted"), traffic_now={"blue": 100})
    assert moved.writes == [BACK, "delete green"]
    assert set(moved.monitor.documents) == {"of-blue"}


def test_a_first_rollout_takes_its_traffic_off_before_it_deletes() -> None:
    azure = FakeAzure()
    azure.have_endpoint(tags={CREATED_BY: OURS})
    azure.have("green", tags={CREATED_BY: OURS, RUN: OURS})
    move(azure, {"green": 100}, {})

    assert abort(azure, candidate="green") == AbortResult(
        cleaned_up=("traffic restored: none", "online deployment green deleted"), traffic_now={}
    )
    assert azure.writes == ["put endpoint {}", "delete green"]
    assert azure.endpoint is not None, "an endpoint costs nothing, and its keys may be in use"


def test_traffic_that_several_shared_goes_back_to_all_of_them(azure: FakeAzure) -> None:
    azure.have("red")
    move(azure, {"green": 10, "blue": 54, "red": 36}, {"blue": 60, "red": 40})

    assert abort(azure).cleaned_up == ("traffic restored: blue 60 %, red 40 %",)
    assert azure.traffic == {"blue": 60, "red": 40}


@pytest.mark.parametrize(
    ("undoes_canary", "writes", "traffic"),
    [(False, [f"patch {LAST} {LEASE}"], {"blue": 90, "green": 10}), (True, [BACK], {"blue": 100})],
)
def test_a_canary_that_passed_its_smoke_test_goes_only_if_that_is_asked_for(
    azure: FakeAzure, undoes_canary: bool, writes: list[str], traffic: dict[str, int]
) -> None:
    move(azure, {"blue": 90, "green": 10}, {"blue": 100})
    azure.remember(lambda record: record.tested({"blue": 90, "green": 10}))

    assert abort(azure, undoes_canary=undoes_canary, is_recorded=True).traffic_now == traffic
    assert (azure.writes, azure.holder) == (writes, None)


def test_traffic_that_passed_its_live_smoke_test_stays(moved: FakeAzure) -> None:
    assert abort(moved, keeps_traffic=True, candidate="green") == AbortResult(traffic_now={"green": 100})
    assert (moved.writes, moved.holder) == ([f"patch {LAST} {LEASE}"], None)


# What an abort leaves alone


def test_where_there_is_no_endpoint_there_is_nothing_to_undo() -> None:
    assert abort(FakeAzure()) == AbortResult(traffic_now=None)


def test_a_run_that_wrote_nothing_writes_nothing(azure: FakeAzure) -> None:
    assert abort(azure) == AbortResult(kept=(GREEN_STAYS,), traffic_now={"blue": 100})
    assert azure.writes == []


def test_a_run_that_is_recorded_leaves_its_end_in_the_record(azure: FakeAzure) -> None:
    assert abort(azure, is_recorded=True).traffic_now == {"blue": 100}

    assert azure.writes == [f"patch {LAST} {LEASE} {VERSION}"]
    assert azure.record.last == Ended(outcome=End.ABORTED, attempt=OURS, at=AT)


@pytest.mark.parametrize("holder", [THEIRS, "ours/2"], ids=["another run", "a later attempt"])
def test_whoever_holds_the_endpoint_now_is_not_disturbed_even_if_this_run_moved_the_traffic(
    moved: FakeAzure, holder: str
) -> None:
    moved.lease_to(holder)

    done = abort(moved, candidate="green", rejects=REJECTION, is_recorded=True)

    assert done == AbortResult(kept=(f"the rest is left to another rollout: {holder}",), traffic_now={"green": 100})
    assert (moved.writes, moved.holder) == ([], holder)


def test_what_an_earlier_attempt_of_the_run_left_is_undone(moved: FakeAzure) -> None:
    assert abort(moved, "ours/2").cleaned_up == (RESTORED,)
    assert (moved.traffic, moved.holder) == ({"blue": 100}, None)


def test_traffic_that_somebody_changed_after_the_rollout_moved_it_stays_and_the_claim_is_given_back(
    moved: FakeAzure,
) -> None:
    moved.have("red")
    moved.set_traffic(red=100)

    assert abort(moved) == AbortResult(kept=(GREEN_STAYS,), traffic_now={"red": 100})
    assert (moved.writes, moved.holder) == ([f"patch {LAST} {LEASE}"], None)


def test_where_nothing_is_left_to_return_to_the_traffic_stays(moved: FakeAzure) -> None:
    del moved.online_deployments["blue"]

    assert abort(moved, candidate="green") == AbortResult(traffic_now={"green": 100})
    assert "green" in moved.online_deployments


@pytest.mark.parametrize("candidate", ["blue", "by-hand", "gone"])
def test_what_serves_what_others_created_and_what_is_gone_is_not_deleted(azure: FakeAzure, candidate: str) -> None:
    azure.have("blue", tags={CREATED_BY: OURS, RUN: OURS})
    azure.have("by-hand", tags={"by": "hand"})

    assert abort(azure, candidate=candidate) == AbortResult(kept=(GREEN_STAYS,), traffic_now={"blue": 100})
    assert azure.writes == []


def test_what_the_run_created_and_is_not_at_fault_stays_and_is_told_and_what_others_left_is_not(
    azure: FakeAzure,
) -> None:
    azure.have("red", tags={CREATED_BY: THEIRS, RUN: THEIRS})

    assert abort(azure, "ours/2").kept == (GREEN_STAYS,)
    assert set(azure.online_deployments) == {"blue", "green", "red"}


# Others who write at the same time


def test_traffic_that_somebody_changes_during_the_abort_is_not_overwritten_and_not_told_as_restored(
    moved: FakeAzure,
) -> None:
    put = moved._put_endpoint

    def put_after_somebody(entity: Any) -> None:
        if moved.traffic == {"green": 100} and moved._running is None:
            moved.start_operation(lambda: moved.set_traffic(blue=50, green=50))
        put(entity)

    moved.instead(put_endpoint=put_after_somebody)

    assert abort(moved) == AbortResult(traffic_now={"blue": 50, "green": 50})
    assert (moved.traffic, moved.holder) == ({"blue": 50, "green": 50}, None)


def test_a_traffic_change_that_is_still_under_way_is_waited_for_and_undone(azure: FakeAzure) -> None:
    azure.start_operation(lambda: move(azure, {"green": 100}, {"blue": 100}))

    assert abort(azure).cleaned_up == (RESTORED,)
    assert azure.traffic == {"blue": 100}


def test_an_abort_during_which_another_rollout_takes_over_leaves_the_rest_to_it(moved: FakeAzure) -> None:
    moved.start_operation(lambda: moved.lease_to(THEIRS), requests=4)

    done = abort(moved, candidate="green")

    assert done == AbortResult(kept=(f"the rest is left to another rollout: {THEIRS}",), traffic_now={"green": 100})
    assert moved.writes == []


def test_a_candidate_that_still_comes_up_holds_up_the_traffic_and_nothing_else(moved: FakeAzure) -> None:
    moved.have("red", "Creating")
    read, clock = moved._list, Clock()

    def read_later(name: str) -> Any:
        if clock.seconds > 20:
            moved.have("red", "Succeeded")
        return read(name)

    moved.instead(list=read_later)

    assert abort(moved, clock=clock).cleaned_up == (RESTORED,)
    assert clock.seconds > 20


def test_where_no_traffic_is_to_be_restored_a_running_operation_is_not_waited_for(azure: FakeAzure) -> None:
    azure.have("green", "Creating", tags={CREATED_BY: OURS, RUN: OURS})
    clock = Clock()

    done = abort(azure, clock=clock, candidate="green", is_recorded=True)

    assert done.kept == ("green is Creating; the next run continues from there",)
    assert (azure.writes, clock.seconds) == ([], 0)


class Overslept(Clock):
    """A clock by which each sleep takes five minutes longer."""

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + 300)


def test_an_operation_that_never_ends_ends_the_abort_with_its_deadline(moved: FakeAzure) -> None:
    moved.have("red", "Updating")

    with pytest.raises(DeadlineExceeded) as caught:
        abort(moved, clock=Overslept())

    assert caught.value.what == "the abort took longer than 1800 s"
    assert (caught.value.where, caught.value.why) == ("endpoint diabetes", "red is Updating")
    assert caught.value.exit_code == 5


# Repeated, and cut off


def test_aborting_again_writes_nothing_and_counts_nothing_twice(moved: FakeAzure) -> None:
    abort(moved, candidate="green", rejects=REJECTION, delays="0123abcd", is_recorded=True)
    record = moved.record
    moved.writes.clear()

    again = abort(moved, candidate="green", rejects=REJECTION, delays="0123abcd", is_recorded=True)

    assert again == AbortResult(traffic_now={"blue": 100})
    assert (moved.writes, moved.record) == ([], record)


def test_an_abort_that_was_cut_off_after_restoring_goes_on_where_it_stopped(moved: FakeAzure) -> None:
    delete = moved._delete
    moved.instead(delete=refuse)
    refused = abort(moved, candidate="green")
    assert (refused.cleaned_up, len(refused.kept)) == ((RESTORED,), 1)
    assert refused.kept[0].startswith("delete online deployment green did not succeed: ")
    moved.instead(delete=delete)

    assert abort(moved, candidate="green").cleaned_up == ("online deployment green deleted",)
    assert moved.writes == [BACK, "delete green"]


@pytest.mark.parametrize("loss", ["lost_answers", "lost_requests"])
def test_a_restoration_of_which_the_answer_or_the_request_is_lost_is_made_once(moved: FakeAzure, loss: str) -> None:
    setattr(moved, loss, 1)

    assert abort(moved).cleaned_up == (RESTORED,)
    assert moved.writes == [BACK]


def test_reads_that_lag_behind_the_restoration_do_not_repeat_it(moved: FakeAzure) -> None:
    moved.lagging_reads = 5

    assert abort(moved).cleaned_up == (RESTORED,)
    assert moved.writes == [BACK]


def test_an_azure_that_is_unavailable_for_a_while_does_not_end_the_abort(moved: FakeAzure) -> None:
    read, failures = moved._list, [ServiceRequestError("no route"), ResourceNotFoundError("a list that lags")]

    def fail_first(name: str) -> Any:
        if failures:
            raise failures.pop()
        return read(name)

    moved.instead(list=fail_first)

    assert abort(moved).cleaned_up == (RESTORED,)


def vanish(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_vanish(entity: Any) -> None:
        put(entity)
        azure.start_operation(lambda: setattr(azure, "endpoint", None))

    azure.instead(put_endpoint=put_and_vanish)


def refuse_writes(azure: FakeAzure) -> None:
    azure.instead(put_endpoint=refuse)


def lose_requests(azure: FakeAzure) -> None:
    azure.lost_requests = 100


@pytest.mark.parametrize(
    ("arrange", "error", "what"),
    [
        (refuse_writes, RequestRefused, "cannot change the endpoint 'diabetes'"),
        (lose_requests, AzureUnavailable, "cannot change the endpoint 'diabetes'"),
        (vanish, NotFound, "the endpoint 'diabetes' has disappeared"),
    ],
)
def test_traffic_that_cannot_be_restored_is_an_error(
    moved: FakeAzure, arrange: Callable[[FakeAzure], None], error: type[Exception], what: str
) -> None:
    arrange(moved)

    with pytest.raises(error) as caught:
        abort(moved)

    assert str(caught.value).startswith(what)


# What automation learns from a failure


@pytest.mark.parametrize(
    ("known", "rejected"),
    [
        ((), (REJECTION,)),
        (("diabetes:1/aa",), ("diabetes:1/aa", REJECTION)),
        ((REJECTION, "diabetes:1/aa"), (REJECTION, "diabetes:1/aa")),
        (
            tuple(f"other:{number}" for number in range(MOST_REJECTED)),
            ("other:1", "other:2", "other:3", "other:4", REJECTION),
        ),
    ],
)
def test_what_failed_through_its_own_fault_is_rejected(
    azure: FakeAzure, known: tuple[str, ...], rejected: tuple[str, ...]
) -> None:
    azure.remember(lambda record: record.model_copy(update={"rejected": known}))

    assert abort(azure, rejects=REJECTION).kept == (GREEN_STAYS,)

    assert azure.record.rejected == rejected
    assert azure.writes == ([] if REJECTION in known else [f"patch {LAST} {REJECTED}"])


def test_failures_in_a_row_of_the_same_content_are_counted(azure: FakeAzure) -> None:
    for attempt in ("one/1", "two/1", "three/1"):
        abort(azure, attempt, delays="0123abcd", is_recorded=True)

    assert azure.record.failures == Failures(content="0123abcd", count=3, at=AT)


def test_a_run_that_has_promoted_before_it_failed_is_remembered_as_promoted(moved: FakeAzure) -> None:
    live = Served(online_deployment="green", model="diabetes:2")
    moved.remember(lambda record: record.promoted(OURS, "earlier", live, {"green": 100}))

    assert abort(moved, candidate="green") == AbortResult(traffic_now={"green": 100})

    assert (moved.writes, moved.holder) == ([f"patch {LEASE}"], None)
    assert moved.record.last == Ended(outcome=End.PROMOTED, attempt=OURS, at="earlier")
