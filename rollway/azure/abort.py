"""The abort of a failed rollout, with nothing but Azure: traffic back to stable, the record, the failed candidate."""

from rollway.azure.autoscale import delete_autoscale_of
from rollway.azure.endpoints import write_endpoint
from rollway.azure.online_deployments import delete_online_deployment
from rollway.azure.session import Session
from rollway.azure.state import read_endpoint_patiently
from rollway.azure.waiting import OPERATION_TIMEOUT_SECONDS, SYSTEM_CLOCK, Clock
from rollway.errors import DeadlineExceeded, RollwayError
from rollway.rollout import traffic
from rollway.rollout.abort import Failure, decide_abort
from rollway.rollout.moves import Kind, Move, Outcome
from rollway.rollout.record import is_same_run
from rollway.rollout.state import EndpointState
from rollway.spec import Frozen

INTERVAL_SECONDS = 2.0


class AbortResult(Frozen):
    """Results of an abort, and what it left on purpose: sentences for people.

    `traffic_now` is in percent by online deployment, None if unknown.
    """

    cleaned_up: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    traffic_now: dict[str, int] | None = None


async def abort(session: Session, endpoint: str, failure: Failure, *, clock: Clock = SYSTEM_CLOCK) -> AbortResult:
    """Bring all traffic back to stable in one write, and tidy up after a failed rollout.

    A fresh process can do it, and it is safe to repeat: each step starts from what Azure says. Nothing is done while
    another rollout holds the endpoint. Raises RollwayError if Azure refuses.
    """
    done: list[str] = []
    started = clock.now()
    while True:
        state = await read_endpoint_patiently(session, endpoint, clock)
        move = decide_abort(state, failure)
        if move.is_end:
            return AbortResult(
                cleaned_up=tuple(done),
                kept=_kept(state, failure, move),
                traffic_now=state.serving if state.exists else None,
            )
        if clock.now() - started > OPERATION_TIMEOUT_SECONDS:
            raise DeadlineExceeded(
                f"the abort took longer than {OPERATION_TIMEOUT_SECONDS} s",
                where=f"endpoint {endpoint}",
                why=move.why,
                hint="find out in Azure what delays it",
            )
        try:
            is_made = await _make(session, state, move, clock)
        except RollwayError as error:
            if move.kind is Kind.RESTORE:
                raise
            remark = f"{move} did not succeed: {error.why or error.what}"
            return AbortResult(cleaned_up=tuple(done), kept=(remark,), traffic_now=state.serving)
        if is_made and move.kind is Kind.RESTORE:
            done.append(f"traffic restored: {traffic.describe(move.traffic or {})}")
        elif is_made and move.kind is Kind.DELETE:
            done.append(f"online deployment {move.target} deleted")


async def _make(session: Session, state: EndpointState, move: Move, clock: Clock) -> bool:
    """Make a move; return False if somebody else was faster, so that the abort must decide again."""
    match move.kind:
        case Kind.WAIT:
            await clock.sleep(INTERVAL_SECONDS)
        case Kind.DELETE:
            await delete_autoscale_of(session, state.name, move.target)
            await delete_online_deployment(session, state.name, move.target, clock=clock)
        case _:
            return await write_endpoint(session, state, move, clock)
    return True


def _kept(state: EndpointState, failure: Failure, last: Move) -> tuple[str, ...]:
    kept = [
        f"online deployment {one.name} stays without traffic ({one.provisioning_state}), to continue with"
        for one in state.online_deployments
        if one.is_ours
        and is_same_run(one.record.written_by or "", failure.attempt)
        and not state.weight_of(one.name)
        and one.name != failure.candidate
    ]
    return (*kept, *([] if last.outcome is Outcome.DONE else [last.why]))
