"""Autoscale settings at work, set through azure-mgmt-monitor."""

import asyncio
import time
from pathlib import Path
from typing import Any, cast

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Environment, Model
from starlette.requests import Request
from starlette.responses import Response

from rollway.emulator.arm.endpoints import DEPLOYMENT_TYPE
from rollway.emulator.arm.resource_manager import ResourceManager
from rollway.emulator.core.clock import Profile
from rollway.emulator.core.seed import Seed
from rollway.emulator.core.store import Resource, Store
from rollway.emulator.monitor import autoscaler
from rollway.emulator.monitor.autoscale import SETTING_TYPE
from rollway.emulator.monitor.autoscaler import Autoscaler, choose_capacity
from rollway.emulator.state import create_emulator
from tests.contract.conftest import Arm, create_endpoint, describe, serving, set_traffic
from tests.support.emulator_process import EmulatorProcess
from tests.support.other_clients import OtherClient
from tests.support.waiting import wait_for

DEADLINE_SECONDS = 180


def rule(direction: str, operator: str, threshold: float, resource: str = "", **action: str) -> dict[str, Any]:
    """A rule on the requests per minute."""
    trigger = {
        "metricName": "RequestsPerMinute",
        "metricResourceUri": resource,
        "timeGrain": "PT1M",
        "statistic": "Average",
        "timeWindow": "PT5M",
        "timeAggregation": "Maximum",
        "operator": operator,
        "threshold": threshold,
    }
    given = {"direction": direction, "type": "ChangeCount", "value": "1", "cooldown": "PT1M", **action}
    return {"metricTrigger": trigger, "scaleAction": given}


def setting(target: str, minimum: int, maximum: int, *rules: dict[str, Any]) -> dict[str, Any]:
    capacity = {"minimum": str(minimum), "maximum": str(maximum), "default": str(minimum)}
    profile = {"name": "default", "capacity": capacity, "rules": list(rules)}
    return {
        "location": "westeurope",
        "properties": {"enabled": True, "targetResourceUri": target, "profiles": [profile]},
    }


def wait_for_capacity(client: MLClient, endpoint: str, wanted: int) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        found = client.online_deployments.get("blue", endpoint)
        if (found.instance_count, found.provisioning_state) == (wanted, "Succeeded"):
            return
        assert time.monotonic() < deadline, (found.instance_count, found.provisioning_state)
        time.sleep(0.2)


def test_an_online_deployment_scales_out_under_load_and_in_without(
    client: MLClient,
    model: Model,
    environment: Environment,
    emulator: EmulatorProcess,
    monitor: OtherClient,
    arm: Arm,
    name: str,
) -> None:
    create_endpoint(client, name)
    client.online_deployments.begin_create_or_update(describe(name, model, environment)).result()
    set_traffic(client, name, blue=100)
    served = serving(client, emulator, name)
    target = f"{arm.root}/onlineEndpoints/{name}/deployments/blue"
    measured = client.online_endpoints.get(name).properties["azureml.onlineendpointid"]  # in lower case

    for _ in range(10):
        assert served.score({}).status_code == 200
    scale_out = setting(target, 1, 2, rule("Increase", "GreaterThan", 4, measured))
    monitor("autoscale_settings.create_or_update", "rollway", f"{name}-out", scale_out)
    wait_for_capacity(client, name, 2)
    monitor("autoscale_settings.delete", "rollway", f"{name}-out")
    scale_in = setting(target, 1, 2, rule("Decrease", "LessThan", 1000, target))
    monitor("autoscale_settings.create_or_update", "rollway", f"{name}-in", scale_in)
    wait_for_capacity(client, name, 1)

    assert client.online_endpoints.get(name).traffic == {"blue": 100}
    assert served.score({}).status_code == 200


