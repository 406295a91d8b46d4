"""Data collection: events of online deployments as lines of JSON in the blob store (how-to-collect-production-data)."""

import json
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from rollway.emulator.arm.registry import find_asset
from rollway.emulator.arm.workspaces import default_container
from rollway.emulator.core.clock import format_iso_seconds
from rollway.emulator.core.errors import Document
from rollway.emulator.core.store import Resource
from rollway.emulator.runtime.access import PAYLOADS, enabled_collections
from rollway.emulator.state import Emulator

ROOT = "modelDataCollector"
# The documentation has the folders of `hour` only; the others are our choice.
FOLDERS = {"minute": "%Y/%m/%d/%H/%M", "hour": "%Y/%m/%d/%H", "day": "%Y/%m/%d", "month": "%Y/%m", "year": "%Y"}


def check_collector(given: Any) -> dict[str, list[str]]:
    """Return the problems with a `dataCollector` by field."""
    if not isinstance(given, Mapping):
        return {}
    problems: dict[str, list[str]] = {}
    if str(given.get("rollingRate") or "hour").lower() not in FOLDERS:
        problems["DataCollector.RollingRate"] = ["must be Minute, Hour, Day, Month or Year."]
    for name, one in (given.get("collections") or {}).items():
        field = f"DataCollector.Collections.{name}"
        if not re.fullmatch(r"[\w-]+", name):
            problems[field] = ["must have a name of letters, digits, '_' and '-'."]
        elif not isinstance(one, Mapping):
            problems[field] = ["must be an object."]
        elif not _is_rate(one.get("samplingRate", 1)):
            problems[f"{field}.SamplingRate"] = ["must be between 0 and 1."]
    return problems


def _is_rate(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1)


def complete_collector(given: Mapping[str, Any] | None) -> Document | None:
    """Return a `dataCollector` as ARM shows it: with Azure's spelling and defaults."""
    if given is None:
        return None
    collections = {
        name: {
            "dataCollectionMode": str(one.get("dataCollectionMode") or "Disabled").capitalize(),
            "samplingRate": 1.0 if one.get("samplingRate") is None else one["samplingRate"],
            "dataId": one.get("dataId"),
            "clientId": one.get("clientId"),
        }
        for name, one in (given.get("collections") or {}).items()
    }
    rate = str(given.get("rollingRate") or "Hour").capitalize()
    return {"collections": collections, "rollingRate": rate, "requestLogging": given.get("requestLogging")}


def collect_event(
    emulator: Emulator, deployment: Resource, collection: str, content: bytes, attributes: Mapping[str, str | None]
) -> None:
    """Append an event to its file in the blob store. Do nothing if the collection is not enabled.

    Args:
        content: The collected data: JSON, or any text.
        attributes: Further fields of the event. Those without a value are left out.
    """
    collector = deployment.properties.get("dataCollector") or {}
    settings = enabled_collections(collector).get(collection.lower())
    workspace = emulator.store.get(deployment.id.partition("/onlineEndpoints/")[0])
    if settings is None or workspace is None:
        return
    now = emulator.clock.now()
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": deployment.id,
        "type": f"azureml.inference.{collection.lower()}",
        "datacontenttype": "application/json",
        "time": format_iso_seconds(now),
        "data": _parse(content),
        "contentrange": f"bytes 0-{max(len(content) - 1, 0)}/{len(content)}",
        **{name: value for name, value in attributes.items() if value is not None},
    }
    period = datetime.fromtimestamp(now, UTC).strftime(FOLDERS[str(collector.get("rollingRate") or "hour").lower()])
    folder = f"{_target(emulator, deployment, collection, settings)}/{period}"
    name = f"{folder}/{uuid5(NAMESPACE_URL, f'{deployment.id}/{folder}')}.jsonl"
    emulator.blobs.append(default_container(workspace), name, json.dumps(event).encode() + b"\n")


def collects_payloads(deployment: Resource) -> bool:
    """Return True if requests or responses of an online deployment are collected."""
    collector = deployment.properties.get("dataCollector")
    return collector is not None and not enabled_collections(collector).keys().isdisjoint(PAYLOADS)


def collect_payloads(
    emulator: Emulator, deployment: Resource, method: str, path: str, request_id: str, request: bytes, response: bytes
) -> None:
    """Collect a request and its response. They are sampled together, which is our choice."""
    draw, ids = random.random(), {"correlationid": request_id, "xrequestid": request_id}  # noqa: S311 - not a secret
    collections = enabled_collections(deployment.properties["dataCollector"])
    for name, content, attributes in (
        ("request", request, {"path": path, "method": method, **ids}),
        ("response", response, ids),
    ):
        if name in collections and draw < collections[name].get("samplingRate", 1.0):
            collect_event(emulator, deployment, name, content, attributes)


def _target(emulator: Emulator, deployment: Resource, collection: str, settings: Mapping[str, Any]) -> str:
    """Return the folder of a collection in the workspace's store: that of its data asset, or the default one."""
    asset = find_asset(emulator, str(settings["dataId"])) if settings.get("dataId") else None
    path = "" if asset is None else str(asset.properties["dataUri"]).partition("/paths/")[2].strip().strip("/")
    endpoint = deployment.id.split("/")[-3]
    return path or f"{ROOT}/{endpoint}/{deployment.name}/{collection.lower()}"


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")
