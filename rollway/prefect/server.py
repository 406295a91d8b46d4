"""The Prefect server that a command talks to."""

from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from rollway.errors import PrefectUnavailable

ANSWER_SECONDS = 10.0


def require_reachable() -> None:
    """Raise PrefectUnavailable if a Prefect server is configured and does not answer; none means a temporary one."""
    url = get_current_settings().api.url
    if not url:
        return
    with get_client(httpx_settings={"timeout": ANSWER_SECONDS}, sync_client=True) as client:
        problem = client.api_healthcheck()
    if problem is not None:
        raise PrefectUnavailable(
            "the Prefect server does not answer",
            where=f"PREFECT_API_URL={url}",
            why=str(problem) or type(problem).__name__,
            hint="start it (`prefect server start`), correct PREFECT_API_URL, or unset it to use a temporary server",
        ) from problem
