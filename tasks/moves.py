"""The moves of a rollout, each a task around one call."""

from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

from prefect.logging import get_run_logger

from rollway.azure import autoscale, endpoints, online_deployments
from rollway.azure.scoring import Scorer
from rollway.azure.session import Session
from rollway.azure.waiting import OPERATION_TIMEOUT_SECONDS, SYSTEM_CLOCK
from rollway.errors import AnotherRollout, CouldNotMeasure, SmokeTestFailed
from rollway.prefect.logs import ChangeLog
from rollway.prefect.orders import order_to_this_run
from rollway.prefect.progress import show_progress
from rollway.prefect.run import current_run
from rollway.prefect.task import task
from rollway.rollout import traffic
from rollway.rollout.container_log import with_log
from rollway.rollout.moves import Kind, Move, require_no_abort
from rollway.rollout.planned import PlannedRollout
from rollway.rollout.smoke import REQUEST_ID, SmokeTestResult, answer_timeout_seconds, excerpt, title
from rollway.rollout.state import EndpointState
from rollway.spec import RolloutSpec
from tasks.connect import open_session
from tasks.evidence import bake, compare_predictions, hold, look, wait_for_confirmation
from tasks.plan import next_move, seen

FIRST_INTERVAL_SECONDS, LONGEST_INTERVAL_SECONDS = 0.5, 5.0


@task("wait", run_name="wait for {move.target}", timeout_seconds=9600)
async def wait(rollout: PlannedRollout, move: Move) -> None:
    """Wait until another operation, or another rollout, has ended; raises AnotherRollout after the deadline."""
    log, started, interval = ChangeLog(move.target), SYSTEM_CLOCK.now(), FIRST_INTERVAL_SECONDS
    allowed = rollout.spec.rollout.ready_timeout_seconds + OPERATION_TIMEOUT_SECONDS
    again = move
    while (again.kind, again.target) == (move.kind, move.target):
        waited = SYSTEM_CLOCK.now() - started
        await log(again.why, waited)
        if waited > allowed:
            raise AnotherRollout(
                f"{move.target!r} did not become free within {allowed:g} s",
                where=f"endpoint {rollout.endpoint}",
                why=again.why,
                hint="wait until that has ended, or find out what delays it, and run the rollout again",
            )
        await SYSTEM_CLOCK.sleep(interval)
        interval = min(interval * 1.5, LONGEST_INTERVAL_SECONDS)
        again = await next_move(rollout)


@task("create endpoint", run_name="create endpoint {move.target}", timeout_seconds=3600, retries=2)
async def create_endpoint(rollout: PlannedRollout, move: Move) -> None:
    """Create the endpoint of endpoint.yml."""
    await endpoints.create_endpoint(await open_session(rollout.workspace), rollout.spec, current_run().attempt_id)
    current_run().made(move)


@task("change endpoint", run_name="change endpoint {move.target}", timeout_seconds=3600, retries=2)
async def change_endpoint(rollout: PlannedRollout, move: Move) -> None:
    """Change the endpoint to what endpoint.yml says."""
    await endpoints.change_endpoint(await open_session(rollout.workspace), rollout.spec, seen())
    current_run().made(move)


@task("delete endpoint", run_name="delete endpoint {move.target}", timeout_seconds=3600, retries=2)
async def delete_endpoint(rollout: PlannedRollout, move: Move) -> None:
    """Delete an endpoint whose creation failed."""
    if await endpoints.delete_failed_endpoint(await open_session(rollout.workspace), move.target):
        current_run().made(move)


@task("create online deployment", run_name="create {move.target}", timeout_seconds=3600, retries=2)
async def create_online_deployment(rollout: PlannedRollout, move: Move) -> None:
    """Start creating the online deployment at weight 0."""
    session, attempt = await open_session(rollout.workspace), current_run().attempt_id
    operation = await online_deployments.create_online_deployment(session, rollout.spec, rollout.wanted, move, attempt)
    current_run().started(move.target, operation)
    current_run().made(move)


@task("change online deployment", run_name="change {move.target} in place", timeout_seconds=3600, retries=2)
async def change_online_deployment(rollout: PlannedRollout, move: Move) -> None:
    """Start changing instance count and tags of the online deployment."""
    tags = {} if rollout.wanted.goes_back_to else rollout.spec.online_deployment.tags
    session = await open_session(rollout.workspace)
    operation = await online_deployments.change_online_deployment(session, rollout.endpoint, tags, move)
    current_run().started(move.target, operation)
    current_run().made(move)


