"""The demo: what a person would type, one command after the other, on a stack that is gone afterwards."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import uv

from rollway.errors import RollwayError
from rollway.local.stack import Say, Stack, temporary_stack

ROLLOUT = "deployments/diabetes"
SCORING = Path("scoring/diabetes")
MODEL = "diabetes"


def run(folder: Path, say: Say) -> None:
    """Two rollouts under a client that never stops scoring, and a third that finds nothing to do."""
    started = time.monotonic()
    with temporary_stack(folder, say) as stack:
        say("starting the local Azure ML and a Prefect server")
        stack.start_emulator()
        stack.start_prefect()
        for version in ("1", "2"):
            _train(folder, version, say)
        stack.wait_for_emulator()
        stack.wait_for_prefect()
        variables = stack.environment()
        os.environ.update(variables)  # from here on this process is one more Azure client
        from rollway.local.load import Load  # importing the SDK reads the variables

        asyncio.run(_register(folder, "1", say))
        _deploy(variables, say, "first rollout: model version 1")
        with Load(ROLLOUT) as load:
            print(f"the live endpoint answers: {json.dumps(load.wait_for_answers(1))}")
            asyncio.run(_register(folder, "2", say))
            _deploy(variables, say, "second rollout: model version 2, while a client keeps scoring")
            print(f"the live endpoint answers: {json.dumps(load.wait_for_answers(2))}")
        print(f"the client made {load.requests} requests during the second rollout, {load.failures} failed")
        if load.failures:
            raise RollwayError("requests failed during the rollout", details="\n".join(load.errors[:5]))

        writes_before = _count_writes(stack)
        _deploy(variables, say, "third rollout: nothing has changed")
        print(f"the third rollout made {_count_writes(stack) - writes_before} writes to Azure")
    print(f"done in {time.monotonic() - started:.0f} s; `make up` starts the same to explore in the Prefect UI")


def _train(folder: Path, version: str, say: Say) -> None:
    say(f"training model version {version} with scikit-learn")
    command = [
        uv.find_uv_bin(), "run", "--quiet", "--no-project", str(SCORING / "train.py"),
        "--version", version, "--output", str(folder / f"model-{version}"),
    ]  # fmt: skip
    subprocess.run(command, check=True)


async def _register(folder: Path, version: str, say: Say) -> None:
    from rollway.azure.assets import register_model
    from rollway.azure.session import open_session
    from rollway.settings import workspace_from_environment

    session = await open_session(workspace_from_environment())
    model = await register_model(session, str(folder / f"model-{version}" / "model.joblib"), MODEL, version)
    say(f"registered model {model}")


def _deploy(variables: Mapping[str, str], say: Say, title: str) -> None:
    say(f"{title}: rollway deploy {ROLLOUT}")
    subprocess.run([sys.executable, "-m", "rollway", "deploy", ROLLOUT], env=variables, check=True)


def _count_writes(stack: Stack) -> int:
    return sum(request["method"] not in ("GET", "HEAD") for request in stack.azure_requests())
