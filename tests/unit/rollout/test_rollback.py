"""Rollbacks: the target, and errors that say why there is none."""

from typing import Any

import pytest

from rollway.errors import ConfigurationError, NotFound
from rollway.rollout.moves import Kind
from rollway.rollout.plan import Plan, plan
from rollway.rollout.record import (
    CREATED_AT,
    FINGERPRINT,
    MODEL,
    PREVIOUS,
    RUN,
    STABLE_TRAFFIC,
    WRITTEN_TRAFFIC,
)
from rollway.rollout.rollback import Target, choose, require_way_back, wanted_for
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from tests.support.builders import WORKSPACE_ID
from tests.unit.rollout.examples import ABSENT, facts, rolled_out, run, run_until, spec_with, wanted

SPEC = spec_with()
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
AGAIN = Target(model="diabetes", version="2")


@pytest.mark.parametrize("to", [None, "blue", "BLUE", "2", "diabetes:2"])
def test_the_previous_one_is_found_by_whatever_name_as_long_as_it_is_there(to: str | None) -> None:
    assert choose(endpoint(), to) == BLUE


@pytest.mark.parametrize("to", [None, "blue", "diabetes:2"])
@pytest.mark.parametrize("behind", [(), (one("blue", "2", "Failed"),), (one("blue", "2", "Deleting"),)])
def test_its_model_version_is_rolled_out_again_when_it_is_gone_or_cannot_serve(
    to: str | None, behind: tuple[OnlineDeploymentState, ...]
) -> None:
    assert choose(endpoint(one("green", "3"), *behind), to) == AGAIN


def test_a_bare_version_that_nothing_serves_is_rolled_out_again() -> None:
    assert choose(endpoint(), "7") == Target(version="7")


def test_of_two_with_the_version_the_newest_is_taken_and_one_with_traffic_first() -> None:
    old = one("old", "2", tags={MODEL: "diabetes:2", CREATED_AT: "2026-01-01"})
    new = one("new", "2", tags={MODEL: "diabetes:2", CREATED_AT: "2026-01-02"})

    assert choose(endpoint(new, old, one("green", "3")), "2").online_deployment == "new"
    assert choose(endpoint(new, old, traffic={"old": 50, "new": 0, "green": 50}), "2").online_deployment == "old"


def test_an_online_deployment_that_rollway_did_not_make_can_be_named() -> None:
    foreign = OnlineDeploymentState(name="theirs", provisioning_state="Succeeded", instance_count=1)

    assert choose(endpoint(foreign, one("green", "3")), "theirs") == Target(online_deployment="theirs")


def test_after_a_rollout_that_was_never_tested_stable_is_the_previous_one() -> None:
    tags = {PREVIOUS: "old=diabetes:1", WRITTEN_TRAFFIC: "green=100", STABLE_TRAFFIC: "blue=100"}

    assert choose(endpoint(tags=tags)) == BLUE


def test_during_a_canary_stable_is_the_previous_one() -> None:
    state = run(SPEC, wanted("2", weight=10), rolled_out("1")).endpoint

    target = choose(state)

    assert (target.model, target.version) == ("diabetes", "1")
    found = state.online_deployment(target.online_deployment or "")
    assert found is not None
    assert run(SPEC, wanted_for(found, "rolled back"), state).endpoint.serving == {found.name: 100}


