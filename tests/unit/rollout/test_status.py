"""The status of an endpoint, from Azure's answers."""

from datetime import timedelta
from typing import Any

import pytest

from rollway.rollout.costs import CostClass
from rollway.rollout.record import (
    CREATED_AT,
    LAST,
    LEASE,
    MODEL,
    PAUSED,
    PREVIOUS,
    PROMOTED_AT,
    REJECTED,
    STABLE_TRAFFIC,
    WRITTEN_TRAFFIC,
)
from rollway.rollout.state import EndpointState, OnlineDeploymentState
from rollway.rollout.status import (
    EndpointStatus,
    LastOutcome,
    LastRollout,
    Role,
    WorkspaceStatus,
    models_of,
    status_of,
)
from tests.support.builders import NOW, WORKSPACE_ID

AT = "2026-01-02T03:04:05+00:00"
HELD = f"run/1 300 {AT}"
UNTESTED = {WRITTEN_TRAFFIC: "green=100", STABLE_TRAFFIC: "blue=100"}


def one(name: str, state: str = "Succeeded", model: str | None = "diabetes:3", **values: Any) -> OnlineDeploymentState:
    """An online deployment."""
    tags = {MODEL: model, CREATED_AT: AT} if model else {}
    return OnlineDeploymentState(
        name=name,
        provisioning_state=state,
        **{"instance_count": 1, "settings": {"instance_type": "Standard_DS3_v2"}, "tags": tags, **values},
    )


def endpoint(*behind: OnlineDeploymentState, **values: Any) -> EndpointState:
    """An endpoint with `blue` and `green`, of which green serves."""
    values = {"traffic": {"green": 100}, "online_deployments": behind or (one("blue"), one("green")), **values}
    return EndpointState(name="diabetes", **values)


def foreign(name: str) -> OnlineDeploymentState:
    """An online deployment without any tag of Rollway's."""
    return OnlineDeploymentState(
        name=name, provisioning_state="Succeeded", instance_count=1, model=f"{WORKSPACE_ID}/models/churn/versions/7"
    )


def test_roles_follow_from_traffic_and_tags() -> None:
    behind = (one("blue"), one("Green"), one("shadow"), one("old"), one("half"))
    seen = status_of(
        endpoint(
            *behind,
            traffic={"green": 90, "half": 10, "old": 0},
            mirror_traffic={"shadow": 20},
            tags={PREVIOUS: "blue=diabetes:2"},
        ),
        {},
        NOW,
    )

    roles = {name.name: (name.role, name.weight) for name in seen.online_deployments}
    assert roles == {
        "blue": (Role.PREVIOUS, 0),
        "Green": (Role.LIVE, 90),
        "shadow": (Role.MIRROR, 0),
        "old": (Role.LEFTOVER, 0),
        "half": (Role.LIVE, 10),
    }
    assert [name.name for name in seen.of_role(Role.LIVE)] == ["Green", "half"]


def test_each_online_deployment_says_what_it_serves_how_new_that_is_and_what_it_costs() -> None:
    behind = (one("blue", model="diabetes:9", instance_count=2), one("green"))

    blue, green = status_of(endpoint(*behind), {"diabetes": "9"}, NOW).online_deployments

    assert (blue.model, blue.newest, blue.is_newest, blue.cost) == ("diabetes:9", "9", True, CostClass.MEDIUM)
    assert (green.model, green.newest, green.is_newest, green.cost) == ("diabetes:3", "9", False, CostClass.SMALL)
    assert (green.instance_type, green.instance_count, green.created_at) == ("Standard_DS3_v2", 1, AT)


def test_a_model_is_known_from_its_id_when_rollway_did_not_write_it_down() -> None:
    state = endpoint(foreign("green"))

    seen = status_of(state, {"churn": "8"}, NOW)

    assert models_of(state) == {"churn"}
    assert (seen.online_deployments[0].model, seen.online_deployments[0].is_newest) == ("churn:7", False)
    assert not seen.is_ours


def test_a_model_of_a_registry_is_not_looked_up_in_the_workspace() -> None:
    state = endpoint(
        OnlineDeploymentState(
            name="green",
            provisioning_state="Succeeded",
            instance_count=1,
            tags={MODEL: "diabetes:3"},
            model="azureml://registries/shared/models/diabetes/versions/3",
        )
    )

    assert models_of(state) == set()
    assert status_of(state, {"diabetes": "9"}, NOW).online_deployments[0].newest is None


def test_without_a_model_nothing_is_newer() -> None:
    state = endpoint(OnlineDeploymentState(name="green", provisioning_state="Succeeded", instance_count=1))

    seen = status_of(state, {}, NOW).online_deployments[0]

    assert models_of(state) == set()
    assert (seen.model, seen.is_newest, seen.cost) == (None, True, CostClass.UNKNOWN)


def test_live_since_the_last_promotion_or_else_since_it_was_created() -> None:
    promoted = "2026-02-02T00:00:00+00:00"

    assert status_of(endpoint(tags={PROMOTED_AT: promoted}), {}, NOW).live_since == promoted
    assert status_of(endpoint(), {}, NOW).live_since == AT
    assert status_of(endpoint(traffic={}), {}, NOW).live_since is None


