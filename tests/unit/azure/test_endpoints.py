"""Endpoints and their traffic: read first, then act, without overwriting anybody."""

from typing import Any

import pytest

from rollway.azure import endpoints
from rollway.azure.endpoints import confirm_promotion, ensure_endpoint, move_traffic
from rollway.azure.state import read_endpoint
from rollway.errors import AnotherRollout, DeadlineExceeded, EndpointFailed, ForeignChange, LeaseLost, NotFound
from rollway.rollout.plan import Plan
from rollway.rollout.record import (
    CREATED_BY,
    LAST,
    LEASE,
    PAUSED,
    PREVIOUS,
    PROMOTED_AT,
    PROVEN_TRAFFIC,
    REJECTED,
    RUN,
    VERSION,
    WRITTEN_TRAFFIC,
    Served,
)
from rollway.spec import RolloutSpec
from tests.support.builders import Clock, rollout_spec
from tests.support.fake_azure import OURS, THEIRS, FakeAzure, run


def test_an_endpoint_is_read_with_everything_behind_it(azure: FakeAzure) -> None:
    state = run(read_endpoint(azure.session, "diabetes"))

    assert (state.exists, state.traffic, state.tags) == (True, {"blue": 100, "green": 0}, {"team": "ml"})
    assert [(one.name, one.is_succeeded) for one in state.online_deployments] == [("blue", True), ("green", True)]


def test_an_endpoint_that_is_not_there_is_a_value_not_an_error() -> None:
    state = run(read_endpoint(FakeAzure().session, "diabetes"))

    assert (state.exists, state.name) == (False, "diabetes")


def test_another_rollout_is_waited_for_as_long_as_it_may_take() -> None:
    spec = rollout_spec()

    assert endpoints.lease_timeout_seconds(spec) == spec.rollout.ready_timeout_seconds + 1800


def ensure(azure: FakeAzure, spec: RolloutSpec) -> bool:
    return run(ensure_endpoint(azure.session, spec, OURS, clock=Clock())).exists


def test_a_missing_endpoint_is_created_free_and_marked_as_ours(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()

    assert ensure(azure, made[0])
    assert azure.endpoint is not None
    assert ((azure.endpoint.tags or {})[CREATED_BY], (azure.endpoint.tags or {})[LEASE]) == (OURS, "free")
    assert azure.writes == ["put endpoint {}"]


def test_an_endpoint_as_described_is_left_alone(azure: FakeAzure) -> None:
    assert ensure(azure, rollout_spec())
    assert azure.writes == []


def test_an_endpoint_that_differs_is_changed_under_its_lease_and_keeps_its_traffic_and_tags(azure: FakeAzure) -> None:
    assert ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token", "tags": {"new": "tag"}}))

    assert azure.endpoint is not None
    assert (azure.endpoint.auth_mode, azure.traffic) == ("aad_token", {"blue": 100})
    assert azure.endpoint.tags == {"team": "ml", "new": "tag", VERSION: "1", LEASE: "free"}
    assert azure.writes == [f"lease to {OURS}", "put endpoint {'blue': 100}"]


def test_an_endpoint_that_another_rollout_holds_is_not_changed(
    azure: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "lease_timeout_seconds", lambda _: 60)
    azure.lease_to(THEIRS, ttl_seconds=1_000_000)

    with pytest.raises(AnotherRollout, match="did not become free within 60 s") as caught:
        ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))

    assert caught.value.why == f"another rollout holds it: {THEIRS}, last renewed then"
    assert azure.writes == []


def test_an_endpoint_as_described_needs_no_lease(azure: FakeAzure) -> None:
    azure.lease_to(THEIRS)

    assert ensure(azure, rollout_spec())
    assert azure.writes == []


def test_an_endpoint_that_is_taken_over_before_the_change_is_not_changed(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_after_theft(entity: Any) -> None:
        if azure._running is None:
            azure.start_operation(lambda: azure.lease_to(THEIRS))
        put(entity)

    azure._put_endpoint = put_after_theft  # type: ignore[method-assign]

    with pytest.raises(LeaseLost, match="another rollout took over the endpoint 'diabetes'"):
        ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))

    assert azure.writes == [f"lease to {OURS}"]


@pytest.mark.parametrize("answers", [1, 2], ids=["of the lease", "of both writes"])
def test_a_change_whose_answer_is_lost_is_not_taken_for_a_theft(azure: FakeAzure, answers: int) -> None:
    azure.lost_answers = answers

    assert ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))

    assert azure.endpoint is not None
    assert (azure.endpoint.auth_mode, azure.holder) == ("aad_token", None)
    assert azure.writes == [f"lease to {OURS}", "put endpoint {'blue': 100}"]


