"""Autoscale settings of Azure Monitor: their copies for a candidate, and the number of instances it starts with.

A setting names one online deployment by its resource id. Without a copy the rules end with that online deployment.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from pydantic import JsonValue

from rollway.rollout.permissions import Permission, is_allowed
from rollway.rollout.preflight import Finding, Severity
from rollway.spec import Frozen

WRITE_ACTION = "Microsoft.Insights/autoscaleSettings/write"
DELETE_ACTION = "Microsoft.Insights/autoscaleSettings/delete"
MAX_NAME_LENGTH = 260  # of resources in Azure Resource Manager; Azure Monitor names no lower limit
HASH_LENGTH = 8
_ONLINE_DEPLOYMENT_ID = re.compile(
    r"(?P<endpoint_id>/.*/providers/Microsoft\.MachineLearningServices/workspaces/[^/]+"
    r"/onlineEndpoints/(?P<endpoint>[^/]+))/deployments/(?P<name>[^/]+)/?",
    re.IGNORECASE,
)
_ROLE = "give the identity of Rollway the role Monitoring Contributor on the resource group"


class AutoscaleSetting(Frozen):
    """An autoscale setting that scales an online deployment.

    Attributes:
        online_deployment: Name of the online deployment that it scales.
        minimum: The lowest minimum of all profiles.
        maximum: The highest maximum of all profiles.
        default: Default of the profile that applies without a date or recurrence, else of the first.
        properties: The properties in Azure's own JSON.
    """

    id: str
    name: str
    online_deployment: str
    minimum: int
    maximum: int
    default: int
    is_enabled: bool
    location: str
    tags: dict[str, str] = {}
    properties: dict[str, JsonValue]

    @property
    def target_id(self) -> str:
        """Resource id of the online deployment that it scales."""
        return str(self.properties["targetResourceUri"])


def setting_of(document: Mapping[str, Any]) -> AutoscaleSetting | None:
    """Convert a setting in Azure's JSON to a value, or to None if it scales no online deployment."""
    properties = document["properties"]
    target = _ONLINE_DEPLOYMENT_ID.fullmatch(properties.get("targetResourceUri") or "")
    profiles = properties.get("profiles")
    if target is None or not profiles:
        return None
    usual = next((one for one in profiles if not one.get("fixedDate") and not one.get("recurrence")), profiles[0])
    return AutoscaleSetting(
        id=document["id"],
        name=document["name"],
        online_deployment=target["name"],
        minimum=min(int(one["capacity"]["minimum"]) for one in profiles),
        maximum=max(int(one["capacity"]["maximum"]) for one in profiles),
        default=int(usual["capacity"]["default"]),
        is_enabled=bool(properties.get("enabled")),
        location=document["location"],
        tags=document.get("tags") or {},
        properties=properties,
    )


def settings_of(
    settings: Iterable[AutoscaleSetting], endpoint_id: str, online_deployment: str
) -> tuple[AutoscaleSetting, ...]:
    """Return the settings that scale an online deployment of an endpoint."""
    target = f"{endpoint_id}/deployments/{online_deployment}"
    return tuple(one for one in settings if _is_same_id(one.target_id, target))


def setting_name(online_deployment_id: str) -> str:
    """Return the name of Rollway's setting for an online deployment: the same for the same id, in any letter case."""
    digest = hashlib.sha256(online_deployment_id.lower().encode()).hexdigest()[:HASH_LENGTH]
    target = _require_target(online_deployment_id)
    readable = f"{target['endpoint']}-{target['name']}".lower()
    return f"{readable[: MAX_NAME_LENGTH - HASH_LENGTH - 1]}-{digest}"


def copied(setting: AutoscaleSetting, online_deployment_id: str, location: str, name: str) -> dict[str, Any]:
    """Return the body of a setting that scales another online deployment by the same rules.

    Rules that measure the replaced online deployment measure the other one instead. So do rules that measure the
    endpoint and filter by the name of the replaced one.
    """
    properties: dict[str, Any] = deepcopy(setting.properties)
    properties.update(name=name, targetResourceUri=online_deployment_id)
    for profile in properties["profiles"]:
        for rule in profile["rules"]:
            _redirect(rule["metricTrigger"], setting.target_id, online_deployment_id)
    return {"location": location, "tags": dict(setting.tags), "properties": properties}


def _redirect(trigger: dict[str, Any], old_id: str, new_id: str) -> None:
    """Let a trigger of a rule measure the new online deployment if it measures the old one."""
    old, new = _require_target(old_id), _require_target(new_id)
    measured = str(trigger["metricResourceUri"])
    if _is_same_id(measured, old_id):
        trigger["metricResourceUri"] = new_id
    elif _is_same_id(measured, old["endpoint_id"]):
        for dimension in trigger.get("dimensions") or []:
            if dimension["DimensionName"].lower() == "deployment":
                dimension["Values"] = [
                    new["name"] if value.lower() == old["name"].lower() else value for value in dimension["Values"]
                ]


def wanted_instances(file_count: int, replaced_count: int, setting: AutoscaleSetting | None) -> int:
    """Return the number of instances that a candidate starts with.

    It is never below that of the online deployment that it replaces. An enabled setting limits the number in the file,
    because Azure Monitor would correct it at once.

    Args:
        file_count: Number in deployment.yml.
        replaced_count: Current number of the online deployment that it replaces.
        setting: Its autoscale setting; None if it has none.
    """
    if setting is not None and setting.is_enabled:
        file_count = min(max(file_count, setting.minimum), setting.maximum)
    return max(file_count, replaced_count)


def find_problems(
    settings: Sequence[AutoscaleSetting] | None, permissions: Sequence[Permission] | None
) -> tuple[Finding, ...]:
    """Return the preflight's findings about the settings to copy.

    Args:
        settings: Settings of the online deployment that is replaced; None if they may not be read.
        permissions: Permissions on the resource group; None if they cannot be read.
    """
    if settings is None:
        message = "they may not be read; rules of the replaced online deployment are not copied"
        return (_finding(Severity.WARNING, message, _ROLE),)
    if not settings:
        return ()
    names = ", ".join(one.name for one in settings)
    if permissions is None:
        message = f"{names}: the permissions of the identity cannot be read, so copying it may fail"
        return (_finding(Severity.WARNING, message, _ROLE),)
    if not is_allowed(permissions, WRITE_ACTION):
        message = (
            f"{names} scales the replaced online deployment, and the identity may not write a copy: {WRITE_ACTION}"
        )
        return (_finding(Severity.BLOCKER, message, _ROLE),)
    if not is_allowed(permissions, DELETE_ACTION):
        message = (
            f"{names} remains without an online deployment, because the identity may not delete it: {DELETE_ACTION}"
        )
        return (_finding(Severity.WARNING, message, _ROLE),)
    return ()


def _finding(severity: Severity, message: str, hint: str) -> Finding:
    return Finding(severity=severity, field="autoscale settings", message=message, hint=hint)


def _require_target(online_deployment_id: str) -> re.Match[str]:
    """Return the parts of an online deployment's id; raises ValueError for another id."""
    found = _ONLINE_DEPLOYMENT_ID.fullmatch(online_deployment_id)
    if found is None:
        raise ValueError(f"not the id of an online deployment: {online_deployment_id}")
    return found


def _is_same_id(one: str, other: str) -> bool:
    return one.lower().rstrip("/") == other.lower().rstrip("/")
