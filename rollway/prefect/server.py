"""The Prefect server that a command talks to."""

from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from rollway.errors import PrefectUnavailable
from rollway.terminal import saying

ANSWER_SECONDS = 10.0


def require_reachable() -> None:
    """Raise PrefectUnavailable if the Prefect server does not answer; start a temporary one if none is configured."""
    settings = get_current_settings()
    url = settings.api.url
    if not url:
        if settings.server.ephemeral.enabled:
            _start_temporary(settings.home)
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


def _start_temporary(home: Path) -> None:
    """Start the server that Prefect would start with the first request of the flow, and say so."""
    from prefect.server.api.server import SubprocessASGIServer  # noqa: PLC0415 - takes a second

    note = ", because PREFECT_API_URL is not set"
    if not (home / "prefect.db").exists():
        note += "; the first start creates its database and takes up to a minute"
    try:
        with saying("starting a temporary Prefect server", note):
            SubprocessASGIServer().start()
    except RuntimeError as error:
        raise PrefectUnavailable(
            "Prefect's temporary server did not start",
            where=f"PREFECT_HOME={home}",
            why=" ".join(str(error).split()),
            hint="start a server of your own (`prefect server start`) and set PREFECT_API_URL",
        ) from error
