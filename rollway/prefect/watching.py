"""Questions of the watcher to Prefect: the folders' workspaces, runs under way, failed runs, and the last table."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactCollectionFilter,
    ArtifactCollectionFilterKey,
    DeploymentFilter,
    DeploymentFilterName,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound

from rollway.errors import NotFound
from rollway.prefect.best_effort import best_effort
from rollway.prefect.pages import PAGE, all_pages
from rollway.prefect.silence import crash_never_started
from rollway.rollout.watch import EndedRun, Finding
from rollway.settings import rollout_name

TABLE = "watch-endpoints"  # key of the artifact
DEPLOY, ROLLBACK, STEER = "deploy-endpoint", "rollback-endpoint", "steer-rollout"
STEERING = f"{STEER}/steer"  # flow and Prefect deployment
MOST_ENDED = 8

# A run that waits for its time has been running before, unlike those that a schedule has planned for the coming days.
_UNDER_WAY = FlowRunFilterState.model_validate(
    {
        "operator": "or_",
        "type": FlowRunFilterStateType(
            any_=[StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]
        ),
        "name": FlowRunFilterStateName(any_=["AwaitingRetry", "Late", "Resuming", "AwaitingConcurrencySlot"]),
    }
)
_ENDED = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]


async def workspace_blocks() -> dict[str, str | None]:
    """Return the parameter `workspace_block` of each folder that has a Prefect deployment."""
    async with get_client() as client:
        found = await all_pages(
            lambda offset: client.read_deployments(flow_filter=_flows(DEPLOY), limit=PAGE, offset=offset)
        )
    return {one.name: (one.parameters or {}).get("workspace_block") for one in found}


async def runs_under_way(now: datetime) -> dict[str, FlowRun]:
    """Return a run of each folder that has one which has not ended and is due: rollouts, rollbacks and orders.

    Runs that were never started are set to Crashed first.
    """
    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime.model_validate({"before_": now}),
    )
    async with get_client() as client:
        found = [run for which in (due, FlowRunFilter(state=_UNDER_WAY)) for run in await _runs(client, which)]
        found = await crash_never_started(client, found, now)
    return {_folder_of(run): run for run in found}


async def crashed_rollouts(since: datetime) -> frozenset[str]:
    """Return the folders of which a run has crashed since a time."""
    crashed = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
        end_time=FlowRunFilterEndTime.model_validate({"after_": since}),
    )
    async with get_client() as client:
        found = await _runs(client, crashed)
    return frozenset(map(_folder_of, found))


async def ended_runs(rollout: str) -> tuple[EndedRun, ...]:
    """Return the last runs of a folder's Prefect deployment that have ended, the newest first."""
    async with get_client() as client:
        found = await client.read_flow_runs(
            flow_filter=_flows(DEPLOY),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[rollout])),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_ENDED))),
            sort=FlowRunSort.END_TIME_DESC,
            limit=MOST_ENDED,
        )
    return tuple(
        EndedRun(
            id=str(one.id),
            at=one.end_time,
            has_failed=one.state_type in (StateType.FAILED, StateType.CRASHED),
            has_crashed=one.state_type is StateType.CRASHED,
        )
        for one in found
        if one.end_time is not None
    )


async def start_run(finding: Finding) -> FlowRun:
    """Create the run of a finding; raises NotFound if its Prefect deployment does not exist.

    It gets no model version: what is wanted is decided when the endpoint is the run's.
    """
    deployment, parameters = f"{DEPLOY}/{finding.rollout}", {"rollout": finding.rollout, "requested_by": "watcher"}
    if finding.order is not None:
        deployment = STEERING
        parameters = {
            "rollout": finding.rollout,
            "order": finding.order.order.value,
            "reason": finding.order.reason,
            "by": finding.order.by,
            **({"workspace_block": finding.workspace.block} if finding.workspace.block else {}),
        }
    return await run_deployment(deployment, finding.rollout, parameters)


async def run_deployment(
    deployment: str, rollout: str, parameters: Mapping[str, Any], *, key: str | None = None
) -> FlowRun:
    """Create a run for a folder and do not wait for it; raises NotFound if its Prefect deployment does not exist.

    Args:
        deployment: `<flow>/<name>` of the Prefect deployment.
        rollout: Name of the folder.
        parameters: Parameters of the run.
        key: Makes the run unique: the same key gives the same run.
    """
    try:
        return await arun_deployment(
            deployment,
            parameters=dict(parameters),
            tags=[f"rollout:{rollout}"],
            timeout=0,
            as_subflow=False,
            idempotency_key=key,
        )
    except ObjectNotFound as error:
        raise no_deployment(deployment) from error


def no_deployment(deployment: str) -> NotFound:
    """Return the error for a Prefect deployment, `<flow>/<name>`, that does not exist."""
    flow, _, name = deployment.partition("/")
    way = "write it into prefect.yaml with `rollway prefect-yaml`" if flow == DEPLOY else "add it to prefect.yaml"
    return NotFound(
        f"there is no Prefect deployment {deployment}",
        where=f"prefect.yaml: deployments, {name}",
        hint=f"{way} and run `prefect deploy --all`",
    )


async def last_table() -> list[dict[str, Any]]:
    """Return the rows of the watcher's last table; none if there is none, or if Prefect does not answer."""
    return await best_effort("it is unknown which folders were broken before", _last_table()) or []


async def _last_table() -> list[dict[str, Any]]:
    key = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[TABLE]))
    async with get_client() as client:
        found = await client.read_latest_artifacts(artifact_filter=key, limit=1)
    rows: list[dict[str, Any]] = json.loads(str(found[0].data)) if found else []
    return rows


async def _runs(client: PrefectClient, which: FlowRunFilter) -> list[FlowRun]:
    return await all_pages(
        lambda offset: client.read_flow_runs(
            flow_filter=_flows(DEPLOY, ROLLBACK, STEER),
            flow_run_filter=which,
            sort=FlowRunSort.ID_DESC,
            limit=PAGE,
            offset=offset,
        )
    )


def _folder_of(run: FlowRun) -> str:
    return rollout_name(str(run.parameters.get("rollout", "")))


def _flows(*names: str) -> FlowFilter:
    return FlowFilter(name=FlowFilterName(any_=list(names)))
