"""Orders of people, written into the record of an endpoint; the abort of a canary that no run works on."""

from uuid import uuid4

from rollway.azure.abort import AbortResult, abort
from rollway.azure.endpoints import write_endpoint
from rollway.azure.session import Session, sign_in
from rollway.azure.state import read_endpoint
from rollway.azure.waiting import SYSTEM_CLOCK, Clock
from rollway.errors import Busy
from rollway.rollout.abort import Failure
from rollway.rollout.entries import Command, Order, time_text
from rollway.rollout.moves import Kind, Move
from rollway.rollout.state import EndpointState
from rollway.rollout.steering import Steered, outcome_of, require_meaning
from rollway.settings import Identity, Workspace

MOST_TRIES = 5


async def give_order(
    session: Session, endpoint: str, command: Command, attempt: str, *, clock: Clock = SYSTEM_CLOCK
) -> tuple[EndpointState, AbortResult | None]:
    """Abort a canary that no run holds, in one write, or else write the order into the record; return the endpoint."""
    state = await read_endpoint(session, endpoint)
    done = await abort_canary(session, state, command, attempt, clock=clock)
    return (state, done) if done else (await give_command(session, endpoint, command, clock=clock), None)


async def give_command(
    session: Session, endpoint: str, command: Command, *, clock: Clock = SYSTEM_CLOCK
) -> EndpointState:
    """Write an order into the record; return the endpoint. It needs no lease: the rollout that works reads it.

    Raises ConfigurationError if the order has no meaning there, and Busy if others write all the time.
    """
    for _ in range(MOST_TRIES):
        state = await read_endpoint(session, endpoint)
        require_meaning(command.order, state)
        record = state.record.told(command)
        if record == state.record:
            return state
        move = Move(kind=Kind.RECORD, target=endpoint, why=command.sentence, record=record)
        if await write_endpoint(session, state, move, clock):
            return await read_endpoint(session, endpoint)
    what = f"the order could not be written to the endpoint {endpoint!r}"
    raise Busy(what, where=f"endpoint {endpoint}", why="others write to it all the time", hint="give it again")


async def abort_canary(
    session: Session, endpoint: EndpointState, command: Command, attempt: str, *, clock: Clock = SYSTEM_CLOCK
) -> AbortResult | None:
    """Bring all traffic back to stable; return None if a run works on the endpoint, or if nothing is moved."""
    if command.order is not Order.ABORT or endpoint.record.lease is not None or not endpoint.is_rolling_out:
        return None
    failure = Failure(attempt=attempt, at=command.at, undoes_canary=True, is_recorded=True, pauses=command.sentence)
    return await abort(session, endpoint.name, failure, clock=clock)


async def steer(endpoint: str, command: Command, where: tuple[Workspace, Identity] | None = None) -> Steered:
    """Sign in, write an order into the record, and carry out an abort that no run carries out.

    Args:
        endpoint: Name of the endpoint.
        command: The order.
        where: Workspace and identity; default: those of the environment.
    """
    session = await sign_in(where)
    # By Azure's clock, like the steps of a rollout: an order counts if it is later than the step.
    command = command.model_copy(update={"at": time_text(session.now())})
    state, done = await give_order(session, endpoint, command, f"{uuid4()}/1")
    return Steered(
        endpoint=state.name,
        order=command.order,
        outcome=outcome_of(command.order, state, is_restored=done is not None and bool(done.cleaned_up)),
        traffic_now=state.serving if done is None else done.traffic_now,
        remarks=done.kept if done else (),
    )