@task("wait until ready", run_name="wait until {move.target} is ready", timeout_seconds=7800)
async def wait_until_ready(rollout: PlannedRollout, move: Move) -> None:
    """Poll the state up to the deadline in rollout.yml; the progress artifact shows the used part of it."""
    allowed, made = rollout.spec.rollout.ready_timeout_seconds, seen().online_deployment(move.target)
    async with show_progress(move.target, allowed, rollout.why_it_may_last(move)) as show:

        async def on_progress(state: str, waited: float) -> None:
            await show(state, waited)
            require_no_abort(await order_to_this_run())

        ready = await online_deployments.wait_until_ready(
            await open_session(rollout.workspace),
            rollout.endpoint,
            move.target,
            timeout_seconds=allowed,
            like_seconds=move.seconds,
            since_seconds=current_run().waited_without_process(made),
            operation=current_run().operation_on(move.target),
            on_progress=on_progress,
        )
    current_run().has_seen_ready(ready)


@task("smoke test", run_name="smoke test {move.target} (pinned)", timeout_seconds=1200, retries=2)
async def smoke_test(rollout: PlannedRollout, move: Move) -> None:
    """Send the real requests, pinned to the online deployment; raises SmokeTestFailed with the container's log."""
    await _smoke_test(rollout, seen(), move.target, is_pinned=True)
    current_run().made(move)


@task("copy autoscale rules", run_name="copy autoscale rules to {move.target}", timeout_seconds=600, retries=2)
async def copy_autoscale(rollout: PlannedRollout, move: Move) -> None:
    """Let the candidate scale by the rules of what it replaces."""
    session = await open_session(rollout.workspace)
    for setting in current_run().facts.autoscale:
        if setting.name in move.settings:
            await autoscale.copy_autoscale(session, setting, rollout.endpoint, move.target)
    current_run().made(move)


@task("move traffic", run_name="move traffic to {move.target}", timeout_seconds=3600, retries=3)
async def move_traffic(rollout: PlannedRollout, move: Move) -> None:
    """Set the traffic map and the record in one write, and read them back."""
    before, wanted = traffic.describe(seen().traffic), traffic.describe(move.traffic or {})
    current_run().label(traffic=f"moving from {before} to {wanted}")
    current_run().has_moved_traffic = True
    if await _write(rollout, move):
        get_run_logger().info("Traffic of %s: %s, before: %s", rollout.endpoint, wanted, before)
        current_run().label(traffic=wanted)


@task("smoke test live", run_name="smoke test {move.target} (by traffic)", timeout_seconds=1200, retries=2)
async def test_live(rollout: PlannedRollout, move: Move) -> None:
    """Send the real requests by traffic, as clients do; raises SmokeTestFailed if the answer is wrong."""
    endpoint = seen()
    await _smoke_test(rollout, endpoint, _candidate_of(endpoint), is_pinned=False)
    current_run().made(move)


@task("smoke test abandoned", run_name="smoke test {move.target} (abandoned)", timeout_seconds=1200, retries=2)
async def test_abandoned(rollout: PlannedRollout, move: Move) -> None:
    """Send one real request by the traffic that an earlier rollout moved and never tested."""
    endpoint = seen()
    try:
        await _smoke_test(rollout, endpoint, _candidate_of(endpoint), is_pinned=False)
    except SmokeTestFailed as error:
        get_run_logger().warning("%s", error)
        current_run().has_disproved(endpoint.serving)
    else:
        current_run().made(move)


@task("promote", run_name="promote {move.target}", timeout_seconds=3600, retries=3)
async def promote(rollout: PlannedRollout, move: Move) -> None:
    """Write down that the traffic is stable now, and what it replaced."""
    await _write(rollout, move)


@task("restore traffic", run_name="restore traffic of {move.target}", timeout_seconds=3600, retries=3)
async def restore(rollout: PlannedRollout, move: Move) -> None:
    """Bring all traffic back to stable, in one write."""
    if await _write(rollout, move):
        current_run().label(traffic=traffic.describe(move.traffic or {}))


@task("record", run_name="record on {move.target}", timeout_seconds=3600, retries=2)
async def write_record(rollout: PlannedRollout, move: Move) -> None:
    """Write the record alone."""
    await _write(rollout, move)


@task("let requests end", run_name="let requests to {move.target} end", timeout_seconds=600)
async def settle(rollout: PlannedRollout, move: Move) -> None:  # noqa: ARG001 (all moves are called alike)
    """Wait until requests that were running at the move of traffic have ended."""
    await SYSTEM_CLOCK.sleep(move.seconds)


@task("delete autoscale rules", run_name="delete autoscale rules of {move.target}", timeout_seconds=600, retries=2)
async def delete_autoscale(rollout: PlannedRollout, move: Move) -> None:
    """Delete the autoscale settings of an online deployment that goes."""
    session = await open_session(rollout.workspace)
    for name in move.settings:
        await autoscale.delete_autoscale(session, name)
    current_run().made(move)


