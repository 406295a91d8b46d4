"""REST API of Azure Monitor's autoscale settings (autoscale REST reference, 2022-10-01).

`autoscaler` scales online deployments by these settings.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from rollway.emulator.arm.resource_manager import ArmRoute, Call, paginate
from rollway.emulator.arm.validation import check_field_types
from rollway.emulator.core import errors
from rollway.emulator.core.durations import parse_duration
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource

SETTING_TYPE = "Microsoft.Insights/autoscaleSettings"
IN_SUBSCRIPTION = "/subscriptions/{subscription}/providers/Microsoft.Insights/autoscalesettings"
IN_GROUP = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Insights/autoscalesettings"
SETTING_PATH = f"{IN_GROUP}/{{name}}"
MAX_PROFILES, MAX_RULES = 20, 10
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 7 * 86400  # of a cooldown
FIELD_TYPES: dict[str, type] = {
    "location": str,
    "tags": dict,
    "properties": dict,
    "properties.profiles": list,
    "properties.enabled": bool,
    "properties.targetResourceUri": str,
    "properties.notifications": list,
}
STATISTICS = ("Average", "Min", "Max", "Sum", "Count")
AGGREGATIONS = ("Average", "Minimum", "Maximum", "Total", "Count", "Last")
OPERATORS = ("Equals", "NotEquals", "GreaterThan", "GreaterThanOrEqual", "LessThan", "LessThanOrEqual")
DIRECTIONS = ("None", "Increase", "Decrease")
TYPES = ("ChangeCount", "PercentChangeCount", "ExactCount", "ServiceAllowedNextValue")


def put_setting(call: Call) -> Response:
    check_field_types(call.body, FIELD_TYPES)
    if not call.body.get("location"):
        raise errors.location_required()
    before = call.emulator.store.get(SETTING_PATH.format(**call.params))
    properties = {key: value for key, value in (call.body.get("properties") or {}).items() if value is not None}
    return _store(call, before, str(call.body["location"]), call.body.get("tags") or {}, properties)


def patch_setting(call: Call) -> Response:
    """PATCH: replace the given tags and properties, each as a whole."""
    before = _require_setting(call)
    check_field_types(call.body, FIELD_TYPES)
    given = {key: value for key, value in (call.body.get("properties") or {}).items() if value is not None}
    tags = before.document["tags"] if call.body.get("tags") is None else call.body["tags"]
    return _store(call, before, before.document["location"], tags, {**before.properties, **given})


def _store(call: Call, before: Resource | None, location: str, tags: Document, properties: Document) -> Response:
    name = call.params["name"] if before is None else before.name
    problems = list(_find_problems(properties))
    if problems:
        raise errors.invalid_autoscale_setting(problems)
    id_ = SETTING_PATH.format(**call.params) if before is None else before.id
    target = str(properties["targetResourceUri"])
    for other in call.emulator.store.find(SETTING_TYPE):
        if other.id.lower() != id_.lower() and other.properties["targetResourceUri"].lower() == target.lower():
            raise errors.target_has_autoscale_setting(target, other.name)
    document: Document = {
        "id": id_,
        "name": name,
        "type": SETTING_TYPE,
        "location": location,
        "tags": tags,
        "properties": {"name": name, "enabled": False, "notifications": [], **properties},
        "systemData": call.system_data(None if before is None else before.document),
    }
    call.emulator.store.put(Resource(SETTING_TYPE, document))
    return JSONResponse(document, 201 if before is None else 200)


def _require_setting(call: Call) -> Resource:
    """Return the setting in the path. Raises the 404."""
    found = call.emulator.store.get(SETTING_PATH.format(**call.params))
    if found is None:
        raise errors.autoscale_setting_not_found(call.params["group"], call.params["name"])
    return found


def get_setting(call: Call) -> Response:
    return JSONResponse(_require_setting(call).document)


def list_settings(call: Call) -> Response:
    found = call.emulator.store.find(SETTING_TYPE)
    if group := call.params.get("group"):
        found = [one for one in found if f"/resourcegroups/{group.lower()}/" in one.id.lower()]
    return paginate(call, [one.document for one in found])


def delete_setting(call: Call) -> Response:
    id_ = SETTING_PATH.format(**call.params)
    if call.emulator.store.get(id_) is None:
        return Response(status_code=204)
    call.emulator.store.delete(id_)
    return Response(status_code=200)


def _find_problems(properties: Document) -> Iterator[str]:
    if not properties.get("targetResourceUri"):
        yield "targetResourceUri is required."
    profiles = properties.get("profiles") or []
    if not 1 <= len(profiles) <= MAX_PROFILES:
        yield f"profiles: there must be 1 to {MAX_PROFILES}."
    for index, profile in enumerate(profiles):
        where = f"profiles[{index}]"
        if not isinstance(profile, dict) or not isinstance(profile.get("rules"), list) or not profile.get("name"):
            yield f"{where}: name, capacity and rules are required."
            continue
        yield from _find_capacity_problems(f"{where}.capacity", profile.get("capacity"))
        if len(profile["rules"]) > MAX_RULES:
            yield f"{where}.rules: there can be at most {MAX_RULES}."
        for number, rule in enumerate(profile["rules"]):
            yield from _find_rule_problems(f"{where}.rules[{number}]", rule)


def _find_capacity_problems(where: str, capacity: Any) -> Iterator[str]:
    """Yield the problems with a profile's numbers of instances, which are strings."""
    names = ("minimum", "default", "maximum")
    given = capacity if isinstance(capacity, dict) else {}
    values = [one for name in names if isinstance(one := given.get(name), str) and one.isdecimal()]
    if len(values) != len(names):
        yield f"{where}: minimum, default and maximum must be whole numbers as strings."
        return
    least, default, most = (int(one) for one in values)
    if not 1 <= least <= default <= most:
        yield f"{where}: minimum {least}, default {default} and maximum {most} must be in this order, and 1 or more."


