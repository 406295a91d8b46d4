"""The main job, as a user sees it."""

import json
import signal

import pytest

from tests.support.rest import Client
from tests.support.world import COMMAND_SECONDS, FIXTURES, Rollout, World

SLOW_START = """
import time
from pathlib import Path

def init():
    while not Path({may_start!r}).exists():
        time.sleep(0.1)

def run(data):
    return {{}}
"""


@pytest.mark.starts_python
def test_second_version_takes_over_without_a_failed_request(world: World) -> None:
    rollout = world.make_rollout()
    model = world.tmp_path / "model.txt"
    for version in ("1", "2"):
        model.write_text(f"version {version} of {rollout.name}")
        assert world.register_model(rollout.name, model) == version
    rollout.online_deployment["model"] = f"azureml:{rollout.name}@latest"
    first = world.deploy(rollout, "--model-version", "1")
    assert first.returncode == 0, first.stderr
    client = Client(world.rest, rollout.name)
    client.start()

    second = world.deploy(rollout)
    client.stop_after("2")

    assert second.returncode == 0, second.stderr
    assert set(client.statuses) == {200}, [status for status in client.statuses if status != 200][:5]
    assert list(dict.fromkeys(client.versions)) == ["1", "2"], "the answers change once, from version 1 to version 2"
    assert len(world.rest.online_deployments(rollout.name)) == 2, "what was replaced stays for a while"


def test_unchanged_rollout_is_a_no_op_that_writes_nothing(world: World, live: tuple[str, Rollout]) -> None:
    name, rollout = live
    before = world.rest.last_request()
    traffic = world.rest.traffic(name)

    again = world.deploy(rollout, "--json")

    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["outcome"] == "nothing to do"
    assert world.rest.writes(to=world.variables["AZUREML_WORKSPACE"], after=before) == []
    assert world.rest.traffic(name) == traffic


def test_plan_and_dry_run_write_nothing_and_say_what_would_be_done(world: World) -> None:
    rollout = world.make_rollout()
    folder = rollout.write()
    before = world.rest.last_request()

    plan = world.rollway("plan", folder)
    dry_run = world.deploy(rollout, "--dry-run")

    assert (plan.returncode, dry_run.returncode) == (0, 0), plan.stderr + dry_run.stderr
    for output in (plan.stdout, dry_run.stdout):
        assert "plan: create endpoint, create online deployment, wait until ready, smoke-test, move traffic, " in output
        assert f"create endpoint {rollout.name}: there is no endpoint of that name" in output
        assert "online deployment: none serves traffic -> (known after registration)" in output
    assert world.rest.writes(to=world.variables["AZUREML_WORKSPACE"], after=before) == []
    assert rollout.name not in world.rest.endpoints()


@pytest.mark.starts_python
def test_plan_names_each_field_that_differs(world: World, live: tuple[str, Rollout]) -> None:
    name, rollout = live
    changed = world.make_rollout(environment_variables={"GREETING": "hello"})
    changed.endpoint = rollout.endpoint
    changed.online_deployment |= {"endpoint_name": name, "model": rollout.online_deployment["model"]}

    plan = world.rollway("plan", changed.write())

    assert plan.returncode == 0, plan.stderr
    assert "environment_variables.GREETING: (not set) -> (hidden)" in plan.stdout
    assert "  model:" not in plan.stdout, "the model is the same, so it is no reason"


def test_more_instances_is_a_change_in_place(world: World) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    before = world.rest.online_deployments(rollout.name)
    rollout.online_deployment |= {"instance_count": 2, "tags": {"team": "risk"}}

    done = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    assert "updated in place" in done.stdout
    assert world.rest.online_deployments(rollout.name) == before
    today = world.rest.workspace(f"onlineEndpoints/{rollout.name}/deployments/{before[0]}").json()
    assert (today["sku"]["capacity"], today["tags"]["team"]) == (2, "risk")


