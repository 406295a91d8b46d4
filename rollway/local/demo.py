"""The demo: the commands of a user, one after the other, on a temporary stack."""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rollway.errors import RollwayError
from rollway.local.example import ROLLOUT, register, train
from rollway.local.stack import Say, Stack, run_or_raise, temporary_stack


def run(folder: Path, say: Say) -> None:
    """Run two rollouts, the second while a client keeps scoring, and a third that has nothing to do."""
    started = time.monotonic()
    with temporary_stack(folder, say) as stack:
        say("starting the local Azure ML and a Prefect server")
        stack.start_emulator()
        stack.start_prefect()
        models = {version: train(folder, version, say) for version in ("1", "2")}
        stack.wait_for_emulator()
        stack.wait_for_prefect()
        variables = stack.environment()
        os.environ.update(variables)  # from now on this process is an Azure client too
        from rollway.local.load import Load  # importing the SDK reads the variables

        register(models["1"], "1", say)
        _deploy(variables, say, "first rollout: model version 1")
        with Load(ROLLOUT) as load:
            print(f"the live endpoint answers: {json.dumps(load.wait_for_answers(1))}")
            register(models["2"], "2", say)
            _deploy(variables, say, "second rollout: model version 2, while a client keeps scoring")
            print(f"the live endpoint answers: {json.dumps(load.wait_for_answers(2))}")
        print(f"the client made {load.requests} requests during the second rollout, {load.failures} failed")
        if load.failures:
            raise RollwayError("requests failed during the rollout", details="\n".join(load.errors[:5]))

        writes_before = _count_writes(stack)
        _deploy(variables, say, "third rollout: nothing has changed")
        writes = _count_writes(stack) - writes_before
        print(f"the third rollout made {writes} writes to Azure")
        if writes:
            raise RollwayError("a rollout without changes must not write to Azure")
    print(f"done in {time.monotonic() - started:.0f} s; `make up` starts the same to explore in the Prefect UI")


def _deploy(variables: Mapping[str, str], say: Say, title: str) -> None:
    say(f"{title}: rollway deploy {ROLLOUT}")
    run_or_raise([sys.executable, "-m", "rollway", "deploy", ROLLOUT], variables)


def _count_writes(stack: Stack) -> int:
    # Signing in is a POST too, but it writes nothing.
    return sum(
        request["method"] not in ("GET", "HEAD") and request["path"].startswith("/subscriptions/")
        for request in stack.azure_requests()
    )
