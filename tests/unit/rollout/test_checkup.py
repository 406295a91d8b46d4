"""The checks of `rollway doctor` that are decided from values."""

import pytest

from rollway.errors import NotFound
from rollway.rollout.checkup import NEEDED, Check, Checkup, State, check_roles
from rollway.rollout.permissions import Permission

SCIENTIST = Permission(
    actions=tuple(
        f"Microsoft.MachineLearningServices/workspaces/*/{verb}" for verb in ("read", "action", "delete", "write")
    )
)


def states(*permissions: Permission) -> dict[str, State]:
    return {one.name: one.state for one in check_roles(permissions)}


def test_a_data_scientist_may_roll_out_and_lacks_only_what_is_optional() -> None:
    assert states(SCIENTIST) == {"roles": State.OK, "metrics": State.OPTIONAL, "autoscale": State.OPTIONAL}
    assert set(states(Permission(actions=("*",))).values()) == {State.OK}


def test_a_reader_learns_which_actions_are_missing_and_which_role_has_them() -> None:
    (roles, metrics, _) = check_roles([Permission(actions=("*/read",))])

    assert roles.state is State.MISSING
    assert "onlineEndpoints/write" in roles.found
    assert "models/versions/read" not in roles.found
    assert "'AzureML Data Scientist'" in roles.next
    assert metrics.state is State.OK


def test_permissions_that_cannot_be_read_are_unknown_and_nothing_else() -> None:
    assert [one.state for one in check_roles(None)] == [State.UNKNOWN]


def test_every_needed_action_is_needed() -> None:
    for action in NEEDED:
        others = Permission(actions=tuple(one for one in NEEDED if one != action))
        assert states(others)["roles"] is State.MISSING, action


@pytest.mark.parametrize(("state", "is_ready"), [(State.OPTIONAL, True), (State.UNKNOWN, True), (State.MISSING, False)])
def test_only_what_is_missing_keeps_it_from_being_ready(state: State, is_ready: bool) -> None:
    checks = tuple(Check(name="x", state=one, found="y") for one in (State.OK, state))

    assert Checkup(checks=checks).is_ready is is_ready


def test_an_error_is_a_check_in_one_line_with_its_next_step() -> None:
    found = Check.failed("access", NotFound("no workspace", why="Not\nFound", hint="check the name"))

    assert found == Check(name="access", state=State.MISSING, found="no workspace: Not Found", next="check the name")