@pytest.mark.parametrize(
    ("state", "to", "kind", "message"),
    [
        (endpoint(tags={}), None, NotFound, "there is nothing to go back to"),
        (
            endpoint(tags={WRITTEN_TRAFFIC: "green=100", STABLE_TRAFFIC: "none"}),
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
        (
            endpoint(one("green", "3"), one("theirs", "1", "Failed", tags={}, model=None)),
            "theirs",
            NotFound,
            "'theirs' is Failed, and its model version is unknown",
        ),
    ],
    ids=["first", "first, untested", "no endpoint", "shared by hand", "live", "live version", "no model", "failed"],
)
def test_when_it_is_not_known_where_to_go_an_error_says_so(
    state: EndpointState, to: str | None, kind: type[ConfigurationError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        choose(state, to)

    assert type(caught.value) is kind
    assert caught.value.what == message


def test_the_target_takes_over_as_it_is_and_the_endpoint_is_paused() -> None:
    what = wanted_for(one("blue", "2"), "rolled back to blue")

    assert (what.goes_back_to, what.weight, what.pause_reason, what.tidies) == (
        "blue",
        100,
        "rolled back to blue",
        False,
    )
    assert (str(what.model), str(what.environment)) == ("diabetes:2", "inference:4")


def test_a_target_that_is_promoted_is_not_paused_and_the_endpoint_is_tidied() -> None:
    what = wanted_for(one("blue", "2"), "")

    assert (what.pause_reason, what.tidies) == ("", True)


def test_an_online_deployment_of_others_takes_over_without_a_known_model() -> None:
    foreign = OnlineDeploymentState(name="theirs", provisioning_state="Succeeded", instance_count=1)

    assert (wanted_for(foreign, "").model, wanted_for(foreign, "").environment) == (None, None)


def test_a_rollback_moves_all_traffic_and_deletes_nothing() -> None:
    made = run(SPEC, wanted_for(one("blue", "2"), "rolled back"), endpoint())

    assert made.kinds == [Kind.SMOKE_TEST, Kind.MOVE_TRAFFIC, Kind.TEST_LIVE, Kind.PROMOTE]
    assert made.the(Kind.MOVE_TRAFFIC).record is not None
    assert {one.name for one in made.endpoint.online_deployments} == {"blue", "green"}
    record = made.endpoint.record
    assert (str(record.live), str(record.previous)) == ("blue=diabetes:2", "green=diabetes:3")


def test_a_canary_by_hand_is_ended_by_going_back_to_the_other() -> None:
    state = endpoint(traffic={"green": 10, "blue": 90})

    reached = run(SPEC, wanted_for(one("blue", "2"), "rolled back"), state).endpoint

    assert reached.serving == {"blue": 100}
    assert str(reached.record.previous) == "green=diabetes:3"


def test_traffic_that_is_back_already_but_was_never_tested_is_only_tested() -> None:
    back = wanted_for(one("blue", "2"), "rolled back")
    left = run_until(SPEC, back, endpoint(), Kind.MOVE_TRAFFIC).endpoint

    made = run(SPEC, back, left, facts(attempt="next/1", ended=frozenset({"run/1"})))

    assert made.kinds == [Kind.TEST_LIVE, Kind.PROMOTE]
    assert str(made.endpoint.record.previous) == "green=diabetes:3"


def planned(version: str = "1", state: EndpointState = ABSENT) -> Plan:
    """The plan of a person's run for a version."""
    return plan(SPEC, wanted(version), state, facts())


def test_a_new_rollout_of_the_model_version_leads_back() -> None:
    require_way_back(planned("2"), "deployments/diabetes", AGAIN)
    require_way_back(planned("2"), "deployments/diabetes", Target(version="2"))


@pytest.mark.parametrize(
    ("made", "target", "what", "why"),
    [
        (
            planned(),
            Target(model="churn", version="2"),
            "the folder cannot go back to model churn:2",
            "it names diabetes",
        ),
        (
            planned().model_copy(update={"model": None}),
            AGAIN,
            "the folder cannot go back to model diabetes:2",
            "it names no model",
        ),
        (
            planned("1", rolled_out("1")),
            AGAIN,
            "rolling out model diabetes:2 again changes nothing",
            "the previous online deployment had other files, and it is gone",
        ),
    ],
    ids=["other model", "no model", "nothing changes"],
)
def test_a_new_rollout_that_would_not_lead_back_is_refused(made: Plan, target: Target, what: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_way_back(made, "deployments/diabetes", target)

    assert (caught.value.what, caught.value.why) == (what, why)
