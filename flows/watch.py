"""The watcher: it starts a rollout for each new version of a model that a folder follows."""

from prefect import flow

from rollway.azure.session import WorkspaceFacts
from rollway.prefect.task import together
from rollway.rollout.follow import Finding, Look, Verdict, require_complete
from tasks.connect import connect
from tasks.watch import list_rollouts, look, report_findings, start_rollout


@flow(name="watch-endpoints", flow_run_name="watch endpoints")
async def watch_endpoints() -> list[Finding]:
    """Start one rollout for each eligible new model version, however often this flow runs.

    A folder follows a model that deployment.yml names as @latest, or by the rules of `follow` in rollout.yml. An error
    in one folder does not stop the others; the run fails at the end.
    """
    rollouts = await list_rollouts()
    connected = await connect()
    looks = await together(*(watch_rollout(connected, rollout) for rollout in rollouts))
    await report_findings(looks)
    require_complete(looks)
    return [one.finding for one in looks if one.finding is not None]


async def watch_rollout(connected: WorkspaceFacts, rollout: str) -> Look:
    """Look at one rollout, and start it if it is due."""
    try:
        finding = await look(connected, rollout)
        if finding is not None and finding.verdict is Verdict.START:
            finding = await start_rollout(finding)
    except Exception as error:  # noqa: BLE001 - the others go on, and the run fails at the end
        return Look(rollout=rollout, error=str(error) or type(error).__name__)
    return Look(rollout=rollout, finding=finding)
