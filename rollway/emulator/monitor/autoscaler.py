"""Autoscaler: scales online deployments by autoscale settings, as Azure Monitor does.

It scales out if any rule asks for it, and in only if all scale-in rules do. It respects minimum, maximum and cooldown.
If no metric can be read, it scales out to the default. Like Azure, it changes the capacity with a PATCH through Azure
Resource Manager.
"""

import asyncio
import json
import logging
import operator
from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.types import Message

from rollway.emulator.arm.endpoints import DEPLOYMENT_TYPE, parent_endpoint_id
from rollway.emulator.arm.headers import common_headers
from rollway.emulator.arm.resource_manager import ResourceManager
from rollway.emulator.core.durations import parse_duration
from rollway.emulator.core.errors import ArmError, Document
from rollway.emulator.core.roles import is_allowed
from rollway.emulator.core.store import Resource
from rollway.emulator.monitor.autoscale import SETTING_TYPE
from rollway.emulator.monitor.metrics import AGGREGATIONS as METRIC_AGGREGATIONS
from rollway.emulator.monitor.metrics import DEPLOYMENT_KIND, ENDPOINT_KIND, METRICS, Filter, build_series
from rollway.emulator.monitor.metrics_api import lag_seconds
from rollway.emulator.state import Emulator

log = logging.getLogger("rollway.emulator.monitor.autoscaler")

INTERVAL_SECONDS = 5.0
API_VERSION = "2023-04-01-preview"
SCALE = f"{DEPLOYMENT_TYPE}/write"
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "equals": operator.eq,
    "notequals": operator.ne,
    "greaterthan": operator.gt,
    "greaterthanorequal": operator.ge,
    "lessthan": operator.lt,
    "lessthanorequal": operator.le,
}
AGGREGATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    **METRIC_AGGREGATIONS,
    "last": lambda values: values[-1],
}


