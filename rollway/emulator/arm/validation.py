"""Validation of endpoints and online deployments. Each check returns its problems by field, as Azure lists them."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from rollway.emulator.core import errors
from rollway.emulator.core.durations import parse_duration
from rollway.emulator.core.errors import Document

NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{1,30}[a-zA-Z0-9]")
AUTH_MODES = ("Key", "AMLToken", "AADToken")
MAX_INSTANCES = 50
MAX_TIMEOUT_SECONDS = 180
MAX_MIRROR_WEIGHT = 50
MAX_TAGS, MAX_TAG_NAME, MAX_TAG_VALUE = 50, 512, 256  # characters (tag-resources)

TYPE_NAMES: dict[type, str] = {dict: "an object", str: "a string", bool: "a boolean", int: "a number", list: "a list"}

Problems = dict[str, list[str]]


def check_field_types(body: Document, types: Mapping[str, type]) -> None:
    """Raise ARM's error if a field has the wrong type.

    Args:
        types: Expected types by dotted path. Missing fields and nulls are accepted.
    """
    for path, wanted in types.items():
        value: Any = body
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None and not isinstance(value, wanted):
            raise errors.invalid_content(f"{path}: {TYPE_NAMES[wanted]} is expected, not {type(value).__name__}")
    tags = body.get("tags")
    for name, value in tags.items() if isinstance(tags, dict) else ():
        if value is not None and not isinstance(value, str):
            raise errors.invalid_content(f"tags.{name}: a string is expected, not {type(value).__name__}")


def check_tags(tags: Document | None) -> None:
    """Raise ARM's error for too many tags of a resource, or for a name or value that is too long."""
    given = {name: value for name, value in (tags or {}).items() if value is not None}
    if len(given) > MAX_TAGS:
        raise errors.too_many_tags(len(given), MAX_TAGS)
    for name, value in given.items():
        if len(name) > MAX_TAG_NAME:
            raise errors.tag_name_too_long(name, MAX_TAG_NAME)
        if len(value) > MAX_TAG_VALUE:
            raise errors.tag_value_too_long(value, MAX_TAG_VALUE)


def raise_problems(*found: Problems) -> None:
    """Raise one Azure error that lists all problems, if there are any."""
    problems: Problems = {}
    for one in found:
        for name, texts in one.items():
            problems.setdefault(name, []).extend(texts)
    if problems:
        raise errors.invalid_request(problems)


def check_name(name: str, kind: str) -> Problems:
    """Check the name of an endpoint or online deployment.

    Rules: concept-endpoints-online and reference-yaml-endpoint-online.
    """
    if NAME.fullmatch(name):
        return {}
    text = "must be 3 to 32 characters: letters, digits and '-', starting with a letter, ending with a letter or digit."
    return {"Name": [f"{kind} name '{name}' {text}"]}


def check_endpoint(properties: Document) -> Problems:
    """Check the settings of an endpoint, without its traffic."""
    problems: Problems = {}
    if str(properties.get("authMode")).lower() not in [mode.lower() for mode in AUTH_MODES]:
        problems["AuthMode"] = [f"must be one of {', '.join(AUTH_MODES)}."]
    access = properties.get("publicNetworkAccess") or "Enabled"
    if str(access).lower() not in ("enabled", "disabled"):
        problems["PublicNetworkAccess"] = ["must be Enabled or Disabled."]
    return problems


