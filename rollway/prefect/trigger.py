"""Start the watcher of new model versions from outside a flow."""

import hashlib
from collections.abc import Sequence

from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from rollway.errors import ConfigurationError, PrefectUnavailable
from rollway.event_grid.messages import ModelRegistered

WATCHER = "watch-endpoints/watch-endpoints"  # flow and Prefect deployment, as in prefect.yaml


def require_server() -> None:
    """Raise ConfigurationError if no Prefect server is configured; a temporary one does not know the watcher."""
    if not get_current_settings().api.url:
        raise ConfigurationError(
            "no Prefect server is configured to notify of new models",
            where="environment variable PREFECT_API_URL",
            why="it is not set, and Prefect's profile does not set it either",
            hint="set it to your server's address, for example http://127.0.0.1:4200/api",
        )


async def trigger_watcher(events: Sequence[ModelRegistered]) -> None:
    """Start a run of the watcher; the same events start only one run, however often they are delivered.

    Raises PrefectUnavailable if the run could not be created.
    """
    # Sorted, because a batch may be delivered again in another order.
    key = hashlib.sha256("\n".join(sorted({one.id for one in events})).encode()).hexdigest()
    try:
        await arun_deployment(WATCHER, idempotency_key=f"event-grid-{key}", timeout=0, as_subflow=False)
    except ObjectNotFound as error:
        raise PrefectUnavailable(
            "the Prefect server does not know the watcher",
            where=f"Prefect deployment {WATCHER}",
            hint="create it with `prefect deploy --all`",
        ) from error
    except Exception as error:  # whatever the client or the network raises, the sender gets the same answer
        raise PrefectUnavailable(
            "the Prefect server cannot be notified of new models",
            where=f"{get_current_settings().api.url}",
            why=str(error) or type(error).__name__,
            hint="is it running? Event Grid delivers the event again",
        ) from error
