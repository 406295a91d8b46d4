"""The moves of a progressive rollout that gather evidence and wait."""

import math
from collections.abc import Sequence
from datetime import datetime

from prefect.logging import get_run_logger
from pydantic import JsonValue

from rollway.azure import replay
from rollway.azure.evidence import judge_read, read_rollout_minutes
from rollway.azure.scoring import Scorer
from rollway.azure.session import Session
from rollway.azure.threads import in_thread
from rollway.azure.waiting import SYSTEM_CLOCK
from rollway.errors import PrefectUnavailable
from rollway.files.request_files import read_requests
from rollway.prefect.artifacts import publish_markdown
from rollway.prefect.events import emit_held
from rollway.prefect.logs import ChangeLog
from rollway.prefect.orders import answer_links, order_to_this_run
from rollway.prefect.progress import show_progress
from rollway.prefect.run import current_run, is_news
from rollway.prefect.task import task
from rollway.prefect.waiting import IN_PROCESS_SECONDS, can_wake, wake_in
from rollway.reports import evidence as evidence_report
from rollway.reports import predictions as predictions_report
from rollway.reports import progress as progress_report
from rollway.rollout import traffic
from rollway.rollout.entries import Underway
from rollway.rollout.evidence import Minute
from rollway.rollout.facts import Look
from rollway.rollout.moves import Kind, Move
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.predictions import compare, spread
from rollway.rollout.probes import minutes_of
from rollway.rollout.progress import compared_with
from rollway.rollout.smoke import answer_timeout_seconds
from rollway.rollout.state import EndpointState
from rollway.spec import Progression, ScoringRequest, probes_of
from tasks.connect import open_session
from tasks.plan import next_move, seen

POLL_SECONDS, READ_SECONDS = 5.0, 60.0
MOST_SECONDS = 60 * 86_400  # of a wait; deadline_seconds ends it earlier
TOP_UP_SECONDS = 60.0  # of probes in one look, if they only top up the requests of clients


@task("compare predictions", run_name="compare predictions of {move.target}", timeout_seconds=7200, retries=2)
async def compare_predictions(rollout: PlannedRollout, move: Move) -> None:
    """Replay recorded requests on stable, on the canary and on stable again; the differences are an artifact."""
    endpoint, spec = seen(), rollout.spec
    progression = endpoint.record.progression or spec.rollout.progression
    wanted = progression.judge.predictions if progression else None
    if wanted is None:
        raise AssertionError("predictions are compared if rollout.yml says so")
    requests = spread(await in_thread(read_requests, spec.folder, wanted.requests), wanted.sample)
    session, stable = await open_session(rollout.workspace), traffic.served_by(endpoint.stable_traffic)[0]
    seconds = 2 * len(requests) / wanted.requests_per_second
    async with (
        Scorer(session, endpoint, timeout_seconds=answer_timeout_seconds(spec)) as scorer,
        show_progress(f"predictions of {move.target}", seconds) as show,
    ):
        trios = await replay.replay(
            scorer,
            requests,
            stable,
            move.target,
            requests_per_second=wanted.requests_per_second,
            clock=SYSTEM_CLOCK,
            on_progress=show,
        )
    found = compare(trios, wanted)
    get_run_logger().info("Predictions of %s: %s", move.target, found.sentence)
    markdown = predictions_report.markdown(found)
    await publish_markdown("predictions", spec.name, markdown, f"Predictions of {move.target} against {stable}")
    current_run().compared(found)


@task("look at evidence", run_name="look at {move.target}", timeout_seconds=3600, retries=2)
async def look(rollout: PlannedRollout, move: Move) -> None:  # noqa: ARG001 (all moves are called alike)
    """Read the evidence of the whole rollout and judge the running step; the report is an artifact."""
    spec, endpoint, session = rollout.spec, seen(), await open_session(rollout.workspace)
    found, progression = _underway(endpoint)
    evidence = await judge_read(found, progression, _gather(session, rollout, endpoint, found, progression))
    judged = evidence.judgement
    get_run_logger().info("Step %d of %d: %s", found.number, len(progression.steps), judged.sentence)
    if not can_wake():  # its log is what a person sees on a laptop
        get_run_logger().info("Evidence:\n%s", evidence_report.text(evidence))
    current_run().looked(Look(number=found.number, at=session.now(), judgement=judged))
    markdown = progress_report.markdown(spec.name, endpoint, evidence)
    await publish_markdown("progress", spec.name, markdown, f"Progress of {spec.name}")


async def end_if_it_waits_long(rollout: PlannedRollout, move: Move) -> None:
    """End this process before a long wait; the same flow run starts again in time, on any worker.

    It is no task: Prefect would show that as running for ever.
    """
    if move.until is None or not can_wake():
        return
    session = await open_session(rollout.workspace)
    seconds = (move.until - session.now()).total_seconds()
    if seconds <= IN_PROCESS_SECONDS:
        return
    await _tell(rollout, move)
    await current_run().labels_written()  # the attempt that is woken reads when this one started
    try:
        await wake_in(seconds, f"{move.kind.value}: {move.why}")
    except PrefectUnavailable as error:  # the rollout is healthy: wait here, and ask again later
        get_run_logger().warning("%s", error)


