"""Waking the watcher of new model versions, from outside of any flow."""

import hashlib
from collections.abc import Sequence

from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings

from rollway.errors import ConfigurationError, PrefectUnavailable
from rollway.event_grid.messages import ModelRegistered

WATCHER = "watch-models/watch-models"  # flow and Prefect deployment, as in prefect.yaml


def require_server() -> None:
    """Raises ConfigurationError when no Prefect server is configured: a temporary one would know no watcher."""
    if not get_current_settings().api.url:
        raise ConfigurationError(
            "there is no Prefect server to tell of new models",
            where="environment variable PREFECT_API_URL",
            why="it is not set, and neither is it in Prefect's profile",
            hint="set it to your server's address, for example http://127.0.0.1:4200/api",
        )


async def nudge_watcher(events: Sequence[ModelRegistered]) -> None:
    """Starts a run of the watcher, once for the same events however often they are delivered.

    Raises PrefectUnavailable when there is no such run afterwards.
    """
    # In any order: a batch that is delivered again need not be sorted as before.
    key = hashlib.sha256("\n".join(sorted({one.id for one in events})).encode()).hexdigest()
    try:
        await arun_deployment(WATCHER, idempotency_key=f"event-grid-{key}", timeout=0, as_subflow=False)
    except ObjectNotFound as error:
        raise PrefectUnavailable(
            "the watcher is not known to the Prefect server",
            where=f"Prefect deployment {WATCHER}",
            hint="create it with `prefect deploy --all`",
        ) from error
    except Exception as error:  # whatever the client and the network raise, the answer to the sender is the same
        raise PrefectUnavailable(
            "the Prefect server cannot be told of new models",
            where=f"{get_current_settings().api.url}",
            why=str(error) or type(error).__name__,
            hint="is it running? Event Grid delivers the event again",
        ) from error
