"""Actions that the roles of a caller allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.rollout.permissions import Permission, is_allowed

WRITE = "Microsoft.Insights/autoscaleSettings/write"
SEGMENT = st.text("abcXYZ.", min_size=1)
ACTIONS = st.lists(SEGMENT, min_size=2, max_size=4).map("/".join)


def one(*actions: str, without: tuple[str, ...] = ()) -> Permission:
    return Permission(actions=actions, not_actions=without)


@pytest.mark.parametrize(
    ("action", "is_allowed_by_it"),
    [
        ("*", True),
        (WRITE, True),
        ("microsoft.insights/AUTOSCALESETTINGS/write", True),
        ("Microsoft.Insights/autoscaleSettings/*", True),
        ("Microsoft.Insights/*", True),
        ("*/write", True),
        ("Microsoft.Insights/*/write", True),
        ("*/read", False),
        ("Microsoft.Insights/autoscaleSettings", False),
        ("Microsoft.Insights/autoscaleSettings/read", False),
        ("MicrosoftXInsights/autoscaleSettings/write", False),
        ("Microsoft.MachineLearningServices/*", False),
    ],
)
def test_an_action_is_allowed_by_its_name_or_by_a_wildcard(action: str, is_allowed_by_it: bool) -> None:
    assert is_allowed([one(action)], WRITE) is is_allowed_by_it


def test_an_exception_takes_an_action_back() -> None:
    assert not is_allowed([one("*", without=("Microsoft.Insights/*",))], WRITE)
    assert not is_allowed([one("*", without=("*/Write",))], WRITE)
    assert is_allowed([one("*", without=("Microsoft.Authorization/*/Write",))], WRITE)


def test_an_exception_of_one_role_does_not_limit_another_role() -> None:
    limited = one("*", without=("Microsoft.Insights/*",))

    assert is_allowed([limited, one("Microsoft.Insights/*")], WRITE)
    assert is_allowed([one("Microsoft.Insights/*"), limited], WRITE)


def test_without_permissions_nothing_is_allowed() -> None:
    assert not is_allowed([], WRITE)
    assert not is_allowed([one()], WRITE)


@given(ACTIONS, st.lists(st.tuples(st.lists(ACTIONS), st.lists(ACTIONS)), max_size=4))
def test_another_role_never_takes_an_action_away(action: str, roles: list[tuple[list[str], list[str]]]) -> None:
    permissions = [one(*actions, without=tuple(without)) for actions, without in roles]

    assert is_allowed([*permissions, one(action)], action)
    assert not is_allowed(permissions, action) or is_allowed([*permissions, one("other/read")], action)


@given(ACTIONS, ACTIONS)
def test_an_action_without_a_wildcard_allows_only_itself(allowed: str, action: str) -> None:
    assert is_allowed([one(allowed)], action) is (allowed.lower() == action.lower())
