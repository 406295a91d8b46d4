"""An abort: traffic back, what is at fault deleted, the rest left for a retry, the lease given back; nothing else."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from rollway.azure import abort as azure_abort
from rollway.azure.abort import AbortResult
from rollway.azure.endpoints import move_traffic
from rollway.errors import ForeignChange, RequestRefused
from rollway.rollout.record import (
    CREATED_BY,
    LAST,
    LEASE,
    MOST_REJECTED,
    PROVEN_TRAFFIC,
    REJECTED,
    RUN,
    WRITTEN_TRAFFIC,
)
from tests.support.builders import Clock
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, run

GREEN_STAYS = "online deployment green stays without traffic (Succeeded), to continue with"
RESTORED = "traffic restored: blue 100 %"
ENDED = f"lease free {LAST}"


def move(azure: FakeAzure, wanted: dict[str, int], proven: dict[str, int], run_id: str = OURS) -> None:
    moving = move_traffic(
        azure.session, "diabetes", wanted, expected=azure.traffic, proven=proven, run_id=run_id, clock=Clock()
    )
    run(moving)
    azure.writes.clear()


def abort(azure: FakeAzure, run_id: str = OURS, **options: Any) -> AbortResult:
    return run(azure_abort.abort(azure.session, "diabetes", run_id, clock=Clock(), **options))


@pytest.fixture
def moved(held: FakeAzure) -> FakeAzure:
    """Our run has moved all traffic from `blue` to `green`."""
    move(held, {"green": 100}, proven={"blue": 100})
    return held


def test_where_there_is_no_endpoint_there_is_nothing_to_undo() -> None:
    assert abort(FakeAzure()) == AbortResult(traffic_now={})


def test_a_run_that_never_had_the_lease_undoes_nothing(azure: FakeAzure) -> None:
    assert abort(azure, delete="green") == AbortResult(kept=(GREEN_STAYS,), traffic_now={"blue": 100})
    assert azure.writes == []


def test_a_run_that_has_lost_the_lease_undoes_nothing_even_if_it_moved_the_traffic(moved: FakeAzure) -> None:
    moved.lease_to(THEIRS)

    assert abort(moved, delete="green") == AbortResult(traffic_now={"green": 100})
    assert (moved.writes, moved.holder) == ([], THEIRS)


def test_a_later_attempt_is_not_undone_by_an_earlier_one(moved: FakeAzure) -> None:
    moved.lease_to("ours/2")

    assert abort(moved, "ours/1", delete="green") == AbortResult(traffic_now={"green": 100})
    assert moved.writes == []


def test_a_run_that_wrote_nothing_gives_the_lease_back(held: FakeAzure) -> None:
    held.online_deployments.pop("green")

    assert abort(held) == AbortResult(traffic_now={"blue": 100})
    assert (held.writes, held.holder) == ([ENDED], None)
    assert held.tags.keys() == {"team", LAST}
    assert held.tags[LAST].startswith(f"aborted {OURS} 20"), "when it was is the last word"


def test_an_online_deployment_that_is_not_at_fault_stays_for_a_retry(held: FakeAzure) -> None:
    assert abort(held) == AbortResult(kept=(GREEN_STAYS,), traffic_now={"blue": 100})
    assert held.writes == [ENDED]
    assert set(held.online_deployments) == {"blue", "green"}


def test_one_that_is_at_fault_is_deleted(held: FakeAzure) -> None:
    assert abort(held, delete="green") == AbortResult(
        cleaned_up=("online deployment green deleted",), traffic_now={"blue": 100}
    )
    assert held.writes == ["delete green", ENDED]


def test_one_that_an_earlier_attempt_of_the_run_created_stays_too(azure: FakeAzure) -> None:
    azure.lease_to("ours/2")

    assert abort(azure, "ours/2").kept == (GREEN_STAYS,)
    assert azure.writes == [ENDED]


def test_one_that_another_run_left_is_not_spoken_of(held: FakeAzure) -> None:
    held.have("red", tags={CREATED_BY: THEIRS, RUN: THEIRS})

    assert abort(held).kept == (GREEN_STAYS,)
    assert "red" in held.online_deployments


def test_one_that_no_rollout_created_is_not_deleted(held: FakeAzure) -> None:
    held.have("green", tags={"by": "hand"})

    assert abort(held, delete="green") == AbortResult(traffic_now={"blue": 100})
    assert held.writes == [ENDED]


def test_one_that_still_comes_up_stays_and_its_state_is_told(held: FakeAzure) -> None:
    held.have("green", "Creating", tags={CREATED_BY: OURS, RUN: OURS})

    assert abort(held).kept == ("online deployment green stays without traffic (Creating), to continue with",)


def test_traffic_that_was_moved_goes_back_and_the_online_deployment_stays(moved: FakeAzure) -> None:
    assert abort(moved) == AbortResult(cleaned_up=(RESTORED,), kept=(GREEN_STAYS,), traffic_now={"blue": 100})
    assert moved.writes == ["put endpoint {'blue': 100}", ENDED]
    assert moved.traffic == {"blue": 100}
    assert (moved.tags[WRITTEN_TRAFFIC], moved.tags[PROVEN_TRAFFIC]) == ("blue=100", "blue=100")


def test_traffic_goes_back_before_the_one_at_fault_is_deleted(moved: FakeAzure) -> None:
    done = abort(moved, delete="green")

    assert done == AbortResult(
        cleaned_up=(RESTORED, "online deployment green deleted"), kept=(), traffic_now={"blue": 100}
    )
    assert moved.writes == ["put endpoint {'blue': 100}", "delete green", ENDED]


def test_a_first_rollout_takes_its_traffic_off_before_it_deletes() -> None:
    azure = FakeAzure()
    azure.have_endpoint(tags={CREATED_BY: OURS})
    azure.have("green", tags={CREATED_BY: OURS, RUN: OURS})
    azure.lease_to(OURS)
    move(azure, {"green": 100}, proven={})

    assert abort(azure, delete="green") == AbortResult(
        cleaned_up=("traffic restored: none", "online deployment green deleted"), traffic_now={}
    )
    assert azure.writes == ["put endpoint {}", "delete green", ENDED]
    assert azure.endpoint is not None, "an endpoint costs nothing, and its keys may be in use"


def test_a_canary_goes_back_to_what_shared_the_traffic(held: FakeAzure) -> None:
    held.have("red")
    held.set_traffic(blue=60, red=40)
    move(held, {"green": 10, "blue": 54, "red": 36}, proven={"blue": 60, "red": 40})

    assert abort(held).cleaned_up == ("traffic restored: blue 60 %, red 40 %",)
    assert held.traffic == {"blue": 60, "red": 40}


def test_traffic_that_somebody_changed_after_the_rollout_moved_it_is_left_alone(moved: FakeAzure) -> None:
    moved.have("red")
    moved.set_traffic(red=100)

    assert abort(moved) == AbortResult(kept=(GREEN_STAYS,), traffic_now={"red": 100})
    assert moved.writes == [ENDED]


def test_traffic_that_somebody_changes_during_the_abort_is_reported_and_not_overwritten(moved: FakeAzure) -> None:
    put = moved._put_endpoint

    def put_after_somebody(entity: Any) -> None:
        if moved.traffic == {"green": 100} and moved._running is None:
            moved.start_operation(lambda: moved.set_traffic(blue=50, green=50))
        put(entity)

    moved._put_endpoint = put_after_somebody  # type: ignore[method-assign]

    with pytest.raises(ForeignChange, match="was changed by somebody else"):
        abort(moved)

    assert (moved.writes, moved.traffic) == ([], {"blue": 50, "green": 50})


def test_what_serves_is_never_deleted(held: FakeAzure) -> None:
    held.have("blue", tags={CREATED_BY: OURS, RUN: OURS})

    assert abort(held, delete="blue") == AbortResult(kept=(GREEN_STAYS,), traffic_now={"blue": 100})
    assert "blue" in held.online_deployments


def test_where_nothing_is_left_to_return_to_the_traffic_stays(moved: FakeAzure) -> None:
    moved.online_deployments.pop("blue")

    assert abort(moved, delete="green") == AbortResult(traffic_now={"green": 100})
    assert moved.writes == [ENDED]


def test_the_traffic_change_that_is_still_under_way_is_waited_for_and_undone(held: FakeAzure) -> None:
    assert held.endpoint is not None
    tags = {**(held.endpoint.tags or {}), PROVEN_TRAFFIC: "blue=100", WRITTEN_TRAFFIC: "green=100", RUN: OURS}
    held.start_operation(lambda: held.have_endpoint(traffic={"green": 100}, tags=tags))

    assert abort(held).cleaned_up == (RESTORED,)
    assert held.traffic == {"blue": 100}


@pytest.mark.parametrize(
    ("known", "rejected"),
    [
        (None, "diabetes:2"),
        ("diabetes:1", "diabetes:1,diabetes:2"),
        ("diabetes:2,diabetes:1", "diabetes:1,diabetes:2"),
        (",".join(f"other:{number}" for number in range(MOST_REJECTED)), "other:1,other:2,other:3,other:4,diabetes:2"),
    ],
)
def test_the_model_of_the_one_at_fault_is_remembered_as_rejected(
    held: FakeAzure, known: str | None, rejected: str
) -> None:
    assert held.endpoint is not None
    held.endpoint.tags = {**(held.endpoint.tags or {}), **({REJECTED: known} if known else {})}
    abort(held, delete="green", rejects="diabetes:2")

    assert held.tags[REJECTED] == rejected
    assert held.writes == ["delete green", f"{ENDED} {REJECTED}"]


def test_a_model_is_rejected_also_when_what_failed_is_kept(held: FakeAzure) -> None:
    assert abort(held, rejects="diabetes:2").kept == (GREEN_STAYS,)

    assert held.tags[REJECTED] == "diabetes:2"
    assert held.writes == [f"{ENDED} {REJECTED}"]


def test_a_model_that_is_not_at_fault_is_not_rejected(held: FakeAzure) -> None:
    abort(held, delete="green")

    assert REJECTED not in held.tags


def test_aborting_again_writes_nothing_and_tells_the_same(moved: FakeAzure) -> None:
    first = abort(moved, delete="green")
    moved.writes.clear()

    assert abort(moved, delete="green") == first
    assert first.cleaned_up == (RESTORED, "online deployment green deleted")
    assert moved.writes == []


def test_traffic_that_another_attempt_restored_is_not_told_as_this_ones(moved: FakeAzure) -> None:
    abort(moved)
    moved.lease_to("ours/2")

    assert abort(moved, "ours/2") == AbortResult(kept=(GREEN_STAYS,), traffic_now={"blue": 100})


def test_what_is_promoted_is_not_told_as_restored(held: FakeAzure) -> None:
    move(held, {"green": 100}, proven={"green": 100})

    assert abort(held, keeps_traffic=True) == AbortResult(traffic_now={"green": 100})


def test_an_abort_that_was_cut_off_after_restoring_goes_on_where_it_stopped(moved: FakeAzure) -> None:
    delete, moved._delete = moved._delete, _refuse  # type: ignore[method-assign]
    with pytest.raises(RequestRefused, match="cannot delete the online deployment 'green'"):
        abort(moved, delete="green")
    moved._delete = delete  # type: ignore[method-assign]

    assert abort(moved, delete="green").cleaned_up == (RESTORED, "online deployment green deleted")
    assert moved.writes == ["put endpoint {'blue': 100}", "delete green", ENDED]


def test_an_operation_that_keeps_the_lease_from_being_given_back_is_told(moved: FakeAzure) -> None:
    patch = moved._patch_endpoint_tags

    def refuse(name: str, tags: Any) -> None:
        moved.start_operation(lambda: None)
        patch(name, tags)

    moved._patch_endpoint_tags = refuse  # type: ignore[method-assign]

    done = abort(moved)

    assert done == AbortResult(
        cleaned_up=(RESTORED,),
        kept=(GREEN_STAYS, "the lease stays until the running operation has ended"),
        traffic_now={"blue": 100},
    )
    assert (moved.writes, moved.holder) == (["put endpoint {'blue': 100}"], OURS)


@pytest.mark.parametrize("call", ["_put_endpoint", "_delete", "_patch_endpoint_tags"])
def test_an_abort_that_loses_the_lease_leaves_the_rest_to_the_other_rollout(moved: FakeAzure, call: str) -> None:
    act = getattr(moved, call)

    def act_after_theft(*arguments: Any) -> None:
        if moved._running is None and moved.holder == OURS:
            moved.start_operation(lambda: moved.lease_to(THEIRS), reads=2)
        act(*arguments)

    setattr(moved, call, act_after_theft)
    retried = call != "_patch_endpoint_tags"

    done = abort(moved, delete="green")

    told = f"the rest is left to another rollout: it is held by {THEIRS} since then"
    expected = {
        "_put_endpoint": ((), []),
        "_delete": ((RESTORED,), ["put endpoint {'blue': 100}"]),
        "_patch_endpoint_tags": (
            (RESTORED, "online deployment green deleted"),
            ["put endpoint {'blue': 100}", "delete green"],
        ),
    }
    assert (done.cleaned_up, moved.writes) == expected[call]
    assert done.kept == ((told,) if retried else ("the lease stays until the running operation has ended",))
    assert moved.holder == THEIRS or not retried


def test_the_tags_of_others_survive_an_abort(moved: FakeAzure) -> None:
    abort(moved, delete="green")

    assert moved.endpoint is not None
    assert moved.tags["team"] == "ml"
    assert (moved.endpoint.tags or {})[LEASE] == "free"


def _refuse(*_: Any, **__: Any) -> Any:
    raise HttpResponseError("it says no")


def test_a_run_that_has_promoted_before_it_failed_is_remembered_as_promoted(held: FakeAzure) -> None:
    assert held.endpoint is not None
    held.endpoint.tags = {**(held.endpoint.tags or {}), LAST: f"promoted {OURS} then"}

    abort(held, keeps_traffic=True)

    assert (held.writes, held.tags[LAST]) == (["lease free"], f"promoted {OURS} then")
