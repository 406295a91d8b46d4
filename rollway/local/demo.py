"""The demo: the commands of a user, one after the other, on a temporary stack."""

import json
import time
from pathlib import Path

from rollway.local.example import ROLLOUT, deploy, register, running_example
from rollway.local.stack import Say, Stack, gone_wrong


def run(folder: Path, say: Say) -> None:
    """Run two rollouts, the second while a client keeps scoring, and a third that has nothing to do."""
    started = time.monotonic()
    with running_example(folder, say) as (stack, models, variables):
        from rollway.local.load import Load  # importing the SDK reads the variables

        register(models["1"], "1", say)
        deploy(ROLLOUT, variables, say, "first rollout: model version 1")
        with Load(ROLLOUT) as load:
            print(f"the live endpoint answers: {json.dumps(load.wait_for_answers(1))}")
            register(models["2"], "2", say)
            deploy(ROLLOUT, variables, say, "second rollout: model version 2, while a client keeps scoring")
            print(f"the live endpoint answers: {json.dumps(load.wait_for_answers(2))}")
        print(f"the client made {load.requests} requests during the second rollout, {load.failures} failed")
        if load.failures:
            raise gone_wrong("requests failed during the rollout", load.errors)

        writes_before = _count_writes(stack)
        deploy(ROLLOUT, variables, say, "third rollout: nothing has changed")
        writes = _count_writes(stack) - writes_before
        print(f"the third rollout made {writes} writes to Azure")
        if writes:
            raise gone_wrong("a rollout without changes wrote to Azure")
    print(f"done in {time.monotonic() - started:.0f} s; `make up` starts the same to explore in the Prefect UI")


def _count_writes(stack: Stack) -> int:
    # Signing in is a POST too, but it writes nothing.
    return sum(
        request["method"] not in ("GET", "HEAD") and request["path"].startswith("/subscriptions/")
        for request in stack.azure_requests()
    )
