"""A run with its plan."""

import pytest

from rollway.rollout.moves import Kind, Move
from tests.support.builders import asset, planned_rollout, wanted


@pytest.mark.parametrize(
    ("is_new", "seconds", "reasons"),
    [
        (False, 0.0, ()),
        (True, 0.0, ("Azure builds the new environment first",)),
        (False, 540.4, ("the last one took 540 s",)),
        (True, 540.4, ("Azure builds the new environment first", "the last one took 540 s")),
    ],
)
def test_a_wait_says_why_it_may_last(is_new: bool, seconds: float, reasons: tuple[str, ...]) -> None:
    environment = asset("environment", "inference").model_copy(update={"is_new": is_new})
    move = Move(kind=Kind.WAIT_UNTIL_READY, target="blue", why="it is Creating", seconds=seconds)

    assert planned_rollout(wanted=wanted(environment=environment)).why_it_may_last(move) == reasons
    assert planned_rollout(wanted=wanted(environment=None)).why_it_may_last(move) == tuple(
        one for one in reasons if "environment" not in one
    )