def check_traffic(traffic: Any, mirror: Any, usable: Mapping[str, bool]) -> Problems:
    """Check weights and mirror weights of an endpoint.

    Weights are whole percents of existing online deployments and sum to 0 or 100. Only one online deployment without
    live traffic can have a mirror weight, of at most 50 %.

    Args:
        usable: All online deployments of the endpoint, in lower case, with True for those that can serve.
    """
    problems: Problems = {}
    for field, weights in (("Traffic", traffic), ("MirrorTraffic", mirror)):
        if not isinstance(weights, dict) or not all(_is_weight(weight) for weight in weights.values()):
            problems[field] = ["must map names of online deployments to whole percents between 0 and 100."]
            continue
        texts = [f"Deployment {name} does not exist." for name in weights if name.lower() not in usable]
        texts += [
            f"Deployment {name} has failed provisioning and cannot receive traffic."
            for name, weight in weights.items()
            if weight and usable.get(name.lower()) is False
        ]
        if texts:
            problems[field] = texts
    if problems:
        return problems
    if sum(traffic.values()) not in (0, 100):
        problems["Traffic"] = [f"The weights sum to {sum(traffic.values())}; they must sum to 0 or 100."]
    mirrored = {name: weight for name, weight in mirror.items() if weight}
    if len(mirrored) > 1:
        problems["MirrorTraffic"] = ["Only one deployment can receive mirror traffic."]
    for name, weight in mirrored.items():
        if weight > MAX_MIRROR_WEIGHT:
            problems["MirrorTraffic"] = [f"{weight}% is more than the {MAX_MIRROR_WEIGHT}% allowed."]
        if {key.lower(): value for key, value in traffic.items()}.get(name.lower()):
            problems["MirrorTraffic"] = [f"Deployment {name} receives live traffic already."]
    return problems


def _is_weight(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 100


def check_deployment(properties: Document, sku: Document) -> Problems:
    """Check the settings of an online deployment that do not depend on other resources."""
    problems: Problems = {}
    is_kubernetes = properties.get("endpointComputeType") == "Kubernetes"
    if not properties.get("instanceType") and not is_kubernetes:
        problems["InstanceType"] = ["is required for managed online deployments."]
    problems |= check_capacity(sku)
    variables = properties.get("environmentVariables") or {}
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        problems["EnvironmentVariables"] = ["must map names to strings."]
    script = PurePosixPath((properties.get("codeConfiguration") or {}).get("scoringScript") or "")
    if script.is_absolute() or {"..", "\0"} & {*script.parts, *str(script)}:
        problems["CodeConfiguration.ScoringScript"] = ["must be a path inside the code folder."]
    mount_path = properties.get("modelMountPath")
    if mount_path and (not mount_path.startswith("/") or {"..", "\0"} & {*mount_path.split("/"), *mount_path}):
        problems["ModelMountPath"] = ["must be an absolute path."]
    settings = properties.get("requestSettings") or {}
    concurrent = settings.get("maxConcurrentRequestsPerInstance", 1)
    if not isinstance(concurrent, int) or concurrent < 1:
        problems["RequestSettings.MaxConcurrentRequestsPerInstance"] = ["must be 1 or more."]
    timeout = parse_duration(settings.get("requestTimeout", "PT5S"))
    if not timeout or timeout > MAX_TIMEOUT_SECONDS:
        text = f"must be a duration of more than 0 and at most {MAX_TIMEOUT_SECONDS} seconds, such as PT5S."
        problems["RequestSettings.RequestTimeout"] = [text]
    return problems | _check_probes(properties)


def check_capacity(sku: Document) -> Problems:
    """Check the number of instances of an online deployment."""
    capacity = sku.get("capacity")
    if isinstance(capacity, int) and not isinstance(capacity, bool) and 1 <= capacity <= MAX_INSTANCES:
        return {}
    return {"Sku.Capacity": [f"must be between 1 and {MAX_INSTANCES}."]}


def _check_probes(properties: Document) -> Problems:
    problems: Problems = {}
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        settings = properties.get(probe) or {}
        for name in ("initialDelay", "period", "timeout"):
            if parse_duration(settings.get(name, "PT1S")) is None:
                problems[f"{probe}.{name}"] = ["must be a duration such as PT10S."]
        for name in ("failureThreshold", "successThreshold"):
            if not isinstance(settings.get(name, 1), int) or settings.get(name, 1) < 1:
                problems[f"{probe}.{name}"] = ["must be 1 or more."]
    return problems


def check_unchanged(before: Document, after: Document) -> Problems:
    """Check that an update changes no property that must stay the same."""
    problems: Problems = {}
    for name in ("instanceType", "egressPublicNetworkAccess"):
        if after.get(name) is not None and str(after[name]).lower() != str(before.get(name)).lower():
            problems[name[0].upper() + name[1:]] = [f"cannot be changed from {before.get(name)} to {after[name]}."]
    return problems