class Autoscaler:
    """Task that applies the enabled autoscale settings whose target is an online deployment."""

    def __init__(self, emulator: Emulator, arm: ResourceManager) -> None:
        self._emulator, self._arm = emulator, arm
        self._scaled_at: dict[str, float] = {}  # by id of the setting, on the emulator's clock
        self._failed: set[str] = set()  # ids of settings that failed the last time

    async def watch(self) -> None:
        """Apply all settings forever, every `INTERVAL_SECONDS`."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            await self._apply_settings()

    async def _apply_settings(self) -> None:
        """Apply the enabled settings. One that fails does not stop the others, and is logged once."""
        for setting in self._emulator.store.find(SETTING_TYPE):
            if not setting.properties["enabled"]:
                continue
            try:
                await self._apply_setting(setting)
                self._failed.discard(setting.id)
            except Exception:
                if setting.id not in self._failed:
                    log.exception("autoscale %s cannot be applied", setting.name)
                self._failed.add(setting.id)

    async def _apply_setting(self, setting: Resource) -> None:
        """Scale the target of a setting if its rules ask for it, and no operation runs on the endpoint."""
        emulator = self._emulator
        target = emulator.store.get(str(setting.properties["targetResourceUri"]))
        if target is None or target.type != DEPLOYMENT_TYPE or target.state != "Succeeded":
            return
        if emulator.operations.running_on(parent_endpoint_id(target.id)) is not None:
            return
        now, profile = emulator.clock.now(), _current_profile(setting)
        capacity = int(target.document["sku"]["capacity"])
        waited = now - self._scaled_at.get(setting.id, 0.0)
        wanted = choose_capacity(profile, capacity, waited, lambda rule: read_metric(emulator, rule["metricTrigger"]))
        if wanted == capacity:
            return
        log.info("autoscale %s: %s from %d to %d instances", setting.name, target.id, capacity, wanted)
        try:
            await self._patch(target, wanted)
        except ArmError as exc:
            log.warning("autoscale %s cannot scale: %s", setting.name, exc)
            return
        self._scaled_at[setting.id] = now

    async def _patch(self, target: Resource, capacity: int) -> None:
        """Change the capacity. Raises ArmError; the next interval tries again."""
        emulator = self._emulator
        principal = next((one for one in emulator.seed.principals if is_allowed(one.role, SCALE)), None)
        if principal is None:
            return
        token = emulator.identity.issue_token(emulator.identity.arm_audiences[0], principal.client_id)
        scope = {
            "type": "http",
            "method": "PATCH",
            "path": target.id,
            "raw_path": target.id.encode(),
            "query_string": f"api-version={API_VERSION}".encode(),
            "headers": [(b"authorization", f"Bearer {token}".encode())],
            "scheme": "https",
            "server": ("localhost", 443),
        }
        body = json.dumps({"sku": {"capacity": capacity}}).encode()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._arm.call(Request(scope, receive), common_headers())


def _current_profile(setting: Resource) -> Document:
    """Return the default profile, which has no date or recurrence. Other profiles are not emulated."""
    profiles: list[Document] = setting.properties["profiles"]
    return next((one for one in profiles if not one.get("fixedDate") and not one.get("recurrence")), profiles[0])


def choose_capacity(
    profile: Document, capacity: int, waited_seconds: float, read: Callable[[Document], float | None]
) -> int:
    """Return the number of instances that a profile asks for.

    Args:
        capacity: Current number of instances.
        waited_seconds: Time since the last scaling.
        read: Returns the metric of a rule, or None without data.
    """
    least, default, most = (int(profile["capacity"][name]) for name in ("minimum", "default", "maximum"))
    if not least <= capacity <= most:
        return min(max(capacity, least), most)
    rules: list[Document] = profile["rules"]
    values = [read(rule) for rule in rules]
    if rules and all(value is None for value in values):
        return max(capacity, default)
    wanted: dict[str, list[int]] = {"increase": [], "decrease": []}
    for rule, value in zip(rules, values, strict=True):
        trigger, action = rule["metricTrigger"], rule["scaleAction"]
        direction = str(action["direction"]).lower()
        if direction not in wanted:
            continue
        fires = value is not None and COMPARISONS[str(trigger["operator"]).lower()](value, float(trigger["threshold"]))
        is_due = waited_seconds >= (parse_duration(action["cooldown"]) or 0)
        wanted[direction].append(_changed_capacity(capacity, direction, action) if fires and is_due else capacity)
    out = max(wanted["increase"], default=capacity)
    if out > capacity:
        return min(out, most)
    return max(max(wanted["decrease"], default=capacity), least)


def _changed_capacity(capacity: int, direction: str, action: Document) -> int:
    """Return the number of instances after a scale action."""
    value, kind = int(action.get("value") or 1), str(action["type"]).lower()
    if kind == "exactcount":
        return value
    change = max(1, round(capacity * value / 100)) if kind == "percentchangecount" else value
    return capacity + change if direction == "increase" else capacity - change


def read_metric(emulator: Emulator, trigger: dict[str, Any]) -> float | None:
    """Return the metric of a rule over its time window, or None without data or if the metric is not emulated."""
    resource = emulator.store.get(str(trigger["metricResourceUri"]))
    if resource is None:
        return None
    is_deployment = resource.type == DEPLOYMENT_TYPE
    endpoint = emulator.store.get(parent_endpoint_id(resource.id))
    kind = DEPLOYMENT_KIND if is_deployment else ENDPOINT_KIND
    metric = next((one for one in METRICS[kind] if one.name.lower() == str(trigger["metricName"]).lower()), None)
    if metric is None or endpoint is None:
        return None
    end = emulator.clock.now() - lag_seconds(emulator)
    window = parse_duration(trigger["timeWindow"]) or 60.0
    minutes = [
        one
        for one in emulator.samples.between(endpoint, int((end - window) // 60), int(end // 60))
        if not is_deployment or one[1].lower() == resource.name.lower()
    ]
    points = build_series(metric, minutes, Filter()).get((), {})
    values = [points[number] for number in sorted(points)]
    return AGGREGATIONS[str(trigger["timeAggregation"]).lower()](values) if values else None
