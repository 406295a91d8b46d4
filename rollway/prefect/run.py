"""What a run is called in lists of runs, and by which tags it is found."""

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from rollway.rollout.state import ResolvedAsset


def run_name() -> str:
    """The name a run starts with: all that its parameters tell. Give it to `@flow(flow_run_name=…)`."""
    return _title(flow_run.parameters.get("model_version"))


async def rename_run(model: ResolvedAsset | None) -> str:
    """Names and tags the run after the model version that it turned out to roll out; gives the name."""
    name = _title(model.version if model else None)
    found = {"rollway", f"rollout:{_rollout()}"} | ({f"model:{model}"} if model and model.version else set())
    async with get_client() as client:
        await client.update_flow_run(UUID(str(flow_run.id)), name=name, tags={*flow_run.tags, *found})
    return name


def title(rollout: str, version: str | None, *, weight: int = 100, is_dry_run: bool = False) -> str:
    """Such as `diabetes · model 7 · canary 10 %`; a part that says nothing is left out."""
    parts = [
        rollout,
        f"model {version}" if version else "",
        f"canary {weight} %" if weight < 100 else "",
        "dry run" if is_dry_run else "",
    ]
    return " · ".join(part for part in parts if part)


def _title(version: str | None) -> str:
    given = flow_run.parameters
    return title(_rollout(), version, weight=given.get("weight", 100), is_dry_run=given.get("dry_run", False))


def _rollout() -> str:
    # The last part, because the command line takes paths.
    return str(flow_run.parameters["rollout"]).rstrip("/").rpartition("/")[2]
