"""Ending a rollout that failed: traffic back, what failed deleted, the lease given back."""

from rollway.azure import lease
from rollway.azure.endpoints import move_traffic
from rollway.azure.online_deployments import delete_online_deployment
from rollway.azure.session import Session
from rollway.azure.state import read_endpoint, settle
from rollway.azure.waiting import SYSTEM_CLOCK, Clock, now
from rollway.errors import Busy, LeaseLost, RollwayError
from rollway.rollout import traffic
from rollway.rollout.lease import decode
from rollway.rollout.state import CREATED_BY, LAST, LEASE, PROVEN_TRAFFIC, REJECTED, RUN, WRITTEN_TRAFFIC, EndpointState
from rollway.spec import Frozen

MOST_REJECTED = 5


class AbortResult(Frozen):
    """What an abort has come to, for people: a sentence each.

    It is what holds now, so a second try of it tells the same as the first would have. Traffic in percent by online
    deployment; None when unknown.
    """

    cleaned_up: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    traffic_now: dict[str, int] | None = None


async def abort(
    session: Session,
    endpoint: str,
    run_id: str,
    *,
    delete: str | None = None,
    keeps_traffic: bool = False,
    rejects: str | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AbortResult:
    """Brings traffic back to what was proven, and leaves the rest so that a retry or the next run can go on with it.

    Works from Azure alone, so it is right in a fresh process too, and safe to repeat. Does nothing when the lease
    is not this run attempt's own: then nothing was written, or somebody else goes on. `delete` names the online
    deployment that is at fault, `keeps_traffic` leaves traffic where it is; `rejects` is a `<model>:<version>` to
    remember, so that it is not rolled out again by itself. Traffic that somebody else has set since the rollout
    moved it is left alone; set in the very moment of the abort, it raises ForeignChange.
    """
    state = await read_endpoint(session, endpoint)
    untold: tuple[str, ...] = ()
    if state.exists and _is_held(state, run_id):
        untold = await _undo(session, state, run_id, delete, keeps_traffic, rejects, clock)
        state = await read_endpoint(session, endpoint)
    return _holds(state, run_id, delete, keeps_traffic, untold)


async def _undo(
    session: Session,
    state: EndpointState,
    run_id: str,
    delete: str | None,
    keeps_traffic: bool,
    rejects: str | None,
    clock: Clock,
) -> tuple[str, ...]:
    """Does it; gives what nobody could read from the endpoint afterwards."""
    endpoint = state.name
    try:
        state = await settle(session, endpoint, clock)  # a running operation hides what it is about to change
        if state.is_unproven and not keeps_traffic:
            before, proven = state.traffic, state.proven_traffic
            await move_traffic(session, endpoint, proven, expected=before, proven=proven, run_id=run_id, clock=clock)
            state = await read_endpoint(session, endpoint)
        found = state.online_deployment(delete) if delete else None
        if found is not None and CREATED_BY in found.tags and not state.weight_of(found.name):
            await delete_online_deployment(session, endpoint, found.name, run_id, clock=clock)
        tags = {**_rejected(state, rejects), **_ended(state, run_id)}
        return await _give_back(session, endpoint, run_id, tags, clock)
    except LeaseLost as lost:  # whoever has it now repairs what this run has left
        return (f"the rest is left to another rollout: {lost.why}",)


def _holds(
    state: EndpointState, run_id: str, delete: str | None, keeps_traffic: bool, untold: tuple[str, ...]
) -> AbortResult:
    """What the abort has come to, whichever try of it has done it."""
    cleaned_up, kept, serving = [], [], _serving(state)
    is_moved_by_us = state.tags.get(RUN) == run_id and not keeps_traffic
    if is_moved_by_us and state.tags.get(WRITTEN_TRAFFIC) == state.tags.get(PROVEN_TRAFFIC) == traffic.encode(serving):
        cleaned_up.append(f"traffic restored: {traffic.describe(serving)}")
    if delete and state.exists and state.online_deployment(delete) is None:
        cleaned_up.append(f"online deployment {delete} deleted")
    held = decode(state.tags.get(LEASE))
    is_left_to_us = held is None or held.holder == run_id
    for one in state.online_deployments if is_left_to_us else ():
        is_ours = CREATED_BY in one.tags and one.tags.get(RUN, "").partition("/")[0] == run_id.partition("/")[0]
        if is_ours and not state.weight_of(one.name):
            kept.append(f"online deployment {one.name} stays without traffic ({one.provisioning_state}), to go on with")
    return AbortResult(cleaned_up=tuple(cleaned_up), kept=(*kept, *untold), traffic_now=serving)


async def _give_back(
    session: Session, endpoint: str, run_id: str, tags: dict[str, str], clock: Clock
) -> tuple[str, ...]:
    """Releases the lease; where that fails says so: traffic is where it belongs, and the lease ends by itself."""
    try:
        await lease.release(session, endpoint, run_id, tags, clock=clock)
    except LeaseLost:
        raise
    except Busy:
        return ("the lease stays until the operation that is still running has ended",)
    except RollwayError as error:
        return (f"the lease could not be given back: {error.why or error.what}",)
    return ()


def _is_held(state: EndpointState, run_id: str) -> bool:
    held = decode(state.tags.get(LEASE))
    return held is not None and held.holder == run_id


def _serving(state: EndpointState) -> dict[str, int]:
    return {name: weight for name, weight in state.traffic.items() if weight}


def _ended(state: EndpointState, run_id: str) -> dict[str, str]:
    has_promoted = state.tags.get(LAST, "").split(" ")[:2] == ["promoted", run_id]
    return {} if has_promoted else {LAST: f"aborted {run_id} {now()}"}


def _rejected(state: EndpointState, model: str | None) -> dict[str, str]:
    if model is None:
        return {}
    known = [one for one in state.tags.get(REJECTED, "").split(",") if one and one != model]
    return {REJECTED: ",".join([*known, model][-MOST_REJECTED:])}
