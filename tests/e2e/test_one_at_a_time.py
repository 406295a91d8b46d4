"""Several who want to write to one endpoint: they take turns, and nobody overwrites what somebody else did."""

from collections.abc import Iterator

import pytest

from tests.support.prefect_api import PrefectApi
from tests.support.world import COMMAND_SECONDS, HELD_SECONDS, Rollout, World


@pytest.fixture
def api(world: World) -> Iterator[PrefectApi]:
    """Prefect's API, with two workers of one pool."""
    workers = [world.stack.start_worker(), world.stack.add_worker()]
    yield PrefectApi(world.stack)
    for worker in workers:
        worker.stop()
    world.rest.clear_faults()


def test_two_runs_from_two_workers_take_turns(world: World, api: PrefectApi) -> None:
    first = world.make_rollout(environment_variables={"RUN": "first"})
    second = world.make_rollout(environment_variables={"RUN": "second"})
    second.endpoint = first.endpoint
    second.online_deployment |= {"endpoint_name": first.name, "model": first.online_deployment["model"]}

    runs = [api.run("deploy-endpoint/diabetes", rollout=one.write()) for one in (first, second)]
    states = [api.wait(run)["name"] for run in runs]

    assert states == ["Completed", "Completed"], [api.logs(run) for run in runs]
    spans = sorted(api.span(run, "plan", "promote ") for run in runs)
    assert spans[0][1] <= spans[1][0], "the second plans when the first has promoted"
    assert len(world.rest.online_deployments(first.name)) == 2, "what was replaced stays for a while"
    assert world.rest.score(first.name, {"data": [[1.0]]}).json()["answer"] == 42


def test_a_foreign_change_of_traffic_is_reported_and_not_overwritten(world: World) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    stable = world.rest.online_deployments(rollout.name)[0]
    rollout.online_deployment["environment_variables"] = {"A": "1"}
    # Until the faults are cleared; the smoke test waits longer for each of its two answers.
    world.rest.fault(path=f"/{rollout.name}/score$", delay_seconds=HELD_SECONDS, count=None)
    held = world.start("deploy", rollout.write())
    candidate = world.wait_for(lambda: candidate_of(world, rollout, stable), "candidate")
    world.wait_for(lambda: world.rest.is_ready(rollout.name, candidate), "candidate that is ready")
    foreign = {stable: 90, candidate: 10}
    world.rest.set_traffic(rollout.name, foreign)
    world.rest.clear_faults()

    _, said = held.communicate(timeout=COMMAND_SECONDS)

    assert held.returncode == 3, said
    assert f"somebody else changed {rollout.name!r} during the rollout" in said
    assert "; Rollway did not write that" in said
    assert {name: weight for name, weight in (world.rest.traffic(rollout.name) or {}).items() if weight} == foreign


def test_a_lease_of_somebody_who_gives_no_sign_of_life_ends(world: World) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    world.rest.set_tags(rollout.name, {"rollway:lease": "somebody/1 2 2026-01-01T00:00:00+00:00"})
    rollout.online_deployment["environment_variables"] = {"A": "1"}

    done = world.deploy(rollout)

    assert done.returncode == 0, done.stderr
    assert "another rollout holds it: somebody/1" in done.stderr
    assert len(world.rest.online_deployments(rollout.name)) == 2


def candidate_of(world: World, rollout: Rollout, stable: str) -> str | None:
    return next((name for name in world.rest.online_deployments(rollout.name) if name != stable), None)


def test_a_rollback_comes_first_and_the_rollout_that_is_running_makes_room(world: World) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    (first,) = world.rest.online_deployments(rollout.name)
    rollout.online_deployment["environment_variables"] = {"A": "1"}
    assert world.deploy(rollout).returncode == 0
    rollout.online_deployment["environment_variables"] = {"A": "2"}
    # Without the abort it would provision for ever.
    world.rest.fault(method="PUT", path=f"/onlineEndpoints/{rollout.name}/deployments/", operation="stuck")
    running = world.start("deploy", rollout.write())
    world.wait_for(lambda: len(world.rest.online_deployments(rollout.name)) == 3, "third online deployment")

    back = world.start("rollback", rollout.write())
    _, aborted = running.communicate(timeout=COMMAND_SECONDS)
    world.rest.clear_faults()  # Azure runs one operation at a time
    report, log = back.communicate(timeout=COMMAND_SECONDS)

    assert running.returncode == 3, aborted
    assert "the rollout was told to abort" in aborted
    assert "a rollback comes first" in aborted
    assert back.returncode == 0, log
    assert ": rolled back" in report
    serving = {name: weight for name, weight in (world.rest.traffic(rollout.name) or {}).items() if weight}
    assert serving == {first: 100}
