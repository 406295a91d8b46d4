"""The graph of a run in the Prefect UI: what was read leads to the plan, and the plan to each move."""

from collections import defaultdict
from typing import Any

from tests.support.prefect_api import PrefectApi
from tests.support.world import World


def arrows(prefect: PrefectApi, run_id: str) -> dict[str, set[str]]:
    """The names of the task runs that lead to each task run."""
    rows = prefect.post("/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}, "limit": 200})
    names = {row["id"]: row["name"] for row in rows}
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        sources: list[Any] = [one for inputs in row["task_inputs"].values() for one in inputs]
        found[row["name"]] |= {names[one["id"]] for one in sources if one["input_type"] == "task_run"}
    return dict(found)


def last_run(prefect: PrefectApi, folder: str) -> str:
    """The id of the last flow run of a rollout folder."""
    newest_first = prefect.post("/flow_runs/filter", {"sort": "START_TIME_DESC"})
    return str(next(one["id"] for one in newest_first if one["parameters"].get("rollout") == folder))


def test_arrows_lead_to_the_plan_and_from_it_to_each_move_and_nowhere_else(world: World) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    rollout.online_deployment["environment_variables"] = {"A": "1"}
    prefect, folder = PrefectApi(world.stack), rollout.write()

    deployed = world.deploy(rollout)
    of_rollout = arrows(prefect, last_run(prefect, folder))
    back = world.rollway("rollback", folder)
    of_rollback = arrows(prefect, last_run(prefect, folder))

    assert (deployed.returncode, back.returncode) == (0, 0), deployed.stderr + back.stderr
    read = {f"read {folder}", "connect to Azure ML"}
    choice = "choose what to go back to"
    expected = {name: set[str]() for name in read}
    expected |= dict.fromkeys(("resolve model", "register environment"), read)
    expected["plan"] = {*read, "resolve model", "register environment"}
    assert moves_of(of_rollout, expected) >= {"report", f"smoke test {rollout.name} (by traffic)"}
    expected |= {name: expected[name] | {choice} for name in ("resolve model", "register environment", "plan")}
    expected[choice] = read
    expected["abort what is running"] = read
    assert moves_of(of_rollback, expected) >= {"report", f"smoke test {rollout.name} (by traffic)"}


def moves_of(found: dict[str, set[str]], expected: dict[str, set[str]]) -> set[str]:
    """Return the other task runs than the expected ones; only the plan leads to them."""
    assert {name: found.get(name) for name in expected} == expected
    moves = found.keys() - expected.keys()
    assert {name: sorted(found[name]) for name in moves} == {name: ["plan"] for name in moves}
    return set(moves)
