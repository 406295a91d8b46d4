"""The end of a run: which ones are errors."""

import pytest

from rollway.errors import ConfigurationError, ForeignChange, NotFound, RollwayError, ToldToAbort
from rollway.rollout.entries import Order
from rollway.rollout.moves import Outcome, end, require_good_end, require_no_abort
from tests.unit.rollout.examples import NOW, order


@pytest.mark.parametrize(
    ("outcome", "kind", "what"),
    [
        (Outcome.FOREIGN, ForeignChange, "somebody else changed 'blue' during the rollout"),
        (Outcome.GONE, NotFound, "'blue' cannot take over"),
        (Outcome.BLOCKED, ConfigurationError, "'blue' is in the way of the rollout"),
        (Outcome.ABORTED, ToldToAbort, "the rollout was told to abort"),
    ],
)
def test_an_end_at_which_the_rollout_failed_is_an_error(outcome: Outcome, kind: type[RollwayError], what: str) -> None:
    with pytest.raises(kind) as caught:
        require_good_end(end(outcome, "blue", "why"))

    assert (type(caught.value), caught.value.what, caught.value.why) == (kind, what, "why")


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.HELD, Outcome.SUPERSEDED])
def test_the_other_ends_are_good(outcome: Outcome) -> None:
    require_good_end(end(outcome, "blue", "why"))


@pytest.mark.parametrize("word", [Order.HOLD, Order.PROMOTE])
def test_only_an_abort_ends_a_run_that_is_told(word: Order) -> None:
    require_no_abort(None)
    require_no_abort(order(word, NOW))

    with pytest.raises(ToldToAbort) as caught:
        require_no_abort(order(Order.ABORT, NOW))

    assert (caught.value.what, caught.value.why) == ("the rollout was told to abort", "abort by ann: because")
