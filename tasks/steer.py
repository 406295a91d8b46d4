"""Orders to a rollout, and room for a rollback."""

from prefect.logging import get_run_logger

from rollway.azure import steering
from rollway.azure.session import WorkspaceFacts
from rollway.azure.waiting import now
from rollway.prefect.orders import try_to_tell_runs
from rollway.prefect.run import current_run
from rollway.prefect.task import task
from rollway.rollout.entries import Command, Order, time_text
from rollway.rollout.rollback import Target
from rollway.rollout.steering import promotable
from rollway.spec import RolloutSpec
from tasks.connect import open_session


@task("give order", run_name="{order}", timeout_seconds=3600)
async def give_order(connected: WorkspaceFacts, spec: RolloutSpec, order: str, reason: str, by: str) -> Target | None:
    """Write the order into the record and tell the run that works; return what `promote` gives all traffic.

    An abort that no run carries out is carried out here.
    """
    session, run = await open_session(connected.workspace), current_run()
    command = Command(
        order=Order(order),
        by="-".join(by.split()) or "the-Prefect-UI",
        at=time_text(session.now()),  # Azure's clock, like the steps of a rollout
        reason=reason,
    )
    told = await try_to_tell_runs(connected.workspace, spec.endpoint.name, command, [run.flow_run_id])
    endpoint, done = await steering.give_order(session, spec.endpoint.name, command, run.attempt_id)
    get_run_logger().info("%s; %d runs are working and were told", command.sentence, told)
    for line in (*done.cleaned_up, *done.kept) if done else ():
        get_run_logger().info("%s", line)
    is_for_us = command.order is Order.PROMOTE and endpoint.record.lease is None and not told
    return promotable(endpoint) if is_for_us else None


@task("make room", run_name="abort what is running", timeout_seconds=300)
async def make_room(connected: WorkspaceFacts, spec: RolloutSpec) -> None:
    """Tell the running rollout of the endpoint to abort, because this run comes first."""
    run = current_run()
    command = Command(order=Order.ABORT, by=run.attempt_id, at=now("milliseconds"), reason="a rollback comes first")
    told = await try_to_tell_runs(connected.workspace, spec.endpoint.name, command, [run.flow_run_id])
    get_run_logger().info("%d running rollouts were told to abort", told)
