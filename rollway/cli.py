"""The command line: thin, every command is one call. stdout is the answer, stderr is talk."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from rollway.errors import PreflightFailed, RollwayError
from rollway.local.cli import app as local_app
from rollway.settings import Identity, Workspace, block_from_environment, is_debug

app = App(
    name="rollway",
    help="Puts machine-learning models behind Azure ML online endpoints.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
# By its path, so that only its own commands import it: it needs the `emulator` extra, which workers do without.
app.command(
    "rollway.emulator.cli:app", name="emulator", help="A local Azure ML, for the same clients and the same flow."
)
app.command(local_app)

MOST_DETAILS = 20  # lines that are worth saying a second time

Rollout = Annotated[
    str, Parameter(help="Folder with endpoint.yml, deployment.yml and rollout.yml, or its name in deployments/.")
]
ModelVersion = Annotated[str | None, Parameter(help="Model version, instead of the one that deployment.yml names.")]
PERCENT = validators.Number(gte=1, lte=100)
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON document.")]


@app.command
def validate(rollout: Rollout, *, as_json: AsJson = False) -> None:
    """Check a rollout folder; needs no network."""
    # Importing the SDK would fetch the cloud's metadata, azure/ai/ml/_azure_environments.py.
    for name in ("ARM_CLOUD_METADATA_URL", "AZUREML_CURRENT_CLOUD"):
        os.environ.pop(name, None)
    from rollway.azure.folder import load_folder

    spec = load_folder(rollout)
    _answer(spec.model_dump_json(indent=2) if as_json else f"{spec.folder} is valid")


@app.command
def plan(rollout: Rollout, *, model_version: ModelVersion = None, as_json: AsJson = False) -> None:
    """Print what `deploy` would do, field by field, and what stands in its way; writes nothing."""
    from rollway import report
    from rollway.azure.planning import plan_rollout
    from rollway.rollout.preflight import Severity

    made = asyncio.run(plan_rollout(rollout, model_version, _workspace_of_block()))
    _answer(made.model_dump_json(indent=2) if as_json else report.plan_text(made))
    if any(finding.severity is Severity.BLOCKER for finding in made.findings):
        sys.exit(PreflightFailed.exit_code)


@app.command
def deploy(
    rollout: Rollout,
    *,
    model_version: ModelVersion = None,
    dry_run: Annotated[bool, Parameter(negative="", help="Only plan; write nothing to Azure.")] = False,
    force: Annotated[bool, Parameter(negative="", help="Roll out anew although nothing differs.")] = False,
    weight: Annotated[
        int, Parameter(help="Percent of the traffic for the new one; what serves keeps the rest.", validator=PERCENT)
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """Roll a folder out with the Prefect flow, in this process."""
    # Without a Prefect server a temporary one is started; its first start ever takes longer than Prefect waits.
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    from flows.deploy import deploy_endpoint
    from rollway import report

    try:
        with _quiet_stdout():
            result = asyncio.run(deploy_endpoint(rollout, model_version, dry_run, force, weight))
    except RollwayError as error:
        if error.details and error.details.count("\n") > MOST_DETAILS:
            error.details = "Its log is above, where the step failed."
        raise
    _answer(result.model_dump_json(indent=2) if as_json else report.text(result))


@app.command
def schema() -> None:
    """Print the JSON Schema of rollout.yml, for editors."""
    from rollway.spec import RolloutFile

    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RolloutFile.model_json_schema()}
    _answer(json.dumps(document, indent=2))


def main(arguments: list[str] | None = None) -> None:
    """The `rollway` command; ends the process with the exit code that the error tree documents."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--debug" in arguments:
        arguments = [argument for argument in arguments if argument != "--debug"]
        os.environ["ROLLWAY_DEBUG"] = "1"
    try:
        app(arguments)
    except RollwayError as error:
        if is_debug():
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _workspace_of_block() -> tuple[Workspace, Identity] | None:
    # Prefect takes seconds to import, and only a block needs it.
    if block_from_environment() is None:
        return None
    from tasks.workspace import find_workspace

    return asyncio.run(find_workspace())


@contextlib.contextmanager
def _quiet_stdout() -> Iterator[None]:
    # The SDK prints a dot per poll, azure/ai/ml/_utils/_azureml_polling.py; steps log what they wait for themselves.
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _answer(text: str) -> None:
    print(text)
