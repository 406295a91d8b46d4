"""The target of a rollback, and its plan."""

from typing import Any

import pytest

from rollway.errors import ConfigurationError, ForeignChange, NotFound
from rollway.rollout.plan import Kind, Plan
from rollway.rollout.record import (
    CREATED_AT,
    FINGERPRINT,
    MODEL,
    PREVIOUS,
    PROVEN_TRAFFIC,
    RUN,
    VERSION,
    WRITTEN_TRAFFIC,
    Served,
)
from rollway.rollout.rollback import Target, choose, hold, plan_rollback, require_way_back
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from tests.support.builders import WORKSPACE_ID, a_plan, after, rollout_spec

LAST_PROMOTION = {PREVIOUS: "blue=diabetes:2"}


def one(name: str, version: str, state: str = "Succeeded", **values: Any) -> OnlineDeploymentState:
    """An online deployment that serves that version of the model `diabetes`."""
    return OnlineDeploymentState(
        name=name,
        provisioning_state=state,
        **{
            "instance_count": 1,
            "tags": {MODEL: f"diabetes:{version}", FINGERPRINT: f"f{version}", RUN: f"run{version}/1"},
            "model": f"{WORKSPACE_ID}/models/diabetes/versions/{version}",
            "environment": f"{WORKSPACE_ID}/environments/inference/versions/4",
            **values,
        },
    )


def endpoint(*behind: OnlineDeploymentState, **values: Any) -> EndpointState:
    """An endpoint on which green has replaced blue."""
    values = {"traffic": {"green": 100, "blue": 0}, "tags": LAST_PROMOTION, **values}
    return EndpointState(name="diabetes", online_deployments=behind or (one("blue", "2"), one("green", "3")), **values)


BLUE = Target(online_deployment="blue", model="diabetes", version="2")
ANEW = Target(model="diabetes", version="2")


@pytest.mark.parametrize("to", [None, "blue", "BLUE", "2", "diabetes:2"])
def test_what_served_before_is_found_by_whatever_name_as_long_as_it_is_there(to: str | None) -> None:
    assert choose(endpoint(), to) == BLUE


@pytest.mark.parametrize("to", [None, "blue", "diabetes:2"])
@pytest.mark.parametrize("behind", [(), (one("blue", "2", "Failed"),), (one("blue", "2", "Deleting"),)])
def test_its_model_version_is_rolled_out_anew_when_it_is_gone_or_cannot_serve(
    to: str | None, behind: tuple[OnlineDeploymentState, ...]
) -> None:
    assert choose(endpoint(one("green", "3"), *behind), to) == ANEW


def test_a_bare_version_that_nothing_serves_is_rolled_out_anew() -> None:
    assert choose(endpoint(), "7") == Target(version="7")


def test_of_two_that_serve_the_version_the_newest_is_taken_and_whatever_serves_already_first() -> None:
    old = one("old", "2", tags={MODEL: "diabetes:2", CREATED_AT: "2026-01-01"})
    new = one("new", "2", tags={MODEL: "diabetes:2", CREATED_AT: "2026-01-02"})

    assert choose(endpoint(new, old, one("green", "3")), "2").online_deployment == "new"
    assert choose(endpoint(new, old, traffic={"old": 50, "new": 0, "green": 50}), "2").online_deployment == "old"


def test_an_online_deployment_that_rollway_did_not_make_can_be_named() -> None:
    foreign = OnlineDeploymentState(name="theirs", provisioning_state="Succeeded", instance_count=1)

    assert choose(endpoint(foreign, one("green", "3")), "theirs") == Target(online_deployment="theirs")


def test_after_a_rollout_that_was_never_proven_the_proven_one_is_what_served_before() -> None:
    tags = {PREVIOUS: "old=diabetes:1", WRITTEN_TRAFFIC: "green=100", PROVEN_TRAFFIC: "blue=100"}

    assert choose(endpoint(tags=tags)) == BLUE


