"""`rollway status`, `logs` and `score`: what is there, without changing it."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from rollway.commands.shared import NEEDS_A_PERSON, AsJson, Endpoint, configure_prefect, workspace_of_block
from rollway.rollout.choice import Container
from rollway.terminal import answer

OnlineDeployment = Annotated[str | None, Parameter(help="Name of the online deployment; default: the live one.")]


def status(
    *endpoints: Annotated[str, Parameter(help="Names of endpoints; default: all of the workspace.")],
    watch: Annotated[bool, Parameter(negative="", help="Again and again, with the evidence, until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the status of the endpoints; exit with 4 if a person must look at one."""
    from rich.console import Console

    from rollway.azure.status import read_workspace_status, watch_workspace_status
    from rollway.reports import status as status_report

    where = workspace_of_block()
    if watch:
        with status_report.Watch(Console(), as_json=as_json) as screen:
            asyncio.run(watch_workspace_status(endpoints, where, screen.show, _find_ended))
    found = asyncio.run(read_workspace_status(endpoints, where, _find_ended))
    if as_json:
        answer(found.model_dump_json(indent=2))
    elif sys.stdout.isatty():
        Console().print(status_report.table(found))
    else:
        answer(status_report.plain(found))
    if not found.is_healthy:
        sys.exit(NEEDS_A_PERSON)


def logs(
    endpoint: Endpoint,
    *,
    online_deployment: OnlineDeployment = None,
    lines: Annotated[int, Parameter(help="How many, from the end.", validator=validators.Number(gte=1))] = 100,
    container: Annotated[
        Container, Parameter(help="The inference server, or what downloads the model before that starts.")
    ] = "inference-server",
    as_json: AsJson = False,
) -> None:
    """Print the last lines of the log of an online deployment, without secrets."""
    from rollway.azure.endpoint_folders import find_endpoint
    from rollway.azure.live import read_log

    name = find_endpoint(endpoint).endpoint
    found = asyncio.run(read_log(name, online_deployment, lines, container, workspace_of_block()))
    if as_json:
        answer(found.model_dump_json(indent=2))
        return
    what = f"{container} of {found.online_deployment}"
    print(f"{what}, last {lines} lines" if found.text else f"the log of the {what} is empty", file=sys.stderr)
    if found.text:
        answer(found.text)


def score(
    endpoint: Endpoint,
    *,
    file: Annotated[Path, Parameter(help="File with the request.")],
    online_deployment: Annotated[
        str | None, Parameter(help="Name of the one that answers, regardless of its weight; default: traffic decides.")
    ] = None,
    content_type: Annotated[str | None, Parameter(help="Default: by the name of the file, or else JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Send a request to an endpoint and print the answer; its latency and who answered go to stderr."""
    from rollway.azure.endpoint_folders import find_endpoint
    from rollway.azure.live import score_once
    from rollway.files.request_files import read_request

    name, request = find_endpoint(endpoint).endpoint, read_request(file, content_type)
    found = asyncio.run(score_once(name, request, online_deployment, workspace_of_block()))
    if as_json:
        answer(found.model_dump_json(indent=2))
        return
    who = f" from {found.served_by}" if found.served_by else ""
    print(f"status {found.status} in {found.latency_seconds * 1000:.0f} ms{who}", file=sys.stderr)
    answer(found.text or (found.body if isinstance(found.body, str) else json.dumps(found.body)))


async def _find_ended(attempts: frozenset[str]) -> frozenset[str]:
    # Importing Prefect takes seconds, and only a rollout that seems to run needs it.
    configure_prefect()
    from rollway.prefect.concurrency import find_ended

    return await find_ended(attempts)
