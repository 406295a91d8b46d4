"""Orders of people, written into the record of an endpoint; the abort of a canary that no run works on."""

from rollway.azure.abort import AbortResult, abort
from rollway.azure.endpoints import write_endpoint
from rollway.azure.session import Session
from rollway.azure.state import read_endpoint
from rollway.azure.waiting import SYSTEM_CLOCK, Clock
from rollway.errors import Busy
from rollway.rollout.abort import Failure
from rollway.rollout.entries import Command, Order
from rollway.rollout.moves import Kind, Move
from rollway.rollout.state import EndpointState
from rollway.rollout.steering import require_meaning

MOST_TRIES = 5


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
    raise Busy(f"the order could not be written to the endpoint {endpoint!r}", hint="try again")


async def abort_canary(
    session: Session, endpoint: EndpointState, command: Command, attempt: str, *, clock: Clock = SYSTEM_CLOCK
) -> AbortResult | None:
    """Bring all traffic back to stable; return None if a run works on the endpoint, or if nothing is moved."""
    if command.order is not Order.ABORT or endpoint.record.lease is not None or not endpoint.is_moved:
        return None
    failure = Failure(attempt=attempt, at=command.at, undoes_canary=True, is_recorded=True)
    return await abort(session, endpoint.name, failure, clock=clock)
