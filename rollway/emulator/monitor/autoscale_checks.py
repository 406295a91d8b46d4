"""Validation of autoscale settings (autoscale REST reference, 2022-10-01). The texts are our own."""

from collections.abc import Iterator, Mapping
from typing import Any

from rollway.emulator.core.durations import parse_duration
from rollway.emulator.core.errors import Document
from rollway.emulator.core.numbers import MAX_DIGITS, parse_number, parse_whole

MAX_PROFILES, MAX_RULES = 20, 10
SHORTEST_SECONDS, LONGEST_SECONDS = 60, 7 * 86400  # of a cooldown
LONGEST_WINDOW_SECONDS = 12 * 3600
STATISTICS = ("Average", "Min", "Max", "Sum", "Count")
AGGREGATIONS = ("Average", "Minimum", "Maximum", "Total", "Count", "Last")
OPERATORS = ("Equals", "NotEquals", "GreaterThan", "GreaterThanOrEqual", "LessThan", "LessThanOrEqual")
DIRECTIONS = ("None", "Increase", "Decrease")
TYPES = ("ChangeCount", "PercentChangeCount", "ExactCount", "ServiceAllowedNextValue")
FREQUENCIES = ("None", "Second", "Minute", "Hour", "Day", "Week", "Month", "Year")
SCALE_MODES = ("Disabled", "ForecastOnly", "Enabled")


def find_problems(properties: Document) -> Iterator[str]:
    """Yield the problems of a setting's properties, each as a sentence."""
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
        yield from _find_time_problems(where, profile)
    yield from _find_notification_problems(properties.get("notifications") or [])
    if policy := properties.get("predictiveAutoscalePolicy"):
        yield from _find_unknown_words("predictiveAutoscalePolicy", policy, {"scaleMode": SCALE_MODES})


def _find_capacity_problems(where: str, capacity: Any) -> Iterator[str]:
    """Yield the problems with a profile's numbers of instances, which are strings."""
    names = ("minimum", "default", "maximum")
    given = capacity if isinstance(capacity, dict) else {}
    least, default, most = (parse_whole(given.get(name)) for name in names)
    if least is None or default is None or most is None:
        yield f"{where}: minimum, default and maximum must be whole numbers as strings, of at most {MAX_DIGITS} digits."
        return
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
    for name, shortest in (("timeGrain", "PT1M"), ("timeWindow", "PT5M")):
        seconds = parse_duration(trigger.get(name))
        if seconds is None or not (parse_duration(shortest) or 0) <= seconds <= LONGEST_WINDOW_SECONDS:
            yield f"{where}.metricTrigger.{name} must be between {shortest} and PT12H."
    yield from _find_dimension_problems(f"{where}.metricTrigger.dimensions", trigger.get("dimensions") or [])
    threshold = trigger.get("threshold")
    if not isinstance(threshold, int | float) or parse_number(threshold) is None:
        yield f"{where}.metricTrigger.threshold must be a number."
    yield from _find_unknown_words(f"{where}.metricTrigger", trigger, {"statistic": STATISTICS, "operator": OPERATORS})
    yield from _find_unknown_words(f"{where}.metricTrigger", trigger, {"timeAggregation": AGGREGATIONS})
    yield from _find_unknown_words(f"{where}.scaleAction", action, {"direction": DIRECTIONS, "type": TYPES})
    if not parse_whole(action.get("value", "1")):
        limits = f"and 1 or more, of at most {MAX_DIGITS} digits"
        yield f"{where}.scaleAction.value must be a whole number as a string, {limits}."
    cooldown = parse_duration(action.get("cooldown"))
    if cooldown is None or not SHORTEST_SECONDS <= cooldown <= LONGEST_SECONDS:
        yield f"{where}.scaleAction.cooldown must be between PT1M and P7D."


def _find_dimension_problems(where: str, dimensions: Any) -> Iterator[str]:
    """Yield the problems with a rule's dimensions. Their names begin with a capital, unlike all others."""
    for index, one in enumerate(dimensions if isinstance(dimensions, list) else [None]):
        if not isinstance(one, dict) or not one.get("DimensionName") or not isinstance(one.get("Values"), list):
            yield f"{where}[{index}]: DimensionName, Operator and Values are required."
        else:
            yield from _find_unknown_words(f"{where}[{index}]", one, {"Operator": ("Equals", "NotEquals")})


def _find_time_problems(where: str, profile: Document) -> Iterator[str]:
    """Yield the problems with the times at which a profile applies: one range of time, or some times of a week."""
    fixed, recurrence = profile.get("fixedDate"), profile.get("recurrence")
    if fixed and recurrence:
        yield f"{where}: fixedDate and recurrence exclude each other."
    if fixed and not (isinstance(fixed, dict) and fixed.get("start") and fixed.get("end")):
        yield f"{where}.fixedDate: start and end are required."
    if not recurrence:
        return
    schedule = recurrence.get("schedule") if isinstance(recurrence, dict) else None
    if not isinstance(schedule, dict):
        yield f"{where}.recurrence: frequency and schedule are required."
        return
    yield from _find_unknown_words(f"{where}.recurrence", recurrence, {"frequency": FREQUENCIES})
    if not schedule.get("timeZone") or not isinstance(schedule.get("days"), list):
        yield f"{where}.recurrence.schedule: timeZone, days, hours and minutes are required."
    for name, end in (("hours", 24), ("minutes", 60)):
        numbers = schedule.get(name)
        if not isinstance(numbers, list) or not all(isinstance(one, int) and 0 <= one < end for one in numbers):
            yield f"{where}.recurrence.schedule.{name} must be a list of whole numbers from 0 to {end - 1}."


def _find_notification_problems(notifications: list[Any]) -> Iterator[str]:
    for index, one in enumerate(notifications):
        if not isinstance(one, dict) or str(one.get("operation")).lower() != "scale":
            yield f"notifications[{index}].operation must be Scale."


def _find_unknown_words(where: str, values: Document, allowed: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for name, words in allowed.items():
        if str(values.get(name)).lower() not in [word.lower() for word in words]:
            yield f"{where}.{name} must be one of {', '.join(words)}."
