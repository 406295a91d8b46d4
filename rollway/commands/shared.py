"""Parameters and settings that several commands share."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Parameter

from rollway.errors import ConfigurationError, known
from rollway.imports import quick_imports
from rollway.settings import PREFECT_PATIENCE, Identity, Workspace, block_from_environment, is_debug
from rollway.terminal import explain, quiet_stdout, saying

T = TypeVar("T")

NEEDS_A_PERSON = 4  # see rollway.errors


def _with_a_name(given: str) -> str:
    is_place = given.strip() and Path(given).name in ("", "..")  # `.` names no rollout
    return str(Path(given).resolve()) if is_place else given


Rollout = Annotated[
    str,
    Parameter(
        help="Folder with endpoint.yml, deployment.yml and rollout.yml, or its name in deployments/.",
        converter=lambda _, tokens: _with_a_name(tokens[0].value),
    ),
]
Endpoint = Annotated[str, Parameter(help="Name of the endpoint, or its rollout folder.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]


@contextmanager
def loading() -> Iterator[None]:
    """Import Prefect and the SDK in this block; say so if it takes long."""
    with saying("loading Prefect and Azure's SDK", at_once=False), quick_imports():
        yield


def configure_prefect() -> None:
    """Set what Prefect reads from the environment when it is imported, unless the user has."""
    for name, value in PREFECT_PATIENCE.items():
        os.environ.setdefault(name, value)
    # So that `rollway status` knows, as of a worker's run, that a process which was killed is gone.
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    # Without a server Prefect starts a temporary one; its very first start takes longer than the default limit.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # the same for clients, without a notice


def refuse_options(given: Mapping[str, object], why: str) -> None:
    """Raise ConfigurationError that names the options that were given, if any was."""
    found = [name for name, value in given.items() if value]
    if found:
        raise ConfigurationError(
            f"{', '.join(found)} cannot be used here", where="command line", why=why, hint="leave it out"
        )


def workspace_of_block() -> tuple[Workspace, Identity] | None:
    """Return workspace and identity of the block in ROLLWAY_WORKSPACE_BLOCK; None for those of the environment."""
    # Importing Prefect takes seconds, and only a block needs it.
    if block_from_environment() is None:
        return None
    configure_prefect()
    from rollway.prefect.blocks import find_workspace

    return asyncio.run(find_workspace())


def run_flow(flow: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a flow and return its result; if it fails, print why and end the process."""
    from rollway.prefect.ending import leave
    from rollway.prefect.server import require_reachable

    try:
        with quiet_stdout():
            require_reachable()
            return asyncio.run(flow())
    except Exception as error:
        if is_debug():
            raise
        leave(explain(known(error)))