@task("bake", run_name="bake {move.target}", timeout_seconds=MOST_SECONDS)
async def bake(rollout: PlannedRollout, move: Move) -> None:
    """Wait until the next look."""
    await _wait(rollout, move)


@task("wait for confirmation", run_name="wait for confirmation of {move.target}", timeout_seconds=MOST_SECONDS)
async def wait_for_confirmation(rollout: PlannedRollout, move: Move) -> None:
    """Wait until a person confirms the next step."""
    await _tell(rollout, move)
    await _wait(rollout, move)


@task("hold", run_name="hold {move.target}", timeout_seconds=MOST_SECONDS)
async def hold(rollout: PlannedRollout, move: Move) -> None:
    """Wait for a person, who is told why."""
    await _tell(rollout, move)
    await _wait(rollout, move)


async def _tell(rollout: PlannedRollout, move: Move) -> None:
    """Tell people, once for each reason, that the rollout waits for them."""
    if move.kind not in (Kind.GATE, Kind.HOLD):
        return
    get_run_logger().warning("Held: %s", move.why)
    endpoint = seen()
    found, _ = _underway(endpoint)
    if await is_news(f"{found.number} {move.why.partition(':')[0]}"):
        links = {**await answer_links(), "studio": current_run().studio_page}
        emit_held(rollout.spec.name, endpoint.name, str(rollout.workspace), move.why, links)


async def _wait(rollout: PlannedRollout, move: Move) -> None:
    """Wait until the time of a move, until an order arrives, or until something else is due."""
    session = await open_session(rollout.workspace)
    if move.until is None:
        raise AssertionError("a wait has an end")
    seconds = (move.until - session.now()).total_seconds()
    if can_wake():
        seconds = min(seconds, IN_PROCESS_SECONDS)
    log, started, read_at = ChangeLog(move.target), SYSTEM_CLOCK.now(), SYSTEM_CLOCK.now()
    known = await order_to_this_run()
    await log(move.why, 0.0)
    while (left := seconds - (SYSTEM_CLOCK.now() - started)) > 0:
        await SYSTEM_CLOCK.sleep(min(left, POLL_SECONDS))
        is_told = await order_to_this_run() != known
        if is_told or SYSTEM_CLOCK.now() - read_at >= READ_SECONDS:
            read_at, again = SYSTEM_CLOCK.now(), await next_move(rollout, is_logged=False)
            if is_told or again.kind is not move.kind:
                return


async def _gather(
    session: Session, rollout: PlannedRollout, endpoint: EndpointState, found: Underway, progression: Progression
) -> Sequence[Minute]:
    limits, stable = progression.judge, compared_with(endpoint)
    minutes: Sequence[Minute] = ()
    if limits.source != "probes":
        minutes = await read_rollout_minutes(session, endpoint, found, progression)
    if limits.source == "metrics":
        return minutes
    count = probes_of(limits)
    if limits.source == "both":  # Azure Monitor counts them, too, so they are the next look's
        start = datetime.fromisoformat(found.since[-1])
        missing = limits.minimum_requests - sum(one.canary.requests for one in minutes if one.at >= start)
        count = max(0, min(missing, math.ceil(TOP_UP_SECONDS * limits.probes.requests_per_second)))
    probed = await _probe(session, rollout, endpoint, found.canary, stable[0] if stable else None, progression, count)
    return probed if limits.source == "probes" else minutes


async def _probe(
    session: Session,
    rollout: PlannedRollout,
    endpoint: EndpointState,
    canary: str,
    stable: str | None,
    progression: Progression,
    count: int,
) -> Sequence[Minute]:
    """Send probes to both; return their counts in batches, each of them as one minute of the running step."""
    spec, limits = rollout.spec, progression.judge
    requests: Sequence[JsonValue | ScoringRequest] = spec.probe_requests
    if limits.probes.requests is not None:
        requests = await in_thread(read_requests, spec.folder, limits.probes.requests)
    async with Scorer(session, endpoint, timeout_seconds=answer_timeout_seconds(spec)) as scorer:
        of_stable, of_canary = await replay.probe(
            scorer,
            requests,
            stable if stable != canary.lower() else None,
            canary,
            count=count,
            requests_per_second=limits.probes.requests_per_second,
            clock=SYSTEM_CLOCK,
        )
    return minutes_of(of_canary, of_stable, limits.latency.percentile, session.now())


def _underway(endpoint: EndpointState) -> tuple[Underway, Progression]:
    found, progression = endpoint.record.underway, endpoint.record.progression
    if found is None or progression is None:
        raise AssertionError("a step has begun")
    return found, progression
