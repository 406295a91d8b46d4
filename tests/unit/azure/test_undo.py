"""An abort undoes exactly what its own run did, and is safe to repeat."""

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from rollway.azure import undo
from rollway.azure.endpoints import move_traffic
from rollway.errors import ForeignChange, RequestRefused
from rollway.rollout.state import CREATED_BY, PREVIOUS_TRAFFIC, RUN, WRITTEN_TRAFFIC
from tests.unit.azure.fake import FakeAzure, run
from tests.unit.builders import Clock

OURS = {CREATED_BY: "this run"}
THEIRS = {CREATED_BY: "another run"}


def move(
    azure: FakeAzure, wanted: dict[str, int], expected: dict[str, int], run_id: str = "this run"
) -> dict[str, int]:
    return run(move_traffic(azure.session, "diabetes", wanted, expected=expected, run_id=run_id, clock=Clock()))


def abort(azure: FakeAzure, run_id: str = "this run") -> tuple[str, ...]:
    return run(undo.abort(azure.session, "diabetes", run_id, clock=Clock()))


def test_abort_restores_traffic_and_then_deletes_what_this_run_created(azure: FakeAzure) -> None:
    move(azure, {"green": 100}, expected={"blue": 100})

    done = abort(azure)

    assert azure.traffic == {"blue": 100}
    assert azure.writes[1:] == ["put endpoint {'blue': 100}", "delete green"]
    assert done == ("traffic restored: blue 100 %", "online deployment green deleted")


def test_abort_twice_is_abort_once(azure: FakeAzure) -> None:
    move(azure, {"green": 100}, expected={"blue": 100})
    abort(azure)
    before = list(azure.writes)

    assert abort(azure) == ()
    assert azure.writes == before
    assert azure.traffic == {"blue": 100}


def test_an_abort_that_was_cut_off_after_restoring_goes_on_where_it_stopped(azure: FakeAzure) -> None:
    move(azure, {"green": 100}, expected={"blue": 100})
    delete, azure._delete = azure._delete, _refuse  # type: ignore[method-assign]
    with pytest.raises(RequestRefused):
        abort(azure)
    azure._delete = delete  # type: ignore[method-assign]

    assert abort(azure) == ("online deployment green deleted",)
    assert azure.traffic == {"blue": 100}


def test_abort_waits_for_the_traffic_change_that_is_still_under_way(azure: FakeAzure) -> None:
    assert azure.endpoint is not None
    tags = {PREVIOUS_TRAFFIC: "blue=100", WRITTEN_TRAFFIC: "green=100", RUN: "this run"}

    def land() -> None:
        azure.have_endpoint(traffic={"green": 100}, tags=tags)

    azure.start_operation(land)

    assert abort(azure)[0] == "traffic restored: blue 100 %"
    assert azure.traffic == {"blue": 100}


def test_abort_leaves_another_runs_traffic_and_online_deployments_alone(azure: FakeAzure) -> None:
    azure.have("red", tags=dict(THEIRS))
    move(azure, {"red": 100}, expected={"blue": 100}, run_id="another run")

    assert abort(azure) == ("online deployment green deleted",)
    assert azure.traffic == {"red": 100}
    assert set(azure.online_deployments) == {"blue", "red"}


def test_abort_does_not_overwrite_traffic_that_somebody_else_set_after_this_run(azure: FakeAzure) -> None:
    azure.have("red", tags=dict(THEIRS))
    move(azure, {"green": 100}, expected={"blue": 100})
    azure.set_traffic(red=100)

    with pytest.raises(ForeignChange, match="changed by somebody else"):
        abort(azure)

    assert azure.traffic == {"red": 100}


def test_abort_never_deletes_what_serves(azure: FakeAzure) -> None:
    azure.have("blue", tags=dict(OURS))

    abort(azure)

    assert set(azure.online_deployments) == {"blue"}


def test_abort_deletes_an_endpoint_that_this_run_created_and_that_is_empty() -> None:
    azure = FakeAzure()
    azure.have_endpoint(tags=dict(OURS))
    azure.have("green", tags=dict(OURS))

    assert abort(azure) == (
        "online deployment green deleted",
        "endpoint diabetes deleted, this run had created it",
    )
    assert azure.endpoint is None


@pytest.mark.parametrize(
    ("endpoint", "online_deployment"), [(THEIRS, OURS), (OURS, THEIRS)], ids=["not ours", "not empty"]
)
def test_abort_keeps_an_endpoint_that_is_not_ours_or_not_empty(
    endpoint: dict[str, str], online_deployment: dict[str, str]
) -> None:
    azure = FakeAzure()
    azure.have_endpoint(tags=dict(endpoint))
    azure.have("green", tags=dict(online_deployment))

    abort(azure)

    assert azure.endpoint is not None


def test_abort_of_a_first_rollout_takes_traffic_off_before_it_deletes() -> None:
    azure = FakeAzure()
    azure.have_endpoint(tags=dict(OURS))
    azure.have("green", tags=dict(OURS))
    move(azure, {"green": 100}, expected={})

    done = abort(azure)

    assert done[0] == "traffic restored: none"
    assert azure.writes[1:] == ["put endpoint {}", "delete green", "delete endpoint diabetes"]


def test_abort_has_nothing_to_do_where_there_is_no_endpoint() -> None:
    assert abort(FakeAzure()) == ()


def _refuse(*_: Any, **__: Any) -> Any:
    raise HttpResponseError("it says no")
