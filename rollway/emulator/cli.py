"""The emulator's command line: `up` runs it, `env` prints the variables for its clients."""

import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from rollway.emulator.folder import NotRunning, StateInUse, read_client_environment

app = App(name="emulator", help="A local Azure ML, for the same clients and the same flow.")
Port = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=65535))]

STATE = Path(".rollway/emulator")
NOT_STARTED = "the local Azure ML cannot start"


class CommandFailed(Exception):
    """A command cannot do what was asked: what happened, where, why, what to try next, and the exit code."""

    def __init__(self, what: str, *, where: str, why: str | None = None, hint: str, exit_code: int = 2) -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.hint, self.exit_code = what, where, why, hint, exit_code

    def __str__(self) -> str:
        labelled = (("where", self.where), ("why", self.why), ("try", self.hint))
        return "\n".join([self.what, *(f"  {label}: {text}" for label, text in labelled if text)])


@app.default
@app.command
def up(
    *,
    port: Port = 0,
    state: Path = STATE,
    profile: str = "instant",
    seed: Path | None = None,
    images: Path | None = None,
    host: str = "127.0.0.1",
    public_name: str | None = None,
) -> None:
    """Run the emulator in the foreground. It prints its URL when it is ready, and stops on SIGTERM or Ctrl-C.

    Parameters
    ----------
    port
        The port to listen on. 0 uses the port of the last run if it is free, else any free port.
    state
        The folder for its state. It is created if missing.
    profile
        The minimum duration of operations, and lags: `instant`, `azure`, or `azure:<scale>`.
    seed
        A YAML file with the tenant, principals, workspaces, models and limits to start with.
    images
        A YAML file that maps more container images to Python packages, to commands or to build contexts.
    host
        The IPv4 address to listen on. Other than loopback needs --public-name, and a secret in ROLLWAY_EMULATOR_SECRET.
    public_name
        The host name that other machines use.
    """
    # The server takes a second to import, which `env` need not wait for.
    from rollway.emulator.core.clock import Profile
    from rollway.emulator.core.seed import SeedError
    from rollway.emulator.server import NotSafe, run

    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        chosen = Profile.parse(profile)
        run(
            state,
            port=port,
            profile=chosen,
            seed=seed,
            images=images,
            on_ready=lambda url: print(url, flush=True),
            host=host,
            public_name=public_name,
        )
    except (ValueError, SeedError, NotSafe) as exc:
        hint = "correct it; `rollway emulator up --help` lists what each option takes"
        raise CommandFailed(NOT_STARTED, where="command line", why=str(exc), hint=hint) from exc
    except StateInUse as exc:
        hint = "use that one, stop it first, or choose another folder with --state"
        raise CommandFailed(NOT_STARTED, where=f"--state {state}", why=str(exc), hint=hint) from exc
    except OSError as exc:
        hint = "choose another port or folder (--port, --state)"
        where = str(exc.filename or f"{host}:{port}")
        raise CommandFailed(NOT_STARTED, where=where, why=exc.strerror or str(exc), hint=hint, exit_code=1) from exc


@app.command
def env(
    *,
    state: Path = STATE,
    format: Annotated[Literal["shell", "json"], Parameter(name="--format")] = "shell",
) -> None:
    """Print the environment variables for Azure clients of the running emulator: eval "$(rollway emulator env)".

    Parameters
    ----------
    state
        The emulator's state folder.
    format
        "shell" for export lines, "json" for one JSON document.
    """
    try:
        values = read_client_environment(state)
    except NotRunning as exc:
        raise _not_running(exc, state) from exc
    if format == "json":
        print(json.dumps(values, indent=2))
    else:
        for name, value in values.items():
            print(f"export {name}={shlex.quote(value)}")


@app.command
def key(endpoint: str, *, state: Path = STATE) -> None:
    """Print a key or token for the scoring requests of an endpoint of the running emulator.

    Parameters
    ----------
    endpoint
        The name of an endpoint of the first workspace, or the resource id of any endpoint.
    state
        The emulator's state folder.
    """
    from rollway.emulator.client import Refused, read_key

    try:
        print(read_key(state, endpoint))
    except NotRunning as exc:
        raise _not_running(exc, state) from exc
    except Refused as exc:
        hint = "the page of the emulator lists the endpoints"
        raise CommandFailed("there is no key to be read", where=endpoint, why=str(exc), hint=hint) from exc


def _not_running(exc: NotRunning, state: Path) -> CommandFailed:
    hint = f"start one with `rollway emulator up --state {shlex.quote(str(state))}`"
    return CommandFailed(str(exc), where=f"--state {state}", hint=hint)


def main() -> None:
    """Run the emulator's own command line."""
    try:
        app()
    except CommandFailed as exc:
        print(f"error: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
