"""What people read when something is wrong, and how the process ends."""

import inspect
import pickle
import re

import pytest

from rollway import errors
from rollway.errors import (
    AccessDenied,
    AzureUnavailable,
    Busy,
    ConfigurationError,
    DeadlineExceeded,
    ForeignChange,
    InvalidRollout,
    NotFound,
    ProvisioningFailed,
    RolloutAborted,
    RollwayError,
    SmokeTestFailed,
    TrafficNotRestored,
    WatchIncomplete,
)
from rollway.spec import Problem

TREE = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, RollwayError)]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (RollwayError, 1),
        (AzureUnavailable, 1),
        (ConfigurationError, 2),
        (InvalidRollout, 2),
        (AccessDenied, 2),
        (NotFound, 2),
        (RolloutAborted, 3),
        (ProvisioningFailed, 3),
        (SmokeTestFailed, 3),
        (ForeignChange, 3),
        (TrafficNotRestored, 4),
        (DeadlineExceeded, 5),
        (WatchIncomplete, 1),
    ],
)
def test_the_exit_code_tells_what_happened(kind: type[RollwayError], code: int) -> None:
    assert kind("it").exit_code == code


def test_only_an_unavailable_azure_is_worth_another_try() -> None:
    assert [one for one in TREE if one.retryable] == [AzureUnavailable, Busy]


def test_the_tree_in_the_documentation_is_the_tree_in_the_code() -> None:
    drawn = set(re.findall(r"^ *[│├└─ ]*([A-Z]\w+)  ", errors.__doc__ or "", re.MULTILINE))

    assert drawn == {one.__name__ for one in TREE}


@pytest.mark.parametrize("kind", TREE)
def test_the_documented_exit_code_is_the_real_one(kind: type[RollwayError]) -> None:
    documented = re.search(rf"\b{kind.__name__} +exit (\d)", errors.__doc__ or "")

    assert documented is None or int(documented[1]) == kind.exit_code


def test_an_error_says_what_where_why_and_what_to_try_in_this_order() -> None:
    error = RollwayError(
        "no luck", where="endpoint x", why="it rained", hint="wait", request_id="abc", details="log line\n"
    )

    assert str(error) == (
        "no luck\n  where: endpoint x\n  why: it rained\n  try: wait\n  Azure request id: abc\n\nlog line"
    )


def test_what_is_not_known_is_left_out() -> None:
    assert str(RollwayError("no luck")) == "no luck"


def test_notes_are_part_of_the_text() -> None:
    error = RollwayError("no luck", hint="wait")
    error.add_note("and: no umbrella")

    assert str(error) == "no luck\n  try: wait\nand: no umbrella"


def test_an_invalid_rollout_lists_every_problem_on_a_line_of_its_own() -> None:
    problems = [Problem(file="a.yml", field="x.y", message="is wrong"), Problem(file="b.yml", message="is missing")]

    error = InvalidRollout("2 problems", problems)

    assert str(error) == "2 problems\n\n  a.yml: x.y: is wrong\n  b.yml: is missing"
    assert error.problems == tuple(problems)


def test_an_error_survives_the_way_from_one_process_to_another() -> None:
    error = SmokeTestFailed("too slow", where="endpoint x", hint="make it faster")

    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