@task("delete online deployment", run_name="delete {move.target}", timeout_seconds=3600, retries=2)
async def delete_online_deployment(rollout: PlannedRollout, move: Move) -> None:
    """Delete an online deployment without traffic and wait until it is gone."""
    session = await open_session(rollout.workspace)
    await online_deployments.delete_online_deployment(session, rollout.endpoint, move.target)
    get_run_logger().info("%s deleted", move.target)
    current_run().made(move)


MOVES: Mapping[Kind, Callable[[PlannedRollout, Move], Coroutine[Any, Any, None]]] = {
    Kind.WAIT: wait,
    Kind.CREATE_ENDPOINT: create_endpoint,
    Kind.CHANGE_ENDPOINT: change_endpoint,
    Kind.DELETE_ENDPOINT: delete_endpoint,
    Kind.CREATE: create_online_deployment,
    Kind.CHANGE: change_online_deployment,
    Kind.WAIT_UNTIL_READY: wait_until_ready,
    Kind.SMOKE_TEST: smoke_test,
    Kind.COPY_AUTOSCALE: copy_autoscale,
    Kind.MOVE_TRAFFIC: move_traffic,
    Kind.TEST_LIVE: test_live,
    Kind.TEST_ABANDONED: test_abandoned,
    Kind.PROMOTE: promote,
    Kind.RESTORE: restore,
    Kind.RECORD: write_record,
    Kind.COMPARE: compare_predictions,
    Kind.LOOK: look,
    Kind.BAKE: bake,
    Kind.GATE: wait_for_confirmation,
    Kind.HOLD: hold,
    Kind.SETTLE: settle,
    Kind.DELETE_AUTOSCALE: delete_autoscale,
    Kind.DELETE: delete_online_deployment,
}


async def _write(rollout: PlannedRollout, move: Move) -> bool:
    """Write traffic and record; return False if somebody else was faster, so that the run must decide again."""
    is_written = await endpoints.write_endpoint(await open_session(rollout.workspace), seen(), move)
    if is_written:
        current_run().made(move)
    else:
        get_run_logger().info("Not made: %s, because the endpoint has changed since it was decided", move)
    return is_written


async def _smoke_test(rollout: PlannedRollout, endpoint: EndpointState, name: str, *, is_pinned: bool) -> None:
    """Send real requests; raises SmokeTestFailed if the model is at fault, and CouldNotMeasure if nothing is known."""
    session, spec = await open_session(rollout.workspace), rollout.spec
    test, started = spec.rollout.smoke_test, SYSTEM_CLOCK.now()
    if isinstance(test, str):
        raise AssertionError("there is no such move without a smoke test")
    results: list[SmokeTestResult] = []
    async with Scorer(session, endpoint, timeout_seconds=answer_timeout_seconds(spec)) as scorer:
        for request in spec.smoke_requests:
            try:
                result = await scorer.smoke_test(
                    request,
                    name,
                    warm_up_seconds=max(0.0, test.warm_up_seconds - (SYSTEM_CLOCK.now() - started)),
                    is_pinned=is_pinned,
                    others_may_answer=not is_pinned and len(endpoint.serving) > 1,
                )
            except CouldNotMeasure as error:
                if error.may_be_in_log:
                    log = await online_deployments.read_logs(session, endpoint.name, name)
                    with_log(error, log, is_cause=error.status == HTTPStatus.FAILED_DEPENDENCY)
                raise
            results.append(result)
            if not results[-1].has_passed:
                raise await _smoke_test_failed(session, spec, endpoint, results[-1])
            seconds = results[-1].measurement.latency_seconds
            get_run_logger().info(
                "%s answered %sin %.2f s", name, f"{request.name!r} " if request.name else "", seconds
            )
    current_run().smoke_tests += results


async def _smoke_test_failed(
    session: Session, spec: RolloutSpec, endpoint: EndpointState, result: SmokeTestResult
) -> SmokeTestFailed:
    measurement, name = result.measurement, result.online_deployment
    failed = SmokeTestFailed(
        f"{title(name, result.request)} failed: {'; '.join(result.problems)}",
        where=f"{spec.folder}/rollout.yml: smoke_test, endpoint {endpoint.name}",
        hint=result.hint,
        request_id=measurement.headers.get(REQUEST_ID),
        details=f"answer: {excerpt(measurement.body)}",
    )
    if measurement.status == HTTPStatus.OK:
        return failed
    return with_log(failed, await online_deployments.read_logs(session, endpoint.name, name))


def _candidate_of(endpoint: EndpointState) -> str:
    """Return the online deployment that has traffic and is not stable, else the one with the most traffic."""
    return endpoint.newcomer or traffic.served_by(endpoint.traffic)[0]