def _find_rule_problems(where: str, rule: Any) -> Iterator[str]:
    trigger = rule.get("metricTrigger") if isinstance(rule, dict) else None
    action = rule.get("scaleAction") if isinstance(rule, dict) else None
    if not isinstance(trigger, dict) or not isinstance(action, dict):
        yield f"{where}: metricTrigger and scaleAction are required."
        return
    for name in ("metricName", "metricResourceUri"):
        if not isinstance(trigger.get(name), str) or not trigger[name]:
            yield f"{where}.metricTrigger.{name} is required."
    for name in ("timeGrain", "timeWindow"):
        if not parse_duration(trigger.get(name)):
            yield f"{where}.metricTrigger.{name} must be a duration such as PT1M."
    if not isinstance(trigger.get("threshold"), int | float):
        yield f"{where}.metricTrigger.threshold must be a number."
    yield from _find_unknown_words(f"{where}.metricTrigger", trigger, {"statistic": STATISTICS, "operator": OPERATORS})
    yield from _find_unknown_words(f"{where}.metricTrigger", trigger, {"timeAggregation": AGGREGATIONS})
    yield from _find_unknown_words(f"{where}.scaleAction", action, {"direction": DIRECTIONS, "type": TYPES})
    if not isinstance(action.get("value", "1"), str) or not action.get("value", "1").isdecimal():
        yield f"{where}.scaleAction.value must be a whole number as a string."
    cooldown = parse_duration(action.get("cooldown"))
    if cooldown is None or not SHORTEST_SECONDS <= cooldown <= LONGEST_SECONDS:
        yield f"{where}.scaleAction.cooldown must be between PT1M and P7D."


def _find_unknown_words(where: str, values: Document, allowed: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name, words in allowed.items():
        if str(values.get(name)).lower() not in [word.lower() for word in words]:
            yield f"{where}.{name} must be one of {', '.join(words)}."


ROUTES = [
    ArmRoute("GET", IN_SUBSCRIPTION, list_settings),
    ArmRoute("GET", IN_GROUP, list_settings),
    ArmRoute("GET", SETTING_PATH, get_setting),
    ArmRoute("PUT", SETTING_PATH, put_setting),
    ArmRoute("PATCH", SETTING_PATH, patch_setting),
    ArmRoute("DELETE", SETTING_PATH, delete_setting),
]
