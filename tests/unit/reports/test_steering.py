"""The result of an order, as people read it."""

import pytest

from rollway.reports.rollout import RolloutOutcome, RolloutReport
from rollway.reports.steering import promoted, text
from rollway.rollout.entries import Order
from rollway.rollout.steering import Steered
from tests.support.builders import a_plan


def a_report(outcome: RolloutOutcome) -> RolloutReport:
    return RolloutReport(
        rollout="diabetes",
        outcome=outcome,
        plan=a_plan(),
        scoring_uri=None,
        traffic_after={"green": 100},
        end="hold by ann",
    )


def test_an_order_is_answered_in_one_line_with_the_traffic_now() -> None:
    steered = Steered(
        endpoint="diabetes", order=Order.HOLD, outcome="held until somebody resumes it", traffic_now={"blue": 100}
    )

    assert text(steered) == "diabetes: held until somebody resumes it; traffic now blue 100 %"
    assert text(steered.model_copy(update={"traffic_now": {}})).endswith("; traffic now none")


@pytest.mark.parametrize(
    ("outcome", "remarks"), [(RolloutOutcome.PROMOTED, ()), (RolloutOutcome.HELD, ("hold by ann",))]
)
def test_a_promotion_is_answered_with_the_outcome_of_its_run(outcome: RolloutOutcome, remarks: tuple[str, ...]) -> None:
    steered = promoted("diabetes", a_report(outcome))

    assert text(steered) == f"diabetes: {outcome.value}; traffic now green 100 %"
    assert steered.remarks == remarks


def test_a_promotion_that_a_working_run_carries_out_has_no_traffic_to_tell() -> None:
    steered = promoted("diabetes", None)

    assert text(steered) == "diabetes: told to promote, the run that works on it does it; traffic now unknown"
