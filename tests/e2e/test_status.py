"""`rollway status` as a person and a script see it: what a rollout made, and what others left."""

import json
import time
import uuid

import pytest

from rollway.local.stack import Stack
from tests.support.rest import Rest
from tests.support.world import World


@pytest.fixture(scope="module")
def promoted(stack: Stack, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """An endpoint that only its one rollout has touched: its name."""
    world = World(stack, variables, Rest(variables), tmp_path_factory.mktemp("promoted"))
    rollout = world.make_rollout()
    done = world.deploy(rollout)
    assert done.returncode == 0, done.stderr
    return rollout.name


@pytest.fixture
def foreign(world: World, promoted: str) -> str:
    """An endpoint that somebody else made, with an online deployment that failed: its name."""
    name = f"foreign-{uuid.uuid4().hex[:8]}"
    source = f"onlineEndpoints/{promoted}/deployments/{world.rest.online_deployments(promoted)[0]}"
    body = world.rest.workspace(source).json()
    body["properties"] = {
        key: body["properties"][key]
        for key in ("endpointComputeType", "instanceType", "codeConfiguration", "environmentId", "model")
    }
    endpoint = {"location": body["location"], "properties": {"authMode": "Key"}}
    failing = {key: body[key] for key in ("location", "kind", "sku", "properties")}
    put(world, f"onlineEndpoints/{name}", endpoint)
    world.rest.fault(
        method="PUT", path="/deployments/blue$", operation="failed", code="OutOfQuota", message="No cores."
    )
    put(world, f"onlineEndpoints/{name}/deployments/blue", failing)
    return name


def put(world: World, path: str, body: object) -> None:
    """Creates something and waits until that has ended."""
    world.rest.workspace(path, method="PUT", body=body).raise_for_status()
    deadline = time.monotonic() + 300
    while world.rest.workspace(path).json()["properties"]["provisioningState"] not in ("Succeeded", "Failed"):
        assert time.monotonic() < deadline, f"{path} does not settle"
        time.sleep(0.1)


def test_status_tells_what_is_live_how_new_and_whose_and_what_needs_a_person(
    world: World, promoted: str, foreign: str
) -> None:
    newer = world.tmp_path / "newer.txt"
    newer.write_text(f"a newer model for {promoted}")
    newest = world.register_model(promoted, newer)
    before = world.rest.last_request()

    healthy = world.rollway("status", promoted, "--json")
    everything = world.rollway("status", "--json")
    plain = world.rollway("status", promoted, foreign)

    assert healthy.returncode == 0, healthy.stderr
    (ours,) = json.loads(healthy.stdout)["endpoints"]
    (served,) = ours["online_deployments"]
    assert (served["role"], served["weight"], served["cost"]) == ("live", 100, "small")
    assert (served["model"], served["newest"]) == (f"{promoted}:1", newest)
    assert (ours["is_ours"], ours["problems"]) == (True, [])
    assert ours["last_rollout"]["outcome"] == "promoted"
    assert ours["live_since"].startswith("20")
    assert everything.returncode == 4, "a person must look at the online deployment that failed"
    by_name = {one["name"]: one for one in json.loads(everything.stdout)["endpoints"]}
    assert {promoted, foreign} <= by_name.keys()
    assert not by_name[foreign]["is_ours"]
    assert by_name[foreign]["problems"] == ["blue is Failed"]
    assert plain.returncode == 4
    assert f"{promoted}:1 (newest is {newest})" in plain.stdout
    assert f"{foreign} (not Rollway's)  nothing" in plain.stdout
    assert "blue (small cost: 1 x Standard_DS3_v2, Failed)" in plain.stdout
    assert plain.stdout.endswith("  blue is Failed\n")
    assert world.rest.writes(to=world.variables["AZUREML_WORKSPACE"], after=before) == []


@pytest.mark.starts_python
def test_an_unknown_endpoint_is_an_error_that_names_the_ones_there_are(world: World, promoted: str) -> None:
    done = world.rollway("status", promoted + "x")

    assert done.returncode == 2
    assert f"error: there is no endpoint '{promoted}x'\n" in done.stderr
    assert f"did you mean '{promoted}'?" in done.stderr
