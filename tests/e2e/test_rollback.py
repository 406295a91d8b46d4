"""Going back, as a user sees it."""

import pytest

from tests.support.rest import Client
from tests.support.world import Rollout, World

EXPECT_VERSION_2 = {"type": "object", "properties": {"model_version": {"const": "2"}}}


def test_a_rollback_goes_to_what_is_there_or_rolls_it_out_anew_and_stays_there(world: World) -> None:
    rollout = world.make_rollout()
    name, model = rollout.name, world.tmp_path / "model.txt"
    for version in ("1", "2"):
        model.write_text(f"version {version} of {name}")
        assert world.register_model(name, model) == version
    rollout.online_deployment["model"] = f"azureml:{name}@latest"
    assert world.deploy(rollout, "--model-version", "1").returncode == 0
    (first,) = world.rest.online_deployments(name)
    assert world.deploy(rollout, "--model-version", "2").returncode == 0
    (second,) = set(world.rest.online_deployments(name)) - {first}

    # What served before fails its smoke test: traffic stays, and nothing is deleted.
    rollout.rollout["smoke_test"]["expect"]["body"] = EXPECT_VERSION_2
    refused = world.rollway("rollback", rollout.write())
    assert refused.returncode == 3, refused.stderr
    assert serving(world, name) == {second: 100}
    assert set(world.rest.online_deployments(name)) == {first, second}
    assert "rollway:paused" not in tags_with_values(world, name)
    assert tags_with_values(world, name)["rollway:last"].startswith("aborted ")

    # It passes: all traffic goes there without a failed request, and the watcher is stopped.
    del rollout.rollout["smoke_test"]["expect"]["body"]
    client = Client(world.rest, name)
    client.start()
    back = world.rollway("rollback", rollout.write())
    client.stop_after("1")
    assert back.returncode == 0, back.stderr
    assert back.stdout.splitlines()[0].endswith(": rolled back")
    assert set(client.statuses) == {200}
    assert list(dict.fromkeys(client.versions)) == ["2", "1"], "the answers change once, from version 2 to version 1"
    assert serving(world, name) == {first: 100}
    tags = tags_with_values(world, name)
    assert tags["rollway:paused"].startswith(f"rolled back to {first} ({name}:1)")
    assert tags["rollway:previous"] == f"{second}={name}:2"
    assert tags["rollway:lease"] == "free"

    # The previous online deployment is gone: its model version is rolled out again.
    world.rest.workspace(f"onlineEndpoints/{name}/deployments/{second}", method="DELETE").raise_for_status()
    anew = world.rollway("rollback", rollout.write())
    assert anew.returncode == 0, anew.stderr
    assert world.rest.score(name, {"data": [[1.0]]}).json()["model_version"] == "2"
    assert tags_with_values(world, name)["rollway:paused"].startswith(f"rolled back to model {name}:2")


@pytest.mark.starts_python
def test_where_nothing_was_replaced_there_is_nothing_to_go_back_to(world: World, live: tuple[str, Rollout]) -> None:
    rollout = live[1]
    before = world.rest.last_request()

    done = world.rollway("rollback", rollout.write())

    assert done.returncode == 2
    assert "error: there is nothing to go back to" in done.stderr
    assert world.rest.writes(to=world.variables["AZUREML_WORKSPACE"], after=before) == []


def serving(world: World, endpoint: str) -> dict[str, int]:
    """The traffic map, without entries of weight 0."""
    return {name: weight for name, weight in (world.rest.traffic(endpoint) or {}).items() if weight}


def tags_with_values(world: World, endpoint: str) -> dict[str, str]:
    """The endpoint's tags, without empty ones."""
    tags = world.rest.workspace(f"onlineEndpoints/{endpoint}").json()["tags"]
    return {name: value for name, value in tags.items() if value}
