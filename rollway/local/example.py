"""The example of the demo: a scikit-learn model of the progression of diabetes, in two versions."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import uv

from rollway.local.stack import Say, Stack, run_or_raise, temporary_stack
from rollway.terminal import saying

ROLLOUT = "deployments/diabetes"
MODEL = "diabetes"
_SCRIPT = Path("scoring/diabetes/train.py")


@contextlib.contextmanager
def running_example(folder: Path, say: Say) -> Iterator[tuple[Stack, dict[str, Path], dict[str, str]]]:
    """Start a temporary stack and train both versions; yields the stack, the model files and a client's variables.

    This process is an Azure client too from then on.
    """
    with temporary_stack(folder, say) as stack:
        say("starting the local Azure ML and a Prefect server")
        stack.start_emulator()
        stack.start_prefect()
        models = {version: train(folder, version, say) for version in ("1", "2")}
        variables = wait_until_ready(stack, say)
        os.environ.update(variables)
        yield stack, models, variables


def wait_until_ready(stack: Stack, say: Say) -> dict[str, str]:
    """Wait until the local Azure ML and the Prefect server answer; return the variables of a client."""
    with saying("waiting for the local Azure ML and the Prefect server", say=say):
        stack.wait_for_emulator()
        stack.wait_for_prefect()
        return stack.environment()


def deploy_command(rollout: str) -> list[str]:
    """Return the command that rolls a folder out."""
    return [sys.executable, "-m", "rollway", "deploy", rollout]


def deploy(rollout: str, variables: Mapping[str, str], say: Say, title: str) -> None:
    """Roll a folder out in a process of its own; raises RollwayError if that fails."""
    say(f"{title}: rollway deploy {rollout}")
    run_or_raise(deploy_command(rollout), variables)


def train(folder: Path, version: str, say: Say) -> Path:
    """Train a version in the script's own environment; return the model file."""
    output = folder / f"model-{version}"
    script = [str(_SCRIPT), "--version", version, "--output", str(output)]
    with saying(f"training model version {version} with scikit-learn", say=say):
        command = [uv.find_uv_bin(), "run", "--quiet", "--no-project", *script]
        run_or_raise(command, hint="run it in a checkout of Rollway")
    return output / "model.joblib"


def register(model: Path, version: str, say: Say) -> None:
    """Register a model file in the workspace of the environment."""
    with saying(f"registering model {MODEL}:{version}", say=say):
        asyncio.run(_register(model, version))


async def _register(model: Path, version: str) -> None:
    # Importing the SDK reads the environment, which is complete only now.
    from rollway.azure.assets import register_model
    from rollway.azure.session import open_session
    from rollway.settings import workspace_from_environment

    session = await open_session(workspace_from_environment())
    await register_model(session, str(model), MODEL, version)
