"""The abort: what is left to do when a rollout failed, decided from Azure's state alone."""

from rollway.rollout.moves import Kind, Move, Outcome, end
from rollway.rollout.record import EndpointRecord, is_earlier_attempt
from rollway.rollout.state import EndpointState
from rollway.rollout.switch import restoration
from rollway.spec import Frozen


class Failure(Frozen):
    """A rollout that failed, and what follows from that.

    Attributes:
        attempt: The attempt that failed, `<flow run>/<attempt>`.
        at: The time, in UTC.
        candidate: The online deployment to delete because it is at fault; None to keep it.
        rejects: What automation must not roll out again, `<model>:<version>/<digest of the folder>`.
        delays: The content that automation may roll out again later, 8 hex digits.
        keeps_traffic: True if the live smoke test passed: then traffic stays.
        undoes_canary: True if a canary that passed its smoke test must go as well.
        pauses: Why automation must leave the endpoint alone afterwards; empty if nothing changes.
        is_recorded: True if its end is written down even if nothing is to be restored.
    """

    attempt: str
    at: str
    candidate: str | None = None
    rejects: str | None = None
    delays: str | None = None
    keeps_traffic: bool = False
    undoes_canary: bool = False
    is_recorded: bool = False
    pauses: str = ""


def decide_abort(endpoint: EndpointState, failure: Failure) -> Move:
    """Return the one move that is due after a failure: first all traffic goes back to stable, in one write.

    Nothing is done while another rollout, or a later attempt, holds the endpoint: the rest is left to that one.
    """
    if not endpoint.exists:
        return end(Outcome.DONE, endpoint.name, "there is no endpoint")
    record = endpoint.record
    holder = record.lease.holder if record.lease else failure.attempt
    if holder != failure.attempt and not is_earlier_attempt(holder, failure.attempt):
        return end(Outcome.SUPERSEDED, endpoint.name, f"the rest is left to another rollout: {holder}")
    if not endpoint.is_settled:  # what is running hides its changes
        return Move(kind=Kind.WAIT, target=endpoint.name, why=f"it is {endpoint.provisioning_state}")
    due = _due(endpoint, record, failure)
    running = next((one for one in endpoint.online_deployments if not one.is_settled), None)
    if running is None or not due.is_write:
        return due
    # Azure runs one operation at a time on an endpoint and everything behind it. Only traffic is worth the wait.
    why = f"{running.name} is {running.provisioning_state}"
    if due.kind is Kind.RESTORE:
        return Move(kind=Kind.WAIT, target=running.name, why=why)
    return end(Outcome.BLOCKED, endpoint.name, f"{why}; the next run continues from there")


def _due(endpoint: EndpointState, record: EndpointRecord, failure: Failure) -> Move:
    ended = _ended(record, failure)
    underway = record.underway
    # No run can go on with a rollout whose steps cannot be read.
    is_ours_to_end = underway is not None and (underway.is_of(failure.attempt) or record.progression is None)
    is_to_undo = failure.undoes_canary and (underway is not None or endpoint.is_canary)
    is_to_restore = endpoint.is_unproven or is_ours_to_end or is_to_undo
    if is_to_restore and not failure.keeps_traffic:
        back = restoration(endpoint, failure.attempt, "the rollout failed")
        restored = _ended(back.record or record, failure)
        return back.model_copy(update={"record": restored})
    is_ours = record.lease is not None
    is_news = (failure.rejects and failure.rejects not in record.rejected) or (
        failure.is_recorded and record.last != ended.last
    )
    if is_ours or is_news:
        return Move(kind=Kind.RECORD, target=endpoint.name, why="the rollout failed", record=ended)
    found = endpoint.online_deployment(failure.candidate) if failure.candidate else None
    is_idle = found is not None and not endpoint.is_needed(found.name) and not found.is_being_deleted
    if found is not None and is_idle and found.is_ours:
        return Move(kind=Kind.DELETE, target=found.name, why="it failed, and rollout.yml says delete")
    return end(Outcome.DONE, endpoint.name, "nothing of the failed rollout has traffic")


def _ended(record: EndpointRecord, failure: Failure) -> EndpointRecord:
    """Return the record with the end of the rollout in it; the same however often it is called."""
    if record.last is not None and record.last.attempt == failure.attempt:
        return record.released()
    if not record.is_of_another(failure.attempt):
        record = record.obeyed()
    record = record.aborted(failure.attempt, failure.at).released()
    if failure.rejects:
        record = record.rejecting(failure.rejects)
    if failure.pauses:
        record = record.paused(failure.pauses)
    return record.failed(failure.delays, failure.at) if failure.delays else record
