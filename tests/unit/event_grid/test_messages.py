"""Messages of Event Grid in both schemas and both spellings, and bodies that are no messages."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollway.event_grid.messages import (
    MODEL_REGISTERED,
    SUBSCRIPTION_VALIDATION,
    Handshake,
    ModelRegistered,
    Refusal,
    parse,
)
from tests.support.builders import WORKSPACE_ID

DATA = {"ModelName": "diabetes", "ModelVersion": "7", "ModelTags": {}, "ModelProperties": {}}
EXPECTED = ModelRegistered(id="event-1", source=WORKSPACE_ID, model="diabetes", version="7")


def event_grid(data: Any = DATA, kind: str = MODEL_REGISTERED, **changes: Any) -> dict[str, Any]:
    """An event in Event Grid's own schema."""
    return {
        "id": "event-1",
        "topic": WORKSPACE_ID,
        "subject": "models/diabetes:7",
        "eventType": kind,
        "eventTime": "2026-01-02T03:04:05Z",
        "data": data,
        "dataVersion": "1",
        "metadataVersion": "1",
        **changes,
    }


def cloud_event(data: Any = DATA, kind: str = MODEL_REGISTERED, **changes: Any) -> dict[str, Any]:
    """An event in the schema of CloudEvents 1.0."""
    return {
        "specversion": "1.0",
        "id": "event-1",
        "source": WORKSPACE_ID,
        "subject": "models/diabetes:7",
        "type": kind,
        "time": "2026-01-02T03:04:05Z",
        "data": data,
        **changes,
    }


def parsed(document: Any) -> Any:
    return parse(json.dumps(document).encode())


@pytest.mark.parametrize("make", [event_grid, cloud_event])
@pytest.mark.parametrize(
    "data",
    [
        DATA,
        {"modelName": "diabetes", "modelVersion": "7"},
        {"ModelName": "diabetes", "ModelVersion": 7},
        {"modelName": "diabetes", "modelVersion": 7, "modelTags": None},
    ],
    ids=["pascal", "camel", "number", "camel and number"],
)
def test_a_registered_model_is_understood_in_every_schema_and_spelling(make: Any, data: dict[str, Any]) -> None:
    assert parsed([make(data)]) == (EXPECTED,)


def test_a_single_cloud_event_without_a_list_is_understood() -> None:
    assert parsed(cloud_event()) == (EXPECTED,)


def test_a_batch_has_its_models_in_order_and_leaves_out_other_events() -> None:
    second = event_grid({"ModelName": "churn", "ModelVersion": "2"}, id="event-2")
    batch = [event_grid(), event_grid(None, "Microsoft.MachineLearningServices.RunCompleted"), second]

    assert parsed(batch) == (EXPECTED, EXPECTED.model_copy(update={"id": "event-2", "model": "churn", "version": "2"}))


@pytest.mark.parametrize("make", [event_grid, cloud_event])
def test_events_of_other_types_are_ignored(make: Any) -> None:
    assert parsed([make({"ServiceName": "x"}, "Microsoft.MachineLearningServices.ModelDeployed")]) == ()


def test_an_empty_batch_has_no_models() -> None:
    assert parsed([]) == ()


def test_the_validation_event_is_a_handshake() -> None:
    data = {"validationCode": "512d38b6", "validationUrl": "https://rp-westeurope.eventgrid.azure.net/x"}

    assert parsed([event_grid(data, SUBSCRIPTION_VALIDATION)]) == Handshake(code="512d38b6")


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (7, "event 1 is not a JSON object"),
        ([event_grid(), "x"], "event 2 is not a JSON object"),
        ([{}], "event 1: eventType is missing or not text"),
        ([event_grid(kind="")], "event 1: eventType is missing or not text"),
        ([cloud_event(specversion="0.3")], "event 1: specversion is not '1.0'"),
        ([cloud_event(kind=None)], "event 1: type is missing or not text"),  # type: ignore[arg-type]
        ([event_grid([])], "event 1: data is not a JSON object"),
        ([event_grid({"ModelName": "diabetes"})], "event 1: data: modelversion is missing or not text"),
        ([event_grid({**DATA, "ModelVersion": True})], "event 1: data: modelversion is missing or not text"),
        ([event_grid({**DATA, "ModelName": {}})], "event 1: data: modelname is missing or not text"),
        ([event_grid(id=None)], "event 1: id is missing or not text"),
        ([event_grid(topic="")], "event 1: topic is missing or not text"),
        ([event_grid({}, SUBSCRIPTION_VALIDATION)], "event 1: data: validationcode is missing or not text"),
    ],
)
def test_a_malformed_event_is_refused_with_the_reason(document: Any, reason: str) -> None:
    assert parsed(document) == Refusal(reason=reason)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe\xfa", b"[" * 100_000], ids=["empty", "half", "bytes", "deep"])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    assert parse(body) == Refusal(reason="the body is not JSON")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(cloud_event())), inner),
)


@given(st.binary() | anything.map(lambda document: json.dumps(document).encode()))
def test_no_body_raises_an_exception(body: bytes) -> None:
    assert isinstance(parse(body), Handshake | tuple | Refusal)
