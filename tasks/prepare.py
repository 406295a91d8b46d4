"""Before the plan: read the folder, resolve the model, register the environment."""

from prefect.logging import get_run_logger

from rollway.azure import assets
from rollway.azure.folder import load_folder
from rollway.azure.session import WorkspaceFacts
from rollway.azure.threads import in_thread
from rollway.prefect.run import current_run
from rollway.prefect.task import task
from rollway.rollout.state import ResolvedAsset
from rollway.spec import RolloutSpec
from tasks.connect import open_session


@task("read rollout", run_name="read {rollout}", timeout_seconds=300)
async def read_rollout(rollout: str) -> RolloutSpec:
    """Read and check a folder; `rollout` is its path, or its name in deployments/."""
    spec = await in_thread(load_folder, rollout)
    current_run().label(endpoint=spec.endpoint.name)
    return spec


@task("resolve model", run_name="resolve model", timeout_seconds=900, retries=2, is_kept_for_retry=True)
async def resolve_model(
    connected: WorkspaceFacts, spec: RolloutSpec, version: str | None, is_dry_run: bool
) -> ResolvedAsset | None:
    """Resolve the model to one version; kept for retries, so that a retry rolls out the same version."""
    opened = await open_session(connected.workspace)
    model = await assets.resolve_model(opened, spec, version, is_dry_run=is_dry_run)
    get_run_logger().info("Model %s", model or "(none)")
    current_run().label(model=str(model or ""))
    return model


@task(
    "register environment",
    run_name="register environment",
    timeout_seconds=900,
    retries=2,
    is_kept_for_retry=True,
)
async def register_environment(connected: WorkspaceFacts, spec: RolloutSpec, is_dry_run: bool) -> ResolvedAsset | None:
    """Register the environment, or find the identical registered version."""
    opened = await open_session(connected.workspace)
    environment = await assets.register_environment(opened, spec, is_dry_run=is_dry_run)
    action = "registered" if environment and environment.is_new else "already registered"
    get_run_logger().info("Environment %s %s", environment or "(none)", action if environment else "")
    return environment
