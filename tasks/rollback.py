"""The task that only a rollback has: its target."""

from prefect.logging import get_run_logger

from rollway.azure.session import WorkspaceFacts
from rollway.azure.state import read_endpoint
from rollway.prefect.task import task
from rollway.rollout import rollback
from rollway.rollout.request import Request
from rollway.spec import RolloutSpec
from tasks.connect import open_session


@task("choose what to go back to", run_name="choose what to go back to", timeout_seconds=300, retries=2)
async def choose_target(connected: WorkspaceFacts, spec: RolloutSpec, request: Request) -> Request:
    """Return the request with the online deployment or model version to go back to."""
    endpoint = await read_endpoint(await open_session(connected.workspace), spec.endpoint.name)
    target = rollback.choose(endpoint, request.back_to)
    how = "which still exists" if target.online_deployment else "by rolling it out again"
    get_run_logger().info("Going back to %s, %s", target, how)
    return request.model_copy(update={"target": target})
