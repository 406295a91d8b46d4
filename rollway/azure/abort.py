"""The abort of a failed rollout: restore traffic, delete the failed online deployment, release the lease."""

from rollway.azure import lease
from rollway.azure.endpoints import move_traffic
from rollway.azure.online_deployments import delete_online_deployment
from rollway.azure.session import Session
from rollway.azure.state import read_endpoint, wait_until_settled
from rollway.azure.waiting import SYSTEM_CLOCK, Clock, now
from rollway.errors import LeaseLost
from rollway.rollout import traffic
from rollway.rollout.record import EndpointRecord
from rollway.rollout.state import EndpointState
from rollway.spec import Frozen


class AbortResult(Frozen):
    """State after the abort, regardless of which attempt did the work: sentences for people.

    `traffic_now` is in percent by online deployment, None if unknown.
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
    """Return traffic to the proven map; keep everything else for a retry or the next run to continue with.

    Needs nothing but Azure, so a fresh process can do it and it is safe to repeat. Does nothing unless this attempt
    holds the lease: then it wrote nothing, or another attempt has taken over. Traffic that somebody else set after the
    rollout moved it is left alone; if that happens during the abort, ForeignChange is raised.

    Args:
        run_id: This attempt, `<flow run>/<attempt>`.
        delete: The online deployment at fault.
        keeps_traffic: Leave traffic where it is.
        rejects: A `<model>:<version>` that automation must not roll out again.
    """
    state = await read_endpoint(session, endpoint)
    remarks: tuple[str, ...] = ()
    if state.exists and lease.is_held_by(state, run_id):
        remarks = await _abort(session, state, run_id, delete, keeps_traffic, rejects, clock)
        state = await read_endpoint(session, endpoint)
    return _result(state, run_id, delete, keeps_traffic, remarks)


async def _abort(
    session: Session,
    state: EndpointState,
    run_id: str,
    delete: str | None,
    keeps_traffic: bool,
    rejects: str | None,
    clock: Clock,
) -> tuple[str, ...]:
    """Perform the abort; return remarks that are not visible on the endpoint."""
    endpoint = state.name
    try:
        state = await wait_until_settled(session, endpoint, clock)  # a running operation hides its changes
        if state.is_unproven and not keeps_traffic:
            before, proven = state.traffic, state.proven_traffic
            await move_traffic(session, endpoint, proven, expected=before, proven=proven, run_id=run_id, clock=clock)
            state = await read_endpoint(session, endpoint)
        found = state.online_deployment(delete) if delete else None
        if found is not None and found.is_ours and not state.weight_of(found.name):
            await delete_online_deployment(session, endpoint, found.name, run_id, clock=clock)

        def ended(record: EndpointRecord) -> EndpointRecord:
            return (record.rejecting(rejects) if rejects else record).aborted(run_id, now())

        return await lease.try_release(session, endpoint, run_id, ended, clock=clock)
    except LeaseLost as lost:
        return (lease.taken_over(lost),)


def _result(
    state: EndpointState, run_id: str, delete: str | None, keeps_traffic: bool, remarks: tuple[str, ...]
) -> AbortResult:
    cleaned_up, kept, record, serving = [], [], state.record, state.serving
    is_restored = record.proven_traffic == record.written_traffic and traffic.is_same(
        record.proven_traffic or {}, serving
    )
    if record.moved_by == run_id and not keeps_traffic and record.proven_traffic is not None and is_restored:
        cleaned_up.append(f"traffic restored: {traffic.describe(serving)}")
    if delete and state.exists and state.online_deployment(delete) is None:
        cleaned_up.append(f"online deployment {delete} deleted")
    is_left_to_us = record.lease is None or record.lease.holder == run_id
    for one in state.online_deployments if is_left_to_us else ():
        is_by_this_run = (one.record.written_by or "").partition("/")[0] == run_id.partition("/")[0]
        if one.is_ours and is_by_this_run and not state.weight_of(one.name):
            kept.append(
                f"online deployment {one.name} stays without traffic ({one.provisioning_state}), to continue with"
            )
    return AbortResult(cleaned_up=tuple(cleaned_up), kept=(*kept, *remarks), traffic_now=serving)
