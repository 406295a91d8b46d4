"""The emulator's command line: `up` runs it, `env` prints the variables for its clients."""

import json
import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

from cyclopts import App, Parameter

from rollway.emulator.core.clock import Profile
from rollway.emulator.core.seed import SeedError
from rollway.emulator.server import LOOPBACK, NotRunning, NotSafe, StateInUse, read_client_environment, run

app = App(name="emulator", help="A local Azure ML, for the same clients and the same flow.")

STATE = Path(".rollway/emulator")


@app.default
@app.command
def up(
    *,
    port: int = 0,
    state: Path = STATE,
    profile: str = "instant",
    seed: Path | None = None,
    images: Path | None = None,
    host: str = LOOPBACK,
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
        _fail(str(exc), 2)
    except StateInUse as exc:
        _fail(f"{exc}. Stop it first, or choose another folder with --state.", 2)
    except OSError as exc:
        _fail(f"the emulator cannot start: {exc}", 1)


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
        _fail(f"{exc}. Start one with: rollway emulator up --state {shlex.quote(str(state))}", 2)
    if format == "json":
        print(json.dumps(values, indent=2))
    else:
        for name, value in values.items():
            print(f"export {name}={shlex.quote(value)}")


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
