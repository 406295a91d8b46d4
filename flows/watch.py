"""Notices new versions of the models that rollouts follow, and starts one rollout for each."""

from prefect import flow

from rollway.azure.session import WorkspaceFacts
from rollway.prefect.task import together
from rollway.rollout.follow import Finding, Look, Verdict, require_complete
from tasks.connect import connect
from tasks.watch import list_rollouts, look, report_findings, start_rollout


@flow(name="watch-models", flow_run_name="watch models")
async def watch_models() -> list[Finding]:
    """Starts a rollout for each new model version that is eligible, exactly one however often this runs.

    A rollout follows a model that deployment.yml names as @latest, or by the rules of rollout.yml's `follow`. An error
    in one rollout does not keep the others from being looked at; this run fails when all of them are done.
    """
    rollouts = await list_rollouts()
    connected = await connect()
    looks = await together(*(watch_rollout(connected, rollout) for rollout in rollouts))
    await report_findings(looks)
    require_complete(looks)
    return [one.finding for one in looks if one.finding is not None]


async def watch_rollout(connected: WorkspaceFacts, rollout: str) -> Look:
    """Looks at one rollout and starts it if need be."""
    try:
        finding = await look(connected, rollout)
        if finding is not None and finding.verdict is Verdict.START:
            finding = await start_rollout(finding)
    except Exception as error:  # noqa: BLE001 - whatever it is, the others are looked at, and the run fails in the end
        return Look(rollout=rollout, error=str(error) or type(error).__name__)
    return Look(rollout=rollout, finding=finding)
