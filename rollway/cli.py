"""The command line: every command is one call. Answers go to stdout, everything else to stderr."""

import asyncio
import json
import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import uuid4

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError, validators

from rollway.commands.doctor import doctor
from rollway.commands.fleet import AtMost, StopAfter, Waves, deploy_many
from rollway.commands.folders import new, prefect_yaml, validate
from rollway.commands.look import logs, score, status
from rollway.commands.shared import (
    NEEDS_A_PERSON,
    AsJson,
    Endpoint,
    Rollout,
    configure_prefect,
    loading,
    refuse_options,
    run_flow,
    workspace_of_block,
)
from rollway.errors import ConfigurationError, PreflightFailed, RollwayError, known
from rollway.local.cli import app as local_app
from rollway.prefect.alerts import DEFAULT_CHANNEL, AlertedRollout
from rollway.prefect.parameters import MODEL_VERSION_PATTERN, Requester
from rollway.prefect.triggers import DEFAULT_TIMING, Timing
from rollway.rollout.entries import Command, Order
from rollway.rollout.fleet import is_pattern
from rollway.settings import (
    is_debug,
    require_checkout,
    webhook_secret,
    workspace_from_environment,
)
from rollway.spec import FULL_WEIGHT
from rollway.terminal import answer, answers_json, explain, login_name, quiet_stdout

if TYPE_CHECKING:
    from rollway.reports.rollout import RolloutReport
    from rollway.rollout.steering import Steered

T = TypeVar("T")

app = App(
    name="rollway",
    help="Rolls out machine-learning models to Azure ML online endpoints. --debug shows the traceback of an error.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
# By its path, so that only its own commands import it: workers do not have the `emulator` extra.
app.command(
    "rollway.emulator.cli:app", name="emulator", help="A local Azure ML, for the same clients and the same flow."
)
app.command(local_app)
for command in (new, prefect_yaml, validate, status, logs, score, doctor):
    app.command(command)
app.register_install_completion_command()


SAID_BY_ERRORS = ("azure.identity", "azure.ai.ml._azure_environments")  # loggers that warn of what an error says


def _check_version(_: object, version: str | None) -> None:
    if version is not None and not re.fullmatch(MODEL_VERSION_PATTERN, version):
        raise ValueError("a version is letters, digits, '.', '_' and '-', such as 7, without the model's name")


ModelVersion = Annotated[
    str | None,
    Parameter(
        help="Model version, such as 7, also a rejected one. Default: the folder decides.", validator=_check_version
    ),
]
Force = Annotated[bool, Parameter(negative="", help="Roll out again even if nothing changed.")]
Weight = Annotated[
    int,
    Parameter(
        help="Percent of the traffic for the new online deployment; the others share the rest.",
        validator=validators.Number(gte=1, lte=100),
    ),
]
Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]
RequestedByOption = Annotated[
    Requester,
    Parameter(help="Who asks. Automation leaves a paused endpoint alone and waits until a freeze window ends."),
]
Reason = Annotated[str, Parameter(help="Why; shown in the status and in reports.")]


