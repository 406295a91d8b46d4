"""The emulator's command line: `up` runs it, `env` points a shell at it."""

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

app = App(name="emulator", help="A local Azure ML, for the same clients and the same flow as the cloud's.")

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
    """Run the emulator in the foreground; prints its URL when it is ready, and stops on SIGTERM or Ctrl-C.

    Parameters
    ----------
    port
        The port on loopback; 0 takes the one of the last run when it is free, else any.
    state
        The folder of everything it remembers. It is made when missing.
    profile
        How long operations take: "instant", "azure", or "azure:<scale>".
    seed
        A YAML file with the tenant, principals, workspaces and taken endpoint names to start with.
    images
        A YAML file that maps further container images to Python packages.
    host
        The IPv4 address to listen on. Off loopback it needs a public name, and a secret in ROLLWAY_EMULATOR_SECRET.
    public_name
        The name under which other machines reach it.
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
        _fail(f"{exc}. Stop it first, or give this one a folder of its own with --state.", 2)
    except OSError as exc:
        _fail(f"the emulator cannot start: {exc}", 1)


@app.command
def env(
    *,
    state: Path = STATE,
    format: Annotated[Literal["shell", "json"], Parameter(name="--format")] = "shell",
) -> None:
    """Print the variables that point any Azure client at the running emulator: eval "$(rollway emulator env)".

    Parameters
    ----------
    state
        The folder that the emulator runs on.
    format
        "shell" for export lines, "json" for one document.
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
