"""Prefect's server dies at any task of a real rollout: traffic ends where it must, and so does the process."""

import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.support.severable import Severable
from tests.support.world import Rollout, World

MOST_SECONDS = 360  # far more than the two minutes after which the process has ended on a machine that is not busy
MOMENTS = [  # lines of the log, one for each task of a first rollout
    "Workspace ",
    "Model ",
    "Plan: ",
    "Next: create endpoint",
    "Next: create online deployment",
    "Next: smoke-test main",
    "Next: move traffic",
    "Next: smoke-test live traffic",
    "Next: promote",
]
WITH_A_BLOCK = ("Plan: ", "Next: smoke-test live traffic")  # the workspace of these is in Prefect, too
SAVE_BLOCK = """
import os
from rollway.prefect.blocks import AzureMLWorkspace
names = {"subscription_id": "AZURE_SUBSCRIPTION_ID", "resource_group": "AZURE_RESOURCE_GROUP",
         "workspace": "AZUREML_WORKSPACE"}
AzureMLWorkspace(**{field: os.environ[name] for field, name in names.items()}).save("away", overwrite=True)
"""


@dataclass(frozen=True)
class Ended:
    """A rollout whose server died: exit code and log."""

    rollout: Rollout
    exit_code: int
    log: str


def roll_out_without(world: World, rollout: Rollout, moment: str) -> Ended:
    """Run `rollway deploy` and cut it off from Prefect as soon as its log has that line."""
    server = urlsplit(world.stack.ui_url)
    assert server.hostname
    assert server.port
    with Severable(server.hostname, server.port) as proxy:
        api = f"http://127.0.0.1:{proxy.port}/api"
        variables = {"ROLLWAY_PREFECT_SECONDS": "10", "PREFECT_CLIENT_MAX_RETRIES": "1"}  # as for users
        if moment in WITH_A_BLOCK:
            variables["ROLLWAY_WORKSPACE_BLOCK"] = "away"
        process = world.start("deploy", rollout.write(), PREFECT_API_URL=api, **variables)
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            log.append(line)
            if moment in line:
                break
        proxy.cut()
        _, rest = process.communicate(timeout=MOST_SECONDS)
        return Ended(rollout, process.returncode, "".join(log) + rest)


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads for rollouts side by side: most of their time is waiting for a server that is away."""
    with ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture(autouse=True)
def block(world: World) -> None:
    """The block `away`, with the workspace of the tests."""
    subprocess.run([world.python, "-c", SAVE_BLOCK], env=world.variables, capture_output=True, check=True)


def test_a_healthy_rollout_is_promoted_at_whichever_task_the_server_dies(
    world: World, pool: ThreadPoolExecutor
) -> None:
    rollouts = [world.make_rollout() for _ in MOMENTS]

    ended = list(pool.map(lambda pair: roll_out_without(world, *pair), zip(rollouts, MOMENTS, strict=True)))

    for moment, one in zip(MOMENTS, ended, strict=True):
        assert one.exit_code == 0, f"{moment}: {one.log}"
        assert world.rest.score(one.rollout.name, {"data": [[1.0]]}).json()["answer"] == 42


@pytest.mark.parametrize("moment", ["Next: move traffic", "Next: smoke-test live traffic"])
def test_traffic_goes_back_to_stable_if_the_server_died_and_the_live_test_fails(world: World, moment: str) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    (stable,) = world.rest.online_deployments(rollout.name)
    rollout.online_deployment["environment_variables"] = {"A": "1"}
    # The pinned test has two requests; those by traffic come after them.
    world.rest.fault(path=f"/{rollout.name}/score$", status=403, after=2, count=None)

    ended = roll_out_without(world, rollout, moment)
    world.rest.clear_faults()

    assert ended.exit_code == 3, ended.log
    serving = {name: weight for name, weight in (world.rest.traffic(rollout.name) or {}).items() if weight}
    assert serving == {stable: 100}
