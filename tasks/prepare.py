"""Before the plan: read the folder, resolve the model, register the environment."""

from prefect.logging import get_run_logger

from rollway.azure import assets, models
from rollway.azure.folder import load_folder
from rollway.azure.session import WorkspaceFacts
from rollway.azure.threads import in_thread
from rollway.prefect.run import current_run, rename_run
from rollway.prefect.task import task
from rollway.rollout.request import Models, Request
from rollway.rollout.state import ResolvedAsset
from rollway.spec import RolloutSpec
from tasks.connect import open_session


@task("read rollout", run_name="read {rollout}", timeout_seconds=300)
async def read_rollout(rollout: str) -> RolloutSpec:
    """Read and check a folder; `rollout` is its path, or its name in deployments/."""
    await rename_run(None)  # its tags are what alerts look for, also if it fails here
    spec = await in_thread(load_folder, rollout)
    current_run().label(endpoint=spec.endpoint.name)
    return spec


@task("resolve model", run_name="resolve model", timeout_seconds=900, retries=2)
async def resolve_model(connected: WorkspaceFacts, spec: RolloutSpec, request: Request) -> Models:
    """Find the model version of the request, or the versions among which the plan chooses."""
    found = await models.find_models(await open_session(connected.workspace), spec, request)
    if found.source is not None:
        get_run_logger().info("Model %s has %d versions", found.source, len(found.versions))
    else:
        get_run_logger().info("Model %s", found.fixed or "(none)")
    current_run().label(model=str(found.fixed or ""))
    return found


@task("register environment", run_name="register environment", timeout_seconds=900, retries=2)
async def register_environment(connected: WorkspaceFacts, spec: RolloutSpec, request: Request) -> ResolvedAsset | None:
    """Register the environment, or find the identical registered version."""
    if request.takes_what_exists:
        return None
    session = await open_session(connected.workspace)
    environment = await assets.register_environment(session, spec, is_dry_run=request.is_dry_run)
    action = "registered" if environment and environment.is_new else "already registered"
    get_run_logger().info("Environment %s %s", environment or "(none)", action if environment else "")
    return environment