def test_a_setting_outlives_its_target_and_scales_the_next_online_deployment_of_that_name(
    client: MLClient,
    model: Model,
    environment: Environment,
    emulator: EmulatorProcess,
    monitor: OtherClient,
    arm: Arm,
    name: str,
) -> None:
    create_endpoint(client, name)
    wanted = describe(name, model, environment)
    client.online_deployments.begin_create_or_update(wanted).result()
    target = f"{arm.root}/onlineEndpoints/{name}/deployments/blue".upper()
    monitor("autoscale_settings.create_or_update", "rollway", name, setting(target, 2, 3))
    wait_for_capacity(client, name, 2)

    client.online_deployments.begin_delete("blue", name).result()
    kept = monitor("autoscale_settings.get", "rollway", name)["properties"]["targetResourceUri"]
    emulator.fail(method="PATCH", path=f"{name}/deployments/blue$", operation="stuck")
    client.online_deployments.begin_create_or_update(wanted).result()
    wait_for(
        lambda: client.online_deployments.get("blue", name).provisioning_state == "Scaling", "scaling", DEADLINE_SECONDS
    )
    during = client.online_deployments.get("blue", name).instance_count
    emulator.delete_faults()
    wait_for_capacity(client, name, 2)
    monitor("autoscale_settings.delete", "rollway", name)

    assert (kept, during) == (target, 1)


OUT, IN = rule("Increase", "GreaterThan", 70), rule("Decrease", "LessThan", 30)
ALSO_IN = rule("Decrease", "LessThan", 90)


@pytest.mark.parametrize(
    ("rules", "values", "waited_seconds", "expected"),
    [
        ([OUT, IN], [71, 71], 60, 4),
        ([OUT, IN], [71, 71], 59, 3),
        ([OUT, IN], [50, 50], 60, 3),
        ([OUT, IN], [20, 20], 60, 2),
        ([IN, ALSO_IN], [50, 50], 60, 3),
        ([OUT, IN], [None, None], 60, 4),
        ([rule("Increase", "GreaterThan", 70, value="9")], [80], 60, 6),
        ([rule("Decrease", "LessThan", 30, value="9")], [20], 60, 2),
        ([rule("Increase", "GreaterThan", 70, type="PercentChangeCount", value="50")], [80], 60, 5),
        ([rule("Increase", "GreaterThan", 70, type="ExactCount", value="6")], [80], 60, 6),
        ([OUT, rule("Increase", "GreaterThan", 10, value="2")], [80, 80], 60, 5),
    ],
)
def test_rules_decide_together(
    rules: list[dict[str, Any]], values: list[float | None], waited_seconds: float, expected: int
) -> None:
    profile = {"capacity": {"minimum": "2", "default": "4", "maximum": "6"}, "rules": rules}
    left = iter(values)

    assert choose_capacity(profile, 3, waited_seconds, lambda _: next(left)) == expected


@pytest.mark.parametrize(("capacity", "expected"), [(1, 2), (9, 6), (5, 5)])
def test_minimum_and_maximum_hold_without_rules(capacity: int, expected: int) -> None:
    profile = {"capacity": {"minimum": "2", "default": "4", "maximum": "6"}, "rules": []}

    assert choose_capacity(profile, capacity, 0, lambda _: None) == expected


class RecordingArm:
    """Takes the autoscaler's requests, and says when there is one."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.has_request = asyncio.Event()

    async def call(self, request: Request, _: dict[str, str]) -> Response:
        self.paths.append(request.url.path)
        self.has_request.set()
        return Response()


def test_a_setting_that_cannot_be_applied_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(autoscaler, "INTERVAL_SECONDS", 0)
    monkeypatch.setattr(autoscaler, "read_metric", lambda *_: 50.0)
    store = Store(tmp_path / "state.db")
    emulator = create_emulator(
        tmp_path, store, Seed(), url="https://localhost", profile=Profile.parse("instant"), images=None
    )
    # An earlier version accepted such a number.
    huge = rule("Increase", "GreaterThan", -1, type="PercentChangeCount", value="9" * 400)
    for endpoint, minimum, rules in (("broken", 1, [huge]), ("good", 2, [])):
        target = f"/w/onlineEndpoints/{endpoint}/deployments/blue"
        document = {"id": target, "name": "blue", "sku": {"capacity": 1}, "properties": {}}
        store.put(Resource(DEPLOYMENT_TYPE, document))
        wanted = {**setting(target, minimum, 3, *rules), "id": f"/settings/{endpoint}", "name": endpoint}
        store.put(Resource(SETTING_TYPE, wanted))

    async def watch() -> RecordingArm:
        arm = RecordingArm()
        work = [Autoscaler(emulator, cast("ResourceManager", arm)).watch(), arm.has_request.wait()]
        tasks = [asyncio.ensure_future(one) for one in work]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return arm

    assert set(asyncio.run(watch()).paths) == {"/w/onlineEndpoints/good/deployments/blue"}
    assert [one.getMessage() for one in caplog.records if one.exc_info] == ["autoscale broken cannot be applied"]
    store.close()
