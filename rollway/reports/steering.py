"""The result of an order, as a value and as text."""

from rollway.reports.rollout import RolloutReport
from rollway.rollout import traffic
from rollway.rollout.entries import Order
from rollway.rollout.steering import LEFT_TO_THE_RUN, Steered


def promoted(endpoint: str, report: RolloutReport | None) -> Steered:
    """Return the result of the order to promote.

    Args:
        endpoint: Name of the endpoint.
        report: The report of the promotion; None if it is left to a run that works on the endpoint.
    """
    if report is None:
        return Steered(endpoint=endpoint, order=Order.PROMOTE, outcome=LEFT_TO_THE_RUN[Order.PROMOTE])
    return Steered(
        endpoint=endpoint,
        order=Order.PROMOTE,
        outcome=report.outcome.value,
        traffic_now=report.traffic_after,
        remarks=() if report.is_news else (report.end,),
    )


def text(steered: Steered) -> str:
    """Return one line: what happened, and the traffic now."""
    now = "unknown" if steered.traffic_now is None else traffic.describe(steered.traffic_now)
    return f"{steered.endpoint}: {steered.outcome}; traffic now {now}"
