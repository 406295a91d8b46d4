"""`rollway deploy` with a pattern: the rollouts of many folders."""

from datetime import UTC, datetime
from typing import Annotated, NoReturn

from cyclopts import Parameter, validators

from rollway.commands.shared import configure_prefect, loading, run_flow
from rollway.prefect.parameters import Requester
from rollway.rollout.fleet import DEFAULT_SIZE, DEFAULT_STOP
from rollway.terminal import answer

AtMost = Annotated[
    int | None,
    Parameter(help=f"Folders of a pattern at once; default: {DEFAULT_SIZE}.", validator=validators.Number(gte=1)),
]
StopAfter = Annotated[
    int | None,
    Parameter(
        help=f"Begin no further wave after so many went wrong; default: {DEFAULT_STOP}.",
        validator=validators.Number(gte=1),
    ),
]
Waves = Annotated[
    tuple[str, ...],
    Parameter(
        help="Order: a pattern of workspace blocks or folders, or `rest`; again for each further one.",
        negative="",
        consume_multiple=False,
    ),
]


def deploy_many(
    pattern: str,
    at_most: int | None,
    stop_after: int | None,
    waves: tuple[str, ...],
    requested_by: Requester,
    as_json: bool,
) -> NoReturn:
    """Roll the folders of a pattern out in waves, and print how far each of them is."""
    configure_prefect()
    with loading():
        from flows.fleet import deploy_fleet
        from rollway.prefect.ending import leave, run_here
        from rollway.prefect.fleet import require_workers
    from rollway.reports.fleet import terminal

    require_workers()
    size, stop = at_most or DEFAULT_SIZE, stop_after or DEFAULT_STOP
    fleet = run_flow(lambda: run_here(deploy_fleet, pattern, size, stop, list(waves), requested_by))
    answer(fleet.model_dump_json(indent=2) if as_json else terminal(fleet, datetime.now(UTC)))
    leave(0)