@pytest.mark.parametrize(
    ("state", "to", "kind", "message"),
    [
        (endpoint(tags={}), None, NotFound, "there is nothing to go back to"),
        (
            endpoint(tags={WRITTEN_TRAFFIC: "green=100", PROVEN_TRAFFIC: "none"}),
            None,
            NotFound,
            "there is nothing to go back to",
        ),
        (EndpointState(name="diabetes", exists=False), "2", NotFound, "there is no endpoint 'diabetes'"),
        (
            endpoint(traffic={"green": 10, "blue": 90}),
            None,
            ConfigurationError,
            "it is not clear what to go back to",
        ),
        (
            endpoint(),
            "green",
            ConfigurationError,
            "there is nothing to go back to: 'green' already has all traffic",
        ),
        (
            endpoint(),
            "3",
            ConfigurationError,
            "there is nothing to go back to: 'green' already has all traffic",
        ),
        (
            endpoint(one("green", "3"), tags={PREVIOUS: "blue="}),
            None,
            NotFound,
            "'blue' is gone, and its model version is unknown",
        ),
    ],
    ids=["first", "first, unproven", "no endpoint", "canary", "live", "live version", "no model"],
)
def test_when_it_is_not_known_where_to_go_an_error_says_so(
    state: EndpointState, to: str | None, kind: type[ConfigurationError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        choose(state, to)

    assert type(caught.value) is kind
    assert caught.value.what == message


def test_the_plan_moves_all_traffic_to_it_and_deletes_nothing() -> None:
    made = plan_rollback(endpoint(), "blue")

    assert kinds(made) == [Kind.GO_BACK, Kind.MOVE_TRAFFIC]
    assert (made.online_deployment, made.traffic_before, made.traffic_after) == ("blue", {"green": 100}, {"blue": 100})
    assert made.traffic_proven == {"green": 100}
    assert made.previous == Served(online_deployment="green", model="diabetes:3")
    assert (str(made.model), str(made.environment), made.record.fingerprint) == ("diabetes:2", "inference:4", "f2")
    assert (made.written_by, made.moved_by) == ("run2/1", None)


def test_a_canary_is_ended_by_going_back_to_the_other() -> None:
    made = plan_rollback(endpoint(traffic={"green": 10, "blue": 90}), "blue")

    assert kinds(made) == [Kind.GO_BACK, Kind.MOVE_TRAFFIC]
    assert made.traffic_after == {"blue": 100}
    assert made.previous == Served(online_deployment="green", model="diabetes:3")


def test_it_gets_as_many_instances_as_what_serves_now_and_never_fewer_than_it_has() -> None:
    more = plan_rollback(endpoint(one("blue", "2"), one("green", "3", instance_count=3)), "blue")
    enough = plan_rollback(endpoint(one("blue", "2", instance_count=5), one("green", "3", instance_count=3)), "blue")

    assert kinds(more) == [Kind.GO_BACK, Kind.UPDATE, Kind.MOVE_TRAFFIC]
    assert (more.instance_count, more.record, more.written_by) == (3, one("blue", "2").record, None)
    assert {**more.tags, **more.record.tags()} == {VERSION: "1", **one("blue", "2").tags}
    assert (kinds(enough), enough.instance_count) == ([Kind.GO_BACK, Kind.MOVE_TRAFFIC], 5)


def test_traffic_that_is_back_already_but_was_never_tested_is_only_tested() -> None:
    tags = {WRITTEN_TRAFFIC: "blue=100", PROVEN_TRAFFIC: "green=100", RUN: "dead/1"}

    made = plan_rollback(endpoint(traffic={"blue": 100}, tags=tags), "blue")

    assert kinds(made) == [Kind.GO_BACK, Kind.PROVE]
    assert (made.traffic_proven, made.moved_by, made.previous) == (
        {"green": 100},
        "dead/1",
        Served(online_deployment="green", model="diabetes:3"),
    )


@pytest.mark.parametrize(
    ("behind", "message"),
    [
        ((one("green", "3"),), "the online deployment 'blue' is gone"),
        ((one("green", "3"), one("blue", "2", "Failed")), "the online deployment 'blue' is Failed"),
        ((one("green", "3"), one("blue", "2", "Deleting")), "the online deployment 'blue' is Deleting"),
    ],
)
def test_what_has_vanished_or_failed_meanwhile_is_not_gone_back_to(
    behind: tuple[OnlineDeploymentState, ...], message: str
) -> None:
    with pytest.raises(ForeignChange) as caught:
        plan_rollback(endpoint(*behind), "blue")

    assert caught.value.what == message


def test_one_that_is_being_changed_is_waited_for() -> None:
    assert plan_rollback(endpoint(one("blue", "2", "Updating"), one("green", "3")), "blue").online_deployment == "blue"


def test_a_new_rollout_of_the_model_version_leads_back() -> None:
    require_way_back(a_plan(model_version="2"), "deployments/diabetes", ANEW)
    require_way_back(a_plan(model_version="2"), "deployments/diabetes", Target(version="2"))


@pytest.mark.parametrize(
    ("plan", "target", "what", "why"),
    [
        (
            a_plan(),
            Target(model="churn", version="2"),
            "the folder cannot go back to model churn:2",
            "it names diabetes",
        ),
        (
            a_plan().model_copy(update={"model": None}),
            ANEW,
            "the folder cannot go back to model diabetes:2",
            "it names no model",
        ),
        (
            a_plan(endpoint=after(a_plan(), rollout_spec(), EndpointState(name="diabetes"))),
            ANEW,
            "rolling out model diabetes:2 again changes nothing",
            "the previous online deployment had other files, and it is gone",
        ),
    ],
    ids=["other model", "no model", "nothing changes"],
)
def test_a_new_rollout_that_would_not_lead_back_is_refused(plan: Plan, target: Target, what: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_way_back(plan, "deployments/diabetes", target)

    assert (caught.value.what, caught.value.why) == (what, why)


def kinds(plan: Plan) -> list[Kind]:
    return [action.kind for action in plan.actions]


def test_what_nobody_asked_for_is_not_done_on_a_paused_endpoint_and_says_why() -> None:
    held = hold(a_plan(), "rolled back to blue")

    assert held.is_no_op
    assert held.traffic_after == held.traffic_before
    assert [str(one) for one in held.findings] == [
        "endpoint diabetes: it is paused, and a schedule leaves it alone: rolled back to blue"
    ]
    assert hold(held, "again") == held, "where nothing is to do nothing is held"
