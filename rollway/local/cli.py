"""`rollway local`: the demo, and a stack to explore in the browser."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter, validators

from rollway.local.uv_like_pip import pip_variables
from rollway.prefect.yaml_entries import update_prefect_yaml
from rollway.settings import require_checkout
from rollway.terminal import program, say, saying

app = App(name="local", help="Rollway on this machine, without an Azure subscription.")

FOLDER = Path(".rollway")
Port = Annotated[int, Parameter(validator=validators.Number(gte=1, lte=65535))]


@app.command
def demo() -> None:
    """Train, register and roll out two versions of a model; a third rollout has nothing to do."""
    _begin("local demo")
    _stop_all_at(signal.SIGTERM)
    from rollway.local.demo import run

    run(FOLDER / "demo", say)


@app.command
def demo_progressive() -> None:
    """Roll out a good version in steps, and then a bad one, which is caught and rolled back."""
    _begin("local demo-progressive")
    _stop_all_at(signal.SIGTERM)
    from rollway.local.demo_progressive import run

    run(FOLDER / "demo-progressive", say)


@app.command
def up(*, port: Port = 4200, images: Path | None = None, team: Annotated[bool, Parameter(negative="")] = False) -> None:
    """Start the local Azure ML with two models, a Prefect server (UI on PORT) and a worker in the background.

    Parameters
    ----------
    port
        The port of the Prefect UI.
    images
        A YAML file that maps more container images to Python packages, to commands or to build contexts, for the local
        Azure ML.
    team
        Two Prefect servers on PostgreSQL and Redis, with a worker each, as for a team.
    """
    _begin("local up")
    from rollway.local.example import register, train, wait_until_ready
    from rollway.local.stack import Stack, emulator_url, require_free, stop_saved
    from rollway.local.team import TeamStack

    stack = (TeamStack if team else Stack)(FOLDER / "up", say, outlives=True)
    stop_saved(FOLDER / "up", say)
    require_free(port, "up-team" if team else "up")
    if (entries := update_prefect_yaml()).is_change:
        say(str(entries))
    _stop_all_at(signal.SIGTERM, signal.SIGHUP)
    try:
        say("starting the local Azure ML and the Prefect server")
        stack.start_emulator(*(["--images", str(images.resolve())] if images is not None else []))
        stack.start_prefect(port)
        models = {version: train(stack.folder, version, say) for version in ("1", "2")}
        os.environ.update(wait_until_ready(stack, say))
        for version, model in models.items():
            register(model, version, say)
        with saying(f"creating the Prefect deployments and starting {'two workers' if team else 'a worker'}"):
            stack.start_worker()
            if team:
                stack.add_worker()
    except BaseException:
        stack.stop()
        raise
    stack.save()
    rollway = program()
    print(f"Prefect UI:     {stack.ui_url}/deployments (run deploy-endpoint > diabetes)")
    if isinstance(stack, TeamStack):
        print(f"second API:     {stack.api_url(2)} (the second worker uses it)")
    print(f"local Azure ML: {emulator_url(os.environ)} (a page with its endpoints; its certificate is its own)")
    print()
    print("for commands in this shell:")
    print(f'  eval "$({rollway} emulator env --state {FOLDER}/up/emulator)"')
    print(f"  export PREFECT_API_URL={stack.ui_url}/api")
    print(f"  {rollway} status")
    print()
    print("stop it all: make down")


@app.command
def down() -> None:
    """Stop the processes that `up` started; their state stays in .rollway/up."""
    from rollway.local.stack import stop_saved

    is_stopped = stop_saved(FOLDER / "up", say)
    print("stopped" if is_stopped else "nothing is running here; `make up` starts it")


def _begin(command: str) -> None:
    """Require a checkout, and give uv, which trains the model and builds environments, the settings of pip."""
    require_checkout(command)
    os.environ.update(pip_variables())


def _stop_all_at(*signals: signal.Signals) -> None:
    """Let signals end this process as an exception does, so that all that it has started is stopped."""
    for number in signals:
        signal.signal(number, lambda *_: sys.exit(143))
