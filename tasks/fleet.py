"""Tasks of a fleet: choose the folders, roll out wave by wave, report."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from rollway.azure.threads import in_thread
from rollway.azure.waiting import SYSTEM_CLOCK
from rollway.errors import PrefectUnavailable
from rollway.prefect import fleet as runs
from rollway.prefect import watching
from rollway.prefect.artifacts import Progress, publish_result
from rollway.prefect.task import task
from rollway.reports import fleet as fleet_report
from rollway.rollout.fleet import Fleet, fleet_of, matching
from rollway.settings import known_rollouts

POLL_SECONDS = 5.0
MOST_SECONDS = 7 * 86_400  # of a wave: its rollouts have deadlines of their own
MOST_UNANSWERED = 60  # questions in a row that Prefect does not answer


@task("choose folders", run_name="choose folders", timeout_seconds=300)
async def choose_folders(pattern: str, at_most: int, stop_after: int, groups: Sequence[str]) -> Fleet:
    """Choose the folders and their waves."""
    runs.require_workers()
    known = await in_thread(known_rollouts)
    fleet = fleet_of(
        matching(pattern, known),
        at_most=at_most,
        stop_after=stop_after,
        groups=groups,
        blocks=await watching.workspace_blocks(),
        known=known,
    )
    get_run_logger().info("%d folders in %d waves", len(fleet.members), fleet.waves)
    return fleet


@task("wave", run_name="wave {number}", timeout_seconds=MOST_SECONDS)
async def roll_out_wave(fleet: Fleet, number: int, requested_by: str) -> Fleet:
    """Start the runs of a wave and wait until each has ended or waits for a person."""
    under_way = await watching.runs_under_way(datetime.now(UTC))
    for one in fleet.due:
        key = f"{flow_run.id}/{one.rollout}"  # a retry of the fleet's run finds what it started
        fleet = fleet.after([await runs.start(one, requested_by, key, under_way.get(one.rollout))])
    shown, progress, unanswered = "", Progress(), 0
    while True:
        if fleet.sentence != shown:
            shown = fleet.sentence
            over = sum(one.is_over for one in fleet.members)
            get_run_logger().info("Wave %d of %d: %s", number, fleet.waves, shown)
            await progress.show(100 * over / len(fleet.members), shown)
        if not (running := [one for one in fleet.members if one.run and not one.is_over]):
            return fleet
        await SYSTEM_CLOCK.sleep(POLL_SECONDS)
        try:
            fleet, unanswered = fleet.after(await runs.read(running, datetime.now(UTC))), 0
        except Exception as error:
            unanswered += 1
            get_run_logger().warning("Prefect did not say how far the runs are: %s", str(error) or type(error).__name__)
            if unanswered >= MOST_UNANSWERED:
                raise PrefectUnavailable(
                    "the rollouts of the wave cannot be followed",
                    where="the Prefect server of PREFECT_API_URL",
                    why=str(error) or type(error).__name__,
                    hint="they go on; retry this run when the server answers again, and it follows them",
                ) from error


@task("report fleet", run_name="report fleet", timeout_seconds=300)
async def report_fleet(fleet: Fleet, pattern: str) -> None:
    """Store the report as an artifact: a table and a picture."""
    markdown = fleet_report.markdown(fleet, datetime.now(UTC), runs.links(fleet.members))
    await publish_result("fleet", pattern.replace("*", "all"), markdown, f"Rollouts of {pattern}")
