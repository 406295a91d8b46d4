"""Orders of people to a run that is working, as a label of its flow run: it reads that within seconds.

The record on the endpoint has every order, too. But Azure refuses other writes while an online deployment is created.
"""

import contextlib
import json
from collections.abc import Sequence
from urllib.parse import urlencode
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.utilities.urls import url_for

from rollway.prefect.best_effort import best_effort
from rollway.prefect.concurrency import limit_name
from rollway.prefect.labels import ORDER
from rollway.prefect.run import current_run
from rollway.prefect.waiting import WAITING, wake_now
from rollway.rollout.entries import Command, Order
from rollway.settings import Workspace

STEERING = "steer-rollout/steer"  # Prefect deployment

_ANSWER = {"reason": "answer to the alert"}
_WORKING = [StateType.RUNNING, StateType.PENDING, StateType.PAUSED]


async def try_to_tell_runs(workspace: Workspace, endpoint: str, command: Command, but: Sequence[str] = ()) -> int:
    """Tell the runs that work on an endpoint, as far as Prefect answers; return how many were told."""
    if not PREFECT_API_URL.value():  # a temporary server knows no other runs
        return 0
    telling = tell_runs(workspace, endpoint, command, but)
    return await best_effort("running rollouts learn of it later", telling) or 0


async def tell_runs(workspace: Workspace, endpoint: str, command: Command, but: Sequence[str] = ()) -> int:
    """Tell the runs that work on an endpoint, and wake those that wait; return how many there are.

    Args:
        workspace: The workspace.
        endpoint: Name of the endpoint.
        command: The order.
        but: Ids of flow runs that are not told.
    """
    async with get_client() as client:
        found = await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=[limit_name(workspace, endpoint)]),
                state=FlowRunFilterState.model_validate(
                    {
                        "operator": "or_",
                        "type": FlowRunFilterStateType(any_=_WORKING),
                        "name": FlowRunFilterStateName(any_=[WAITING]),
                    }
                ),
            )
        )
        told = [one for one in found if str(one.id) not in but]
        for one in told:
            await client.update_flow_run_labels(one.id, {ORDER: str(command)})
            if one.state_name == WAITING:
                await wake_now(one)
    return len(told)


async def answer_links() -> dict[str, str]:
    """Return links to the form of steer-rollout, filled in to promote and to abort the rollout of this flow run.

    Nothing happens before a person submits the form: chat programs open links, too. Empty if Prefect has no such form.
    """

    async def find() -> UUID | None:
        async with get_client() as client:
            with contextlib.suppress(ObjectNotFound):
                return (await client.read_deployment_by_name(STEERING)).id
        return None

    page = url_for("deployment", found) if (found := await best_effort("the alert has no links", find())) else None
    given = {name: flow_run.parameters.get(name) for name in ("rollout", "workspace_block")}
    filled = {name: value for name, value in given.items() if value}
    return {
        order.value: f"{page}/run?{urlencode({'parameters': json.dumps({**filled, 'order': order.value, **_ANSWER})})}"
        for order in (Order.PROMOTE, Order.ABORT)
        if page
    }


async def order_to_this_run() -> Command | None:
    """Return the order that this flow run was given, or None.

    The label outlives an attempt. A retry does not carry out what the attempt before it was told.
    """

    async def read() -> Command | None:
        async with get_client() as client:
            labels = (await client.read_flow_run(UUID(str(flow_run.id)))).labels or {}
        command = Command.parse(str(labels.get(ORDER) or ""))
        return command if command is not None and current_run().obeys(command) else None

    return await best_effort("orders to this run are read later", read())