def test_a_creation_whose_answer_is_lost_is_made_once(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()
    azure.lost_answers = 1

    assert ensure(azure, made[0])
    assert azure.writes == ["put endpoint {}"]


def test_an_endpoint_that_fails_to_change_is_an_error_that_says_so(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_fail(entity: Any) -> None:
        put(entity)
        azure.start_operation(lambda: azure.have_endpoint("Failed"))

    azure._put_endpoint = put_and_fail  # type: ignore[method-assign]

    with pytest.raises(EndpointFailed, match="the operation on the endpoint 'diabetes' failed"):
        ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))


def test_an_endpoint_on_which_an_operation_runs_is_waited_for(azure: FakeAzure) -> None:
    azure.start_operation(lambda: azure.set_traffic(green=100))

    assert ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))

    assert azure.traffic == {"green": 100}
    assert azure.writes == [f"lease to {OURS}", "put endpoint {'green': 100}"]


def test_an_endpoint_whose_creation_failed_is_created_again(made: tuple[RolloutSpec, Plan]) -> None:
    azure = FakeAzure()
    azure.have_endpoint("Failed")

    ensure(azure, made[0])

    assert [write.split(" {")[0] for write in azure.writes] == ["delete endpoint diabetes", "put endpoint"]


def test_an_endpoint_that_disappears_meanwhile_is_an_error_that_says_so(azure: FakeAzure) -> None:
    put = azure._put_endpoint

    def put_and_vanish(entity: Any) -> None:
        put(entity)
        azure.endpoint = None

    azure._put_endpoint = put_and_vanish  # type: ignore[method-assign]

    with pytest.raises(NotFound, match="has disappeared"):
        ensure(azure, rollout_spec(endpoint={"auth_mode": "aad_token"}))


def move(azure: FakeAzure, wanted: dict[str, int], expected: dict[str, int]) -> dict[str, int]:
    return run(
        move_traffic(
            azure.session,
            "diabetes",
            wanted,
            expected=expected,
            proven={"blue": 100},
            run_id=OURS,
            clock=Clock(),
        )
    )


def test_traffic_moves_and_where_to_return_is_kept_in_the_same_write(held: FakeAzure) -> None:
    after = move(held, {"green": 100}, expected={"blue": 100})

    assert after == held.traffic == {"green": 100}
    assert held.writes == ["put endpoint {'green': 100}"]
    assert held.tags == {
        "team": "ml",
        PROVEN_TRAFFIC: "blue=100",
        WRITTEN_TRAFFIC: "green=100",
        RUN: OURS,
    }


def test_moving_traffic_renews_the_lease(held: FakeAzure) -> None:
    assert held.endpoint is not None
    before = (held.endpoint.tags or {})[LEASE]

    move(held, {"green": 100}, expected={"blue": 100})

    assert held.holder == OURS
    assert (held.endpoint.tags or {})[LEASE] != before


@pytest.mark.parametrize("holder", [THEIRS, None])
def test_traffic_does_not_move_without_the_lease(azure: FakeAzure, holder: str | None) -> None:
    if holder:
        azure.lease_to(holder)

    with pytest.raises(LeaseLost) as caught:
        move(azure, {"green": 100}, expected={"blue": 100})

    assert caught.value.why == (
        "it is held by theirs/1 since then" if holder else "its lease was given back or removed"
    )
    assert (azure.writes, azure.traffic) == ([], {"blue": 100})


def test_traffic_that_is_there_already_is_not_written_again(held: FakeAzure) -> None:
    assert move(held, {"blue": 100}, expected={}) == {"blue": 100}
    assert held.writes == []


def test_a_move_whose_answer_is_lost_is_made_once(held: FakeAzure) -> None:
    held.lost_answers = 1

    assert move(held, {"green": 100}, expected={"blue": 100}) == {"green": 100}
    assert held.writes == ["put endpoint {'green': 100}"]


def test_traffic_that_somebody_else_changed_is_reported_and_not_overwritten(held: FakeAzure) -> None:
    held.set_traffic(blue=50, red=50)

    with pytest.raises(ForeignChange) as caught:
        move(held, {"green": 100}, expected={"blue": 100})

    assert not isinstance(caught.value, LeaseLost)
    assert str(caught.value.why) == "expected blue 100 %, found blue 50 %, red 50 %"
    assert held.writes == []


def test_what_another_operation_does_while_it_holds_the_endpoint_is_not_overwritten(held: FakeAzure) -> None:
    held.start_operation(lambda: held.set_traffic(red=100))

    with pytest.raises(ForeignChange, match="changed by somebody else"):
        move(held, {"green": 100}, expected={"blue": 100})

    assert held.traffic == {"red": 100}


def test_an_endpoint_that_is_busy_is_tried_again_until_it_is_free(held: FakeAzure) -> None:
    held.start_operation(lambda: None)

    assert move(held, {"green": 100}, expected={"blue": 100}) == {"green": 100}


