"""The graph of a run in the Prefect UI: an arrow from each task to the next one."""

from collections import defaultdict
from typing import Any

from tests.support.prefect_api import PrefectApi
from tests.support.world import World


def arrows(prefect: PrefectApi, run_id: str) -> dict[str, set[str]]:
    """The names of the task runs that lead to each task run."""
    prefect.wait_until_recorded(run_id, "report")
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


def test_arrows_lead_from_each_task_to_the_next_and_nowhere_else(world: World) -> None:
    rollout = world.make_rollout()
    assert world.deploy(rollout).returncode == 0
    rollout.online_deployment["environment_variables"] = {"A": "1"}
    prefect, folder = PrefectApi(world.stack), rollout.write()

    deployed = world.deploy(rollout)
    of_rollout = arrows(prefect, last_run(prefect, folder))
    back = world.rollway("rollback", folder)
    of_rollback = arrows(prefect, last_run(prefect, folder))

    assert (deployed.returncode, back.returncode) == (0, 0), deployed.stderr + back.stderr
    begin, both = [f"read {folder}", "connect to Azure ML"], ["register environment", "resolve model"]
    told = ["abort what is running", "choose what to go back to"]
    before = [[one] for one in (*begin, *told)]
    assert in_order(of_rollout)[:4] == [*before[:2], both, ["plan"]]
    assert in_order(of_rollback)[:6] == [*before, both, ["plan"]]
    for found in (of_rollout, of_rollback):
        assert found[f"smoke test {rollout.name} (by traffic)"] == {in_order(found)[-4][0]}
        assert [names[0].partition(" ")[0] for names in in_order(found)[-4:]] == ["move", "smoke", "promote", "report"]


def in_order(found: dict[str, set[str]]) -> list[list[str]]:
    """Return the task runs in the order of their arrows; those side by side come after the same ones."""
    order: list[list[str]] = []
    while following := sorted(name for name, sources in found.items() if sources == set(order[-1] if order else [])):
        order.append(following)
    assert sorted(name for names in order for name in names) == sorted(found)
    return order
