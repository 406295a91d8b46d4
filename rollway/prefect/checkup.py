"""The checks that need Prefect: its server, the work pool, a Prefect deployment for each folder."""

from collections.abc import Iterable

from prefect import __version__
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import WorkerFilter, WorkerFilterStatus
from prefect.client.schemas.objects import WorkerStatus
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from rollway.errors import PrefectUnavailable
from rollway.prefect.server import require_reachable
from rollway.prefect.watching import workspace_blocks
from rollway.rollout.checkup import Check, State

WORK_POOL = "rollway"


async def check_prefect(folders: Iterable[str]) -> tuple[Check, ...]:
    """Ask the configured server; return what was found.

    Args:
        folders: Names of the rollout folders.
    """
    url = get_current_settings().api.url
    if not url:
        found = "none is configured: each `rollway deploy` here starts one for itself"
        hint = "for a team, start one and set PREFECT_API_URL: docs/operations.md"
        return (Check(name="prefect server", state=State.OPTIONAL, found=found, next=hint),)
    try:
        require_reachable()
    except PrefectUnavailable as error:
        return (Check.failed("prefect server", error),)
    return (await _server(url), await _work_pool(), await _deployments(folders))


async def _server(url: str) -> Check:
    async with get_client() as client:
        version = await client.api_version()
    if _minor(version) == _minor(__version__):
        return Check(name="prefect server", state=State.OK, found=f"Prefect {version} at {url}")
    found = f"Prefect {version} at {url}, and {__version__} here"
    hint = "use the same minor version on both sides"
    return Check(name="prefect server", state=State.OPTIONAL, found=found, next=hint)


async def _work_pool() -> Check:
    async with get_client() as client:
        try:
            pool = await client.read_work_pool(WORK_POOL)
        except ObjectNotFound:
            hint = f"`prefect work-pool create {WORK_POOL} --type process`"
            found = (
                f"there is no work pool {WORK_POOL!r}: nothing starts from the Prefect UI, by a schedule or a watcher"
            )
            return Check(name="work pool", state=State.OPTIONAL, found=found, next=hint)
        online = WorkerFilter(status=WorkerFilterStatus(any_=[WorkerStatus.ONLINE]))
        workers = await client.read_workers_for_work_pool(WORK_POOL, worker_filter=online)
    if pool.is_paused:
        hint = f"`prefect work-pool resume {WORK_POOL}`"
        return Check(name="work pool", state=State.OPTIONAL, found=f"{WORK_POOL!r} is paused", next=hint)
    if not workers:
        hint = f"`prefect worker start --pool {WORK_POOL}`"
        return Check(name="work pool", state=State.OPTIONAL, found=f"{WORK_POOL!r} has no worker", next=hint)
    return Check(name="work pool", state=State.OK, found=f"{WORK_POOL!r} has workers: {len(workers)}")


async def _deployments(folders: Iterable[str]) -> Check:
    there = set(await workspace_blocks())
    missing = sorted(set(folders) - there)
    if missing:
        found = f"no Prefect deployment of {', '.join(missing)}: the watcher and the UI do not know them"
        return Check(
            name="prefect deployments", state=State.OPTIONAL, found=found, next="`prefect --no-prompt deploy --all`"
        )
    return Check(name="prefect deployments", state=State.OK, found=f"one for each folder: {len(there)}")


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
