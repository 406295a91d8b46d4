"""Bringing an endpoint back to what it was before a run."""

from rollway.azure.endpoints import delete_endpoint, move_traffic, read_endpoint, settle
from rollway.azure.online_deployments import delete_online_deployment
from rollway.azure.session import Session
from rollway.azure.waiting import SYSTEM_CLOCK, Clock
from rollway.rollout import traffic
from rollway.rollout.state import CREATED_BY, PREVIOUS_TRAFFIC, RUN, WRITTEN_TRAFFIC


async def abort(session: Session, endpoint: str, run_id: str, *, clock: Clock = SYSTEM_CLOCK) -> tuple[str, ...]:
    """Undoes what a run left: its traffic change, its online deployment, an endpoint it created. Says what it did.

    Works from the tags in Azure alone, so it is right in a fresh process too, and safe to repeat. Traffic that somebody
    else has set after this run is left alone: ForeignChange.
    """
    done = []
    state = await settle(session, endpoint, clock)  # a running operation hides what it is about to change
    if not state.exists:
        return ()
    if state.tags.get(RUN) == run_id and PREVIOUS_TRAFFIC in state.tags:
        before = traffic.decode(state.tags[PREVIOUS_TRAFFIC])
        if not traffic.is_same(state.traffic, before):
            written = traffic.decode(state.tags.get(WRITTEN_TRAFFIC, ""))
            await move_traffic(session, endpoint, before, expected=written, run_id=run_id, is_restore=True, clock=clock)
            done.append(f"traffic restored: {traffic.describe(before)}")
            state = await read_endpoint(session, endpoint)
    for one in state.online_deployments:
        if one.tags.get(CREATED_BY) == run_id and not state.traffic.get(one.name):
            await delete_online_deployment(session, endpoint, one.name, clock=clock)
            done.append(f"online deployment {one.name} deleted")
            state = await read_endpoint(session, endpoint)
    if state.tags.get(CREATED_BY) == run_id and not state.online_deployments:
        await delete_endpoint(session, endpoint, clock)
        done.append(f"endpoint {endpoint} deleted, this run had created it")
    return tuple(done)