def test_an_endpoint_that_stays_busy_ends_with_the_deadline(held: FakeAzure) -> None:
    held.start_operation(lambda: None, reads=1000)

    with pytest.raises(DeadlineExceeded, match="another operation on the endpoint diabetes took longer than 1800 s"):
        move(held, {"green": 100}, expected={"blue": 100})

    assert held.traffic == {"blue": 100}


def test_one_that_gets_live_traffic_gets_no_mirror_traffic_any_more(held: FakeAzure) -> None:
    assert held.endpoint is not None
    held.endpoint.mirror_traffic = {"green": 20}

    move(held, {"green": 100}, expected={"blue": 100})

    assert held.endpoint.mirror_traffic == {}


def test_mirror_traffic_of_others_stays(held: FakeAzure) -> None:
    assert held.endpoint is not None
    held.endpoint.mirror_traffic = {"red": 20}

    move(held, {"green": 100}, expected={"blue": 100})

    assert held.endpoint.mirror_traffic == {"red": 20}


def test_what_is_read_back_must_be_what_was_written(held: FakeAzure) -> None:
    put = held._put_endpoint

    def put_and_meddle(entity: Any) -> None:
        put(entity)
        held.start_operation(lambda: held.set_traffic(red=100))

    held._put_endpoint = put_and_meddle  # type: ignore[method-assign]

    with pytest.raises(ForeignChange, match=r"is not what was written") as caught:
        move(held, {"green": 100}, expected={"blue": 100})

    assert caught.value.why == "wrote green 100 %, read back red 100 %"
    assert caught.value.hint


def confirm(azure: FakeAzure, plan: Plan, pause_reason: str = "") -> None:
    run(confirm_promotion(azure.session, plan, OURS, pause_reason=pause_reason, clock=Clock()))


def test_a_confirmed_promotion_is_proven_and_keeps_the_lease(held: FakeAzure, made: tuple[RolloutSpec, Plan]) -> None:
    plan = made[1].model_copy(
        update={"previous": Served(online_deployment="blue", model="diabetes:1"), "traffic_after": {"green": 100}}
    )

    confirm(held, plan)

    tags = dict(held.tags)
    assert tags.pop(LAST) == f"promoted {OURS} {tags.pop(PROMOTED_AT)}"
    assert tags == {
        "team": "ml",
        PROVEN_TRAFFIC: "green=100",
        WRITTEN_TRAFFIC: "green=100",
        PREVIOUS: "blue=diabetes:1",
    }
    assert held.holder == OURS
    written = f"{LAST} {PREVIOUS} {PROMOTED_AT} {PROVEN_TRAFFIC} {WRITTEN_TRAFFIC}"
    assert held.writes == [f"lease to {OURS} {written}"]
    assert held.traffic == {"blue": 100}, "only tags are written"


def test_a_confirmed_promotion_forgets_that_its_model_was_rejected_and_no_other(
    held: FakeAzure, made: tuple[RolloutSpec, Plan]
) -> None:
    assert held.endpoint is not None
    held.endpoint.tags = {**(held.endpoint.tags or {}), REJECTED: "diabetes:0,diabetes:1"}

    confirm(held, made[1])

    assert held.tags[REJECTED] == "diabetes:0"


def test_a_promotion_without_a_predecessor_keeps_the_one_that_is_known(
    held: FakeAzure, made: tuple[RolloutSpec, Plan]
) -> None:
    assert held.endpoint is not None
    held.endpoint.tags = {**(held.endpoint.tags or {}), PREVIOUS: "red=diabetes:0"}
    assert made[1].previous is None

    confirm(held, made[1])

    assert held.tags[PREVIOUS] == "red=diabetes:0"


def test_a_canary_pauses_the_endpoint_until_the_next_promotion(held: FakeAzure, made: tuple[RolloutSpec, Plan]) -> None:
    confirm(held, made[1], pause_reason="canary at 10 %")
    assert held.tags[PAUSED] == "canary at 10 %"

    held.lease_to(OURS)
    confirm(held, made[1])
    assert PAUSED not in held.tags


def test_a_promotion_is_not_confirmed_without_the_lease(azure: FakeAzure, made: tuple[RolloutSpec, Plan]) -> None:
    azure.lease_to(THEIRS)

    with pytest.raises(LeaseLost, match="another rollout took over"):
        confirm(azure, made[1])

    assert (azure.writes, azure.holder) == ([], THEIRS)


def test_where_to_return_is_what_was_proven_and_not_what_served_last(held: FakeAzure) -> None:
    held.set_traffic(blue=60, green=40)

    move(held, {"green": 100}, expected={"blue": 60, "green": 40})

    assert held.tags[PROVEN_TRAFFIC] == "blue=100"
