"""Ending a rollout that failed: traffic back, what failed deleted, the lease given back."""

from rollway.azure import lease
from rollway.azure.endpoints import move_traffic
from rollway.azure.failures import now
from rollway.azure.online_deployments import delete_online_deployment
from rollway.azure.session import Session
from rollway.azure.state import read_endpoint, settle
from rollway.azure.waiting import SYSTEM_CLOCK, Clock
from rollway.errors import Busy, LeaseLost, RollwayError
from rollway.rollout import traffic
from rollway.rollout.lease import decode
from rollway.rollout.state import CREATED_BY, LAST, LEASE, MODEL, REJECTED, RUN, EndpointState
from rollway.spec import Frozen

MOST_REJECTED = 5


class Undone(Frozen):
    """What an abort did, for people: a sentence each. Traffic in percent by online deployment; None when unknown."""

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
    rejects_model: bool = False,
    clock: Clock = SYSTEM_CLOCK,
) -> Undone:
    """Brings traffic back to what was proven, and leaves the rest so that a retry or the next run can go on with it.

    Works from Azure alone, so it is right in a fresh process too, and safe to repeat. Does nothing when the lease
    is not this run attempt's own: then nothing was written, or somebody else goes on. `delete` names the online
    deployment that is at fault, `keeps_traffic` leaves traffic where it is; `rejects_model` remembers its model
    version, so that it is not rolled out again by itself. Traffic that somebody else has set since the rollout
    moved it is left alone; set in the very moment of the abort, it raises ForeignChange.
    """
    state = await read_endpoint(session, endpoint)
    if not state.exists or not _is_held(state, run_id):
        return Undone(traffic_now=_serving(state))
    cleaned_up, kept, rejected = [], [], []
    try:
        state = await settle(session, endpoint, clock)  # a running operation hides what it is about to change
        if state.is_unproven and not keeps_traffic:
            before, proven = state.traffic, state.proven_traffic
            await move_traffic(session, endpoint, proven, expected=before, proven=proven, run_id=run_id, clock=clock)
            cleaned_up.append(f"traffic restored: {traffic.describe(proven)}")
            state = await read_endpoint(session, endpoint)
        for one in state.online_deployments:
            if CREATED_BY not in one.tags or state.weight_of(one.name):
                continue
            if one.name == delete:
                if rejects_model and MODEL in one.tags:
                    rejected.append(one.tags[MODEL])
                await delete_online_deployment(session, endpoint, one.name, run_id, clock=clock)
                cleaned_up.append(f"online deployment {one.name} deleted")
            elif one.tags.get(RUN, "").partition("/")[0] == run_id.partition("/")[0]:
                kept.append(
                    f"online deployment {one.name} stays without traffic ({one.provisioning_state}), to go on with"
                )
        tags = {**_rejected(state, rejected), **_ended(state, run_id)}
        kept += await _give_back(session, endpoint, run_id, tags, clock)
    except LeaseLost as lost:  # whoever has it now repairs what this run has left
        kept.append(f"the rest is left to another rollout: {lost.why}")
    return Undone(
        cleaned_up=tuple(cleaned_up), kept=tuple(kept), traffic_now=_serving(await read_endpoint(session, endpoint))
    )


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


def _rejected(state: EndpointState, models: list[str]) -> dict[str, str]:
    if not models:
        return {}
    known = [one for one in state.tags.get(REJECTED, "").split(",") if one and one not in models]
    return {REJECTED: ",".join([*known, *models][-MOST_REJECTED:])}