def test_pins_and_rejected_versions_are_passed_on() -> None:
    seen = status_of(endpoint(tags={PAUSED: "rolled back", REJECTED: "diabetes:4,diabetes:5"}), {}, NOW)

    assert (seen.is_ours, seen.pause_reason, seen.rejected) == (True, "rolled back", ("diabetes:4", "diabetes:5"))
    assert status_of(endpoint(tags={PAUSED: "", REJECTED: ""}), {}, NOW).pause_reason == ""


def test_what_serves_is_not_called_rejected_although_it_failed_with_another_folder() -> None:
    seen = status_of(endpoint(tags={REJECTED: "Diabetes:3/0a1b2c3d,diabetes:4/0a1b2c3d"}), {}, NOW)

    assert [one.model for one in seen.of_role(Role.LIVE)] == ["diabetes:3"]
    assert seen.rejected == ("diabetes:4/0a1b2c3d",)


@pytest.mark.parametrize(
    ("tags", "age", "expected"),
    [
        ({}, 0, None),
        ({LAST: "nonsense"}, 0, None),
        ({LAST: f"promoted run/1 {AT}"}, 0, LastRollout(outcome=LastOutcome.PROMOTED, run="run/1", at=AT)),
        ({LAST: f"aborted run/2 {AT}"}, 0, LastRollout(outcome=LastOutcome.ABORTED, run="run/2", at=AT)),
        (
            {LAST: "aborted run/0 x", LEASE: HELD},
            10,
            LastRollout(outcome=LastOutcome.RUNNING, run="run/1", at=AT),
        ),
        ({LEASE: HELD}, 600, LastRollout(outcome=LastOutcome.RUNNING, run="run/1", at=AT)),
        ({LEASE: HELD}, 601, LastRollout(outcome=LastOutcome.ORPHANED, run="run/1", at=AT)),
        ({**UNTESTED, LEASE: HELD}, 10, LastRollout(outcome=LastOutcome.RUNNING, run="run/1", at=AT)),
        ({**UNTESTED, LEASE: "free"}, 0, LastRollout(outcome=LastOutcome.UNCONFIRMED)),
        (
            {**UNTESTED, LAST: f"aborted run/2 {AT}"},
            0,
            LastRollout(outcome=LastOutcome.UNCONFIRMED, run="run/2", at=AT),
        ),
    ],
)
def test_the_last_rollout_is_read_from_the_tags(tags: dict[str, str], age: int, expected: LastRollout | None) -> None:
    assert status_of(endpoint(tags=tags), {}, NOW + timedelta(seconds=age)).last_rollout == expected


def test_a_rollout_is_not_called_orphaned_while_azure_works_for_it() -> None:
    behind = (one("blue", "Creating"), one("green"))

    seen = status_of(endpoint(*behind, tags={LEASE: HELD}), {}, NOW + timedelta(hours=3))

    assert seen.last_rollout == LastRollout(outcome=LastOutcome.RUNNING, run="run/1", at=AT)
    assert seen.problems == ()


@pytest.mark.parametrize(
    ("state", "age", "problems"),
    [
        (endpoint(), 0, ()),
        (endpoint(traffic={}), 0, ()),
        (endpoint(tags={LAST: f"aborted run/2 {AT}"}), 0, ()),
        (endpoint(provisioning_state="Failed"), 0, ("the endpoint is Failed",)),
        (endpoint(one("blue", "Failed"), one("green")), 0, ("blue is Failed",)),
        (
            endpoint(one("blue"), one("green", "Canceled")),
            0,
            ("green is Canceled, and gets 100 % of the traffic",),
        ),
        (endpoint(one("blue")), 0, ("green gets 100 % of the traffic, but does not exist",)),
        (
            endpoint(tags=UNTESTED),
            0,
            (
                "a rollout moved traffic and ended before the smoke test (before: blue 100 %); "
                "another rollout repairs it",
            ),
        ),
        (
            endpoint(tags={LEASE: HELD}),
            601,
            (
                "no run works on its rollout any more: run/1 has done nothing since 2026-01-02 03:04 UTC; "
                "another rollout goes on with it",
            ),
        ),
    ],
    ids=[
        "healthy",
        "no traffic",
        "aborted",
        "endpoint failed",
        "leftover failed",
        "live failed",
        "gone",
        "unproven",
        "orphaned",
    ],
)
def test_a_person_must_look_at_what_failed_or_was_left_half_done(
    state: EndpointState, age: int, problems: tuple[str, ...]
) -> None:
    seen = status_of(state, {}, NOW + timedelta(seconds=age))

    assert seen.problems == problems
    assert WorkspaceStatus(workspace="ws", at=NOW, endpoints=(seen,)).is_healthy is not bool(problems)


def test_a_status_survives_its_own_json() -> None:
    seen = status_of(endpoint(tags={LAST: f"promoted run/1 {AT}"}), {"diabetes": "9"}, NOW)

    assert EndpointStatus.model_validate_json(seen.model_dump_json()) == seen
