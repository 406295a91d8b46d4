"""Endpoints and their traffic: read first, then act, without overwriting anybody."""

from typing import Any

import pytest

from rollway.azure.endpoints import ensure_endpoint, move_traffic, read_endpoint
from rollway.errors import DeadlineExceeded, ForeignChange, NotFound
from rollway.rollout.plan import Plan
from rollway.rollout.state import CREATED_BY, PREVIOUS_TRAFFIC, RUN, WRITTEN_TRAFFIC
from rollway.spec import RolloutSpec
from tests.unit.azure.fake import FakeAzure, run
from tests.unit.builders import Clock, rollout_spec


def test_an_endpoint_is_read_with_everything_behind_it(azure: FakeAzure) -> None:
    state = run(read_endpoint(azure.session, "diabetes"))

    assert (state.exists, state.traffic, state.tags) == (True, {"blue": 100, "green": 0}, {"team": "ml"})
    assert [(one.name, one.is_succeeded) for one in state.online_deployments] == [("blue", True), ("green", True)]


def test_an_endpoint_that_is_not_there_is_a_value_not_an_error() -> None:
    state = run(read_endpoint(FakeAzure().session, "diabetes"))

    assert (state.exists, state.name) == (False, "diabetes")


def ensure(azure: FakeAzure, spec: RolloutSpec, *, is_dry_run: bool = False) -> bool:
    ensured = ensure_endpoint(azure.session, spec, "this run", is_dry_run=is_dry_run, clock=Clock())
    return run(ensured).exists


def test_a_missing_endpoint_is_created_and_marked_as_ours(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()

    assert ensure(azure, made[0])
    assert azure.endpoint is not None
    assert (azure.endpoint.tags or {})[CREATED_BY] == "this run"


def test_an_endpoint_as_described_is_left_alone(azure: FakeAzure) -> None:
    assert ensure(azure, rollout_spec())
    assert azure.writes == []


def test_an_endpoint_that_differs_is_changed_and_keeps_its_traffic_and_tags(azure: FakeAzure) -> None:
    assert ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token", "tags": {"new": "tag"}}))

    assert azure.endpoint is not None
    assert (azure.endpoint.auth_mode, azure.traffic) == ("aad_token", {"blue": 100})
    assert azure.endpoint.tags == {"team": "ml", "new": "tag"}


def test_an_endpoint_on_which_an_operation_runs_is_waited_for(azure: FakeAzure) -> None:
    azure.start_operation(lambda: azure.set_traffic(green=100))

    assert ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))

    assert azure.traffic == {"green": 100}
    assert len(azure.writes) == 1


def test_an_endpoint_whose_creation_failed_is_created_again(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()
    azure.have_endpoint("Failed")

    ensure(azure, made[0])

    assert [write.split(" {")[0] for write in azure.writes] == ["delete endpoint diabetes", "put endpoint"]


def test_a_dry_run_writes_nothing(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()

    assert not ensure(azure, made[0], is_dry_run=True)
    assert azure.writes == []


def test_an_endpoint_that_disappears_meanwhile_is_an_error_that_says_so(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_vanish(entity: Any) -> None:
        put(entity)
        azure.endpoint = None

    azure._put_endpoint = put_and_vanish  # type: ignore[method-assign]

    with pytest.raises(NotFound, match="has disappeared"):
        ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))


def move(
    azure: FakeAzure, wanted: dict[str, int], expected: dict[str, int], run_id: str = "this run"
) -> dict[str, int]:
    return run(move_traffic(azure.session, "diabetes", wanted, expected=expected, run_id=run_id, clock=Clock()))


def test_traffic_moves_and_the_map_before_is_kept_in_the_same_write(azure: FakeAzure) -> None:
    after = move(azure, {"green": 100}, expected={"blue": 100})

    assert after == azure.traffic == {"green": 100}
    assert azure.writes == ["put endpoint {'green': 100}"]
    assert azure.endpoint is not None
    assert azure.endpoint.tags == {
        "team": "ml",
        PREVIOUS_TRAFFIC: "blue=100",
        WRITTEN_TRAFFIC: "green=100",
        RUN: "this run",
    }


def test_traffic_that_is_there_already_is_not_written_again(azure: FakeAzure) -> None:
    assert move(azure, {"blue": 100}, expected={}) == {"blue": 100}
    assert azure.writes == []


def test_traffic_that_somebody_else_changed_is_reported_and_not_overwritten(azure: FakeAzure) -> None:
    azure.set_traffic(blue=50, red=50)

    with pytest.raises(ForeignChange) as caught:
        move(azure, {"green": 100}, expected={"blue": 100})

    assert str(caught.value.why) == "expected blue 100 %, found blue 50 %, red 50 %"
    assert azure.writes == []


def test_what_another_operation_does_while_it_holds_the_endpoint_is_not_overwritten(azure: FakeAzure) -> None:
    azure.start_operation(lambda: azure.set_traffic(red=100))

    with pytest.raises(ForeignChange, match="changed by somebody else"):
        move(azure, {"green": 100}, expected={"blue": 100})

    assert azure.traffic == {"red": 100}


def test_an_endpoint_that_is_busy_is_tried_again_until_it_is_free(azure: FakeAzure) -> None:
    azure.start_operation(lambda: None)

    assert move(azure, {"green": 100}, expected={"blue": 100}) == {"green": 100}


def test_an_endpoint_that_stays_busy_ends_with_the_deadline(azure: FakeAzure) -> None:
    azure.start_operation(lambda: None, reads=1000)

    with pytest.raises(DeadlineExceeded, match="another operation on the endpoint diabetes took longer than 1800 s"):
        move(azure, {"green": 100}, expected={"blue": 100})

    assert azure.traffic == {"blue": 100}


def test_one_that_gets_live_traffic_gets_no_mirror_traffic_any_more(azure: FakeAzure) -> None:
    assert azure.endpoint is not None
    azure.endpoint.mirror_traffic = {"green": 20}

    move(azure, {"green": 100}, expected={"blue": 100})

    assert azure.endpoint.mirror_traffic == {}


def test_mirror_traffic_of_others_stays(azure: FakeAzure) -> None:
    assert azure.endpoint is not None
    azure.endpoint.mirror_traffic = {"red": 20}

    move(azure, {"green": 100}, expected={"blue": 100})

    assert azure.endpoint.mirror_traffic == {"red": 20}


def test_what_is_read_back_must_be_what_was_written(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_meddle(entity: Any) -> None:
        put(entity)
        azure.start_operation(lambda: azure.set_traffic(red=100))

    azure._put_endpoint = put_and_meddle  # type: ignore[method-assign]

    with pytest.raises(ForeignChange, match=r"is not what was written") as caught:
        move(azure, {"green": 100}, expected={"blue": 100})

    assert caught.value.why == "wrote green 100 %, read back red 100 %"
    assert caught.value.hint
