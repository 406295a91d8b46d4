"""Messages of Azure Event Grid to a webhook, as values, in both schemas: its own, and CloudEvents 1.0.

No event is trusted to be complete or current. It is only a hint to look at the models again.
"""

import json
from collections.abc import Mapping
from typing import Any

from rollway.spec import Frozen

# learn.microsoft.com/azure/event-grid/event-schema-machine-learning and /end-point-validation-event-grid-events-schema
MODEL_REGISTERED = "Microsoft.MachineLearningServices.ModelRegistered"
SUBSCRIPTION_VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"


class Handshake(Frozen):
    """A validation request of Event Grid; the answer must repeat its code."""

    code: str


class ModelRegistered(Frozen):
    """A new model version. `source` is the workspace's ARM id, `id` is the same for every delivery of the event."""

    id: str
    source: str
    model: str
    version: str


class Refusal(Frozen):
    """The reason why a body is not a message of Event Grid."""

    reason: str


class _Malformed(ValueError):
    pass


def parse(body: bytes) -> Handshake | tuple[ModelRegistered, ...] | Refusal:
    """Return a handshake, the model versions of a delivery (none if all events are of other types), or a refusal."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(reason="the body is not JSON")
    events = document if isinstance(document, list) else [document]
    try:
        read = [_read(event, f"event {number}") for number, event in enumerate(events, start=1)]
    except _Malformed as error:
        return Refusal(reason=str(error))
    handshake = next((one for one in read if isinstance(one, Handshake)), None)
    return handshake or tuple(one for one in read if isinstance(one, ModelRegistered))


def _read(event: Any, place: str) -> Handshake | ModelRegistered | None:
    if not isinstance(event, dict):
        raise _Malformed(f"{place} is not a JSON object")
    is_cloud_event = "specversion" in event
    if is_cloud_event and event["specversion"] != "1.0":
        raise _Malformed(f"{place}: specversion is not '1.0'")
    kind = _text(event, "type" if is_cloud_event else "eventType", place)
    if kind not in (MODEL_REGISTERED, SUBSCRIPTION_VALIDATION):
        return None
    data = event.get("data")
    if not isinstance(data, dict):
        raise _Malformed(f"{place}: data is not a JSON object")
    # Microsoft's pages write ModelName, its SDKs modelName.
    data = {str(key).lower(): value for key, value in data.items()}
    if kind == SUBSCRIPTION_VALIDATION:
        return Handshake(code=_text(data, "validationcode", f"{place}: data"))
    return ModelRegistered(
        id=_text(event, "id", place),
        source=_text(event, "source" if is_cloud_event else "topic", place),
        model=_text(data, "modelname", f"{place}: data"),
        version=_text(data, "modelversion", f"{place}: data"),
    )


def _text(values: Mapping[str, Any], key: str, place: str) -> str:
    value = values.get(key)
    if isinstance(value, int) and not isinstance(value, bool):  # versions may be numbers
        value = str(value)
    if not isinstance(value, str) or not value:
        raise _Malformed(f"{place}: {key} is missing or not text")
    return value