def test_a_custom_container_is_rolled_out_scaled_and_left_alone(world: World) -> None:
    routes = {
        f"{kind}_route": {"port": 8501, "path": path}
        for kind, path in (("liveness", "/live"), ("readiness", "/ready"), ("scoring", "/predict"))
    }
    context = {"path": str(FIXTURES / "own_server"), "dockerfile_path": "Dockerfile"}
    environment = {"name": "own-server", "build": context, "inference_config": routes}
    rollout = world.make_rollout(environment=environment, model_mount_path="/mnt/models")
    del rollout.online_deployment["code_configuration"]
    rollout.rollout["smoke_test"]["expect"]["body"] = {"properties": {"model": {"const": ["model.txt"]}}}

    validated = world.rollway("validate", rollout.write())
    first = world.deploy(rollout)
    again = world.deploy(rollout, "--json")
    rollout.online_deployment["instance_count"] = 2
    scaled = world.deploy(rollout)

    assert validated.returncode == 0, validated.stderr
    assert first.returncode == 0, first.stderr
    assert json.loads(again.stdout)["outcome"] == "nothing to do"
    assert "updated in place" in scaled.stdout
    name = world.rest.online_deployments(rollout.name)[0]
    today = world.rest.workspace(f"onlineEndpoints/{rollout.name}/deployments/{name}").json()
    assert (today["sku"]["capacity"], today["properties"]["modelMountPath"]) == (2, "/mnt/models")


def test_a_change_in_place_that_fails_says_why_and_the_next_rollout_makes_it(world: World) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    names = world.rest.online_deployments(rollout.name)
    rollout.online_deployment["instance_count"] = 2
    world.rest.fault(
        method="PUT", path=f"/{rollout.name}/deployments/", operation="failed", code="OutOfQuota", message="No cores."
    )

    failed = world.deploy(rollout)
    traffic = world.rest.traffic(rollout.name)
    again = world.deploy(rollout)

    assert failed.returncode == 3, failed.stderr
    assert f"the online deployment {names[0]!r} did not become ready" in failed.stderr
    assert "why: OutOfQuota: No cores." in failed.stderr
    assert (traffic, again.returncode) == ({names[0]: 100}, 0), again.stderr
    today = world.rest.workspace(f"onlineEndpoints/{rollout.name}/deployments/{names[0]}").json()
    assert (today["sku"]["capacity"], world.rest.online_deployments(rollout.name)) == (2, names)


def test_what_was_replaced_can_be_deleted_at_once(world: World) -> None:
    rollout = world.make_rollout()
    rollout.rollout["keep_replaced_seconds"] = 0
    assert world.deploy(rollout).returncode == 0
    rollout.online_deployment["environment_variables"] = {"A": "1"}

    done = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    names = world.rest.online_deployments(rollout.name)
    traffic = world.rest.traffic(rollout.name)
    assert traffic == dict.fromkeys(names, 100)
    assert len(names) == 1


@pytest.mark.starts_python
def test_what_an_interrupted_rollout_left_is_taken_up_by_the_next(world: World) -> None:
    code, may_start = world.tmp_path / "slow_start", world.tmp_path / "may_start"
    code.mkdir()
    (code / "score.py").write_text(SLOW_START.format(may_start=str(may_start)))
    rollout = world.make_rollout(code_configuration={"code": str(code), "scoring_script": "score.py"})
    process = world.start("deploy", rollout.write())
    assert process.stderr is not None
    next(line for line in process.stderr if ": Creating" in line)

    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=COMMAND_SECONDS)
    left = world.rest.online_deployments(rollout.name)
    may_start.touch()
    again = world.deploy(rollout)

    assert process.returncode == 130, rest
    assert "interrupted" in rest
    assert "stays without traffic (Creating), to continue with" in rest
    assert again.returncode == 0, again.stderr
    assert world.rest.online_deployments(rollout.name) == left, "it was adopted"
    assert len([one for one in world.rest.writes(to=f"/{rollout.name}/deployments/") if one.startswith("PUT")]) == 1