@app.command
def plan(
    rollout: Rollout,
    *,
    model_version: ModelVersion = None,
    requested_by: RequestedByOption = "person",
    force: Force = False,
    weight: Weight = 100,
    markdown: Annotated[bool, Parameter(negative="", help="Print it as Markdown, for a pull request.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what `deploy` would do, field by field, and what would stop it; write nothing."""
    from rollway.azure.planning import plan_rollout
    from rollway.reports import plan as plan_report
    from rollway.rollout.preflight import Severity
    from rollway.rollout.request import Request
    from rollway.rollout.wanted import RequestedBy

    request = Request(
        folder=rollout,
        version=model_version,
        weight=weight,
        force=str(uuid4()) if force else "",
        requested_by=RequestedBy(requested_by),
    )
    made = asyncio.run(plan_rollout(request, workspace_of_block()))
    if as_json:
        answer(made.model_dump_json(indent=2))
    else:
        answer(plan_report.markdown(made) if markdown else plan_report.text(made))
    if any(finding.severity is Severity.BLOCKER for finding in made.findings):
        sys.exit(PreflightFailed.exit_code)


@app.command
def deploy(
    rollout: Rollout,
    *,
    model_version: ModelVersion = None,
    requested_by: RequestedByOption = "person",
    dry_run: Annotated[bool, Parameter(negative="", help="Only plan; write nothing to Azure.")] = False,
    force: Force = False,
    weight: Weight = 100,
    at_most: AtMost = None,
    stop_after: StopAfter = None,
    wave: Waves = (),
    as_json: AsJson = False,
) -> None:
    """Roll a folder out with the Prefect flow, in this process; workers roll out many: a pattern such as 'team-*'."""
    require_checkout("deploy")
    of_one = {
        "--model-version": model_version,
        "--dry-run": dry_run,
        "--force": force,
        "--weight": weight != FULL_WEIGHT,
    }
    of_many = {"--at-most": at_most, "--stop-after": stop_after, "--wave": wave}
    if is_pattern(rollout):
        refuse_options(of_one, f"{rollout!r} is a pattern, and these options are for one folder")
        deploy_many(rollout, at_most, stop_after, wave, requested_by, as_json)
    refuse_options(of_many, f"{rollout!r} is one folder, and these options are for a pattern such as 'team-*'")
    _check_folder(rollout)
    configure_prefect()
    with loading():
        from flows.deploy import deploy_endpoint
        from rollway.prefect.ending import run_here

    _report(
        run_flow(lambda: run_here(deploy_endpoint, rollout, model_version, requested_by, dry_run, force, weight)),
        as_json,
    )


@app.command
def rollback(
    rollout: Rollout,
    *,
    to: Annotated[str | None, Parameter(help="Online deployment or model version; default: the previous one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go back to the previous version with the Prefect flow, in this process."""
    require_checkout("rollback")
    _check_folder(rollout)
    configure_prefect()
    with loading():
        from flows.rollback import rollback_endpoint
        from rollway.prefect.ending import run_here

    _report(run_flow(lambda: run_here(rollback_endpoint, rollout, to)), as_json)


@app.command
def promote(endpoint: Endpoint, *, reason: Reason = "", as_json: AsJson = False) -> None:
    """Give the canary all traffic, or begin the next step of its progressive rollout."""
    require_checkout("promote")
    configure_prefect()
    with loading():
        from flows.steer import steer_rollout
        from rollway.azure.endpoint_folders import find_endpoint, require_folder
        from rollway.prefect.ending import leave, run_here
    from rollway.reports.rollout import RolloutOutcome
    from rollway.reports.steering import promoted

    found = find_endpoint(endpoint)
    folder = require_folder(found)
    done = run_flow(lambda: run_here(steer_rollout, folder, "promote", reason, login_name()))
    _tell(promoted(found.endpoint, done), as_json)
    leave(NEEDS_A_PERSON if done and done.outcome is RolloutOutcome.HELD else 0)


@app.command
def abort(endpoint: Endpoint, *, reason: Reason = "", as_json: AsJson = False) -> None:
    """Bring all traffic back to stable, and tell the run that works on the endpoint to end."""
    _steer(Order.ABORT, endpoint, reason, as_json)


@app.command
def hold(endpoint: Endpoint, *, reason: Reason = "", as_json: AsJson = False) -> None:
    """Stop where it is: no traffic moves, and automation leaves the endpoint alone, until `resume`."""
    _steer(Order.HOLD, endpoint, reason, as_json)


@app.command
def resume(endpoint: Endpoint, *, reason: Reason = "", as_json: AsJson = False) -> None:
    """End a hold or a pause, so that automation rolls out again."""
    _steer(Order.RESUME, endpoint, reason, as_json)


@app.command
def webhook(*, host: str = "127.0.0.1", port: Port = 8080) -> None:
    """Receive Azure Event Grid events of registered models and start the watcher; see docs/event-grid.md.

    The secret that Event Grid must send is in ROLLWAY_WEBHOOK_SECRET. Prints the URL when it is ready.

    Parameters
    ----------
    host
        Address to listen on. It speaks plain HTTP: put a TLS proxy in front of it.
    port
        Port; 0 picks a free one.
    """
    secret = webhook_secret()
    with loading():
        from rollway.event_grid.webhook import make_app, serve
        from rollway.prefect.trigger import require_server, trigger_watcher

    require_server()
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    serve(make_app(secret, trigger_watcher), host, port, on_ready=lambda url: print(url, flush=True))


@app.command
def alerts(
    *,
    apply: Annotated[bool, Parameter(negative="", help="Make the changes instead of listing them.")] = False,
    channel: Annotated[
        str, Parameter(help="Notification block for the watcher, and for rollouts whose rollout.yml names none.")
    ] = (DEFAULT_CHANNEL),
    timing: Annotated[Timing, Parameter(name="*")] = DEFAULT_TIMING,
    as_json: AsJson = False,
) -> None:
    """List the changes that bring Prefect's automations to what the rollout folders ask for, or make them."""
    with loading():
        from rollway.azure.folder import load_all_folders
        from rollway.prefect.automations import change_alerts

    rollouts = [AlertedRollout.of(spec, channel) for spec in load_all_folders()]
    changes = asyncio.run(change_alerts(rollouts, channel=channel, timing=timing, is_dry_run=not apply))
    answer(changes.model_dump_json(indent=2) if as_json else str(changes))


@app.command
def schema() -> None:
    """Print the JSON Schema of rollout.yml for editors."""
    from rollway.spec import RolloutFile

    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RolloutFile.model_json_schema()}
    answer(json.dumps(document, indent=2))


def main(arguments: list[str] | None = None) -> None:
    """Run the `rollway` command; exit with the code that `rollway.errors` documents."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--debug" in arguments:
        arguments = [argument for argument in arguments if argument != "--debug"]
        os.environ["ROLLWAY_DEBUG"] = "1"
    answers_json.set("--json" in arguments)
    if not is_debug():
        for name in SAID_BY_ERRORS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        _call(arguments)
    except CycloptsError as error:
        sys.exit(explain(_wrong_usage(error)))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if is_debug():
            raise
        sys.exit(explain(_known(error)))


def _call(arguments: list[str]) -> None:
    try:
        app(arguments, exit_on_error=False, print_error=False)
    except UnknownOptionError as error:
        if error.token.keyword != "--json":
            raise
        # The answer of this command is no document, such as that of `webhook`. Its errors are.
        app([one for one in arguments if one != "--json"], exit_on_error=False, print_error=False)


def _wrong_usage(error: CycloptsError) -> ConfigurationError:
    words = " ".join(["rollway", *(error.command_chain or ())])
    hint = f"`{words} --help` lists what it takes" if error.command_chain else "`rollway --help` lists the commands"
    return ConfigurationError(" ".join(str(error).split()), where="command line", hint=hint)


def _known(error: Exception) -> RollwayError:
    emulator = sys.modules.get("rollway.emulator.cli")  # it knows nothing of our errors
    if emulator is not None and isinstance(error, emulator.CommandFailed):
        kind = ConfigurationError if error.exit_code == ConfigurationError.exit_code else RollwayError
        return kind(error.what, where=error.where, why=error.why, hint=error.hint)
    return known(error)


def _check_folder(rollout: str) -> None:
    """Raise InvalidRollout for a missing or invalid folder, before Prefect and its temporary server start."""
    from rollway.azure.folder import load_folder

    load_folder(rollout)


def _steer(order: Order, endpoint: str, reason: str, as_json: bool) -> None:
    configure_prefect()
    with loading():
        from rollway.azure import steering
        from rollway.azure.endpoint_folders import find_endpoint
        from rollway.azure.waiting import now
        from rollway.prefect.orders import try_to_tell_runs

    found, where = find_endpoint(endpoint), workspace_of_block()
    workspace = where[0] if where else workspace_from_environment()
    command = Command(order=order, by=login_name(), at=now("milliseconds"), reason=reason)

    async def give() -> "Steered":
        # Side by side: a Prefect server that is away must not delay an abort.
        telling = asyncio.create_task(try_to_tell_runs(workspace, found.endpoint, command))
        steered = await steering.steer(found.endpoint, command, where)
        await telling
        return steered

    with quiet_stdout():
        steered = asyncio.run(give())
    _tell(steered, as_json)


def _tell(steered: "Steered", as_json: bool) -> None:
    from rollway.reports import steering as steering_report

    for remark in steered.remarks:
        print(remark, file=sys.stderr)
    answer(steered.model_dump_json(indent=2) if as_json else steering_report.text(steered))


def _report(result: "RolloutReport", as_json: bool) -> None:
    from rollway.prefect.ending import leave
    from rollway.reports import rollout as rollout_report

    answer(result.model_dump_json(indent=2) if as_json else rollout_report.text(result))
    leave(NEEDS_A_PERSON if result.outcome is rollout_report.RolloutOutcome.HELD else 0)
