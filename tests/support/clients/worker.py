"""Runs in another virtual environment: makes one of Azure's management clients and does what stdin says.

Each line is `{"operation": "online_endpoints.get", "arguments": [...], "keywords": {...}}`. Answers are `{"result"}` or
`{"error"}`. A result went through the client's own model and is checked against it: a wrong type is an error of the
client; a missing required field, or an unknown kind of one that has several, is an error here.
"""

import importlib
import json
import os
import sys
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.paging import ItemPaged
from azure.core.polling import LROPoller
from azure.identity import DefaultAzureCredential

WRITE_ONLY = {"secrets"}  # of a datastore: required to create one, and never answered


def make_client(path: str) -> Any:
    module, _, name = path.partition(":")
    base = os.environ["AZURE_AUTHORITY_HOST"]  # the emulator is both
    return getattr(importlib.import_module(module), name)(
        DefaultAzureCredential(disable_instance_discovery=True),
        os.environ["AZURE_SUBSCRIPTION_ID"],
        base_url=base,
        credential_scopes=[f"{base}/.default"],
        polling_interval=1,
    )


def do(client: Any, wanted: dict[str, Any]) -> Any:
    target = client
    for part in wanted["operation"].split("."):
        target = getattr(target, part)
    result = target(*wanted["arguments"], **wanted["keywords"])
    if isinstance(result, LROPoller):
        result = result.result()
    if isinstance(result, ItemPaged):
        return [serialized(one) for one in result]
    return serialized(result)


def serialized(result: Any) -> Any:
    """The model as JSON under its REST names, checked."""
    if result is None:
        return None
    check(result)
    return result.serialize(keep_readonly=True)


def check(model: Any) -> None:
    """Raise TypeError where a required field is missing, or a field of several kinds has none that is known."""
    for name, rules in type(model)._validation.items():
        if rules.get("required") and name not in WRITE_ONLY and getattr(model, name) is None:
            raise TypeError(f"{type(model).__name__}.{name} is required and missing")
    for name in type(model)._attribute_map:
        value = getattr(model, name)
        for one in value if isinstance(value, list) else [value]:
            if hasattr(one, "_attribute_map"):
                if type(one).__dict__.get("_subtype_map"):
                    raise TypeError(f"{name}: the kind of a {type(one).__name__} is missing or unknown")
                check(one)


def explain(error: Exception) -> dict[str, Any]:
    status, code = None, None
    if isinstance(error, HttpResponseError):
        status, code = error.status_code, error.error.code if error.error else None
    return {"kind": type(error).__name__, "status": status, "code": code, "text": str(error)}


def main() -> None:
    client = make_client(sys.argv[1])
    for line in sys.stdin:
        try:
            answer = {"result": do(client, json.loads(line))}
        except (AzureError, ValueError, TypeError, AttributeError, KeyError) as error:
            answer = {"error": explain(error)}
        print(json.dumps(answer), flush=True)


main()
