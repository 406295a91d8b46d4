"""References in the JSON Schema of an expected answer: what is accepted never ends a smoke test with its own error."""

from typing import Any

import pytest
from jsonschema.validators import validator_for

from rollway.spec import Problem, parse_rollout_file
from rollway.spec.json_schema import require_json_schema

DRAFT_4, DRAFT_7 = (f"http://json-schema.org/draft-0{number}/schema#" for number in (4, 7))
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"
ANSWERS: list[Any] = [{"a": {"a": None}, "b": 1}, [[1], {}], "text", 1, None]


def breaks(schema: dict[str, Any]) -> bool:
    """Return True if a check with the schema ends with an error of its own, as the smoke test would."""
    try:
        for answer in ANSWERS:
            list(validator_for(schema)(schema).iter_errors(answer))
    except Exception:  # noqa: BLE001 (each of them breaks in its own way)
        return True
    return False


@pytest.mark.parametrize(
    "schema",
    [
        {"items": {"$ref": "#/$defs/row"}, "$defs": {"row": {"type": "array"}}},
        {"$schema": DRAFT_7, "$ref": "#/definitions/a", "definitions": {"a": {"$ref": "#/definitions/b"}, "b": {}}},
        {"$schema": DRAFT_4, "$ref": "#row", "definitions": {"a": {"id": "#row"}}},
        {"$ref": "#row", "$defs": {"x": {"$anchor": "row"}}},
        {"$id": "https://example.com/all", "$ref": "part", "$defs": {"x": {"$id": "part", "type": "object"}}},
        {"$dynamicRef": "#row", "$defs": {"x": {"$dynamicAnchor": "row"}}},
        {"$schema": DRAFT_2019, "properties": {"a": {"$recursiveRef": "#"}}},
        {"$ref": "#/properties/a~1b", "properties": {"a/b": True}},
        {"properties": {"a": {"$ref": "#"}}},
        {"$ref": "#/$defs/node", "$defs": {"node": {"anyOf": [{"type": "null"}, {"items": {"$ref": "#"}}]}}},
        {"oneOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {}}},
        {"properties": {"$ref": {"type": "string"}}},
        {"const": {"$ref": "#/nowhere"}},
        {"$schema": DRAFT_7, "dependencies": {"a": ["b"]}, "$dynamicRef": "#nowhere"},
    ],
    ids=str,
)
def test_a_schema_whose_references_lead_to_its_own_parts_is_accepted(schema: dict[str, Any]) -> None:
    require_json_schema(schema)

    assert not breaks(schema)


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        (
            {"$ref": "#/$defs/rwo", "$defs": {"row": {}}},
            "$ref '#/$defs/rwo' leads nowhere, did you mean '#/$defs/row'?",
        ),
        ({"properties": {"a": {"not": {"$ref": "#/b"}}}}, "$ref '#/b' leads nowhere"),
        ({"$ref": "#/b", "b": {"$ref": "#/c"}}, "$ref '#/c' leads nowhere"),
        ({"$schema": DRAFT_7, "dependencies": {"a": {"$ref": "#/b"}, "b": ["a"]}}, "$ref '#/b' leads nowhere"),
        ({"$ref": "#row"}, "$ref '#row' leads nowhere"),
        ({"$dynamicRef": "#row"}, "$dynamicRef '#row' leads nowhere"),
        ({"$ref": "#/anyOf/first", "anyOf": [{}]}, "$ref '#/anyOf/first' leads nowhere"),
        ({"$ref": "#/b/c", "b": 5}, "$ref '#/b/c' leads nowhere"),
        ({"$ref": "#/title", "title": "a text"}, "$ref '#/title' leads to something that is no schema"),
        ({"$schema": DRAFT_4, "$ref": 5}, "$ref 5 is not text"),
        ({"$ref": "#/b", "b": {"type": "objct"}}, "type: 'objct' is not allowed: write "),
        ({"$ref": "#"}, "a $ref leads back to itself, for the same value"),
        ({"properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}]}}}, "a $ref leads back to itself"),
    ],
    ids=str,
)
def test_a_reference_at_which_a_check_would_break_is_refused(schema: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match="is not a valid JSON Schema") as refused:
        require_json_schema(schema)

    assert str(refused.value).removeprefix("is not a valid JSON Schema: ").startswith(fault)
    assert breaks(schema)


@pytest.mark.parametrize("reference", ["https://example.com/schema.json", "row.json#/a", "//example.com/schema"])
def test_a_reference_to_another_document_is_refused_because_nothing_is_fetched(reference: str) -> None:
    expect = {"body": {"items": {"$ref": reference}}}

    found = parse_rollout_file({"smoke_test": {"request_file": "r", "expect": expect}}, "rollout.yml")

    fault = f"$ref {reference!r} leads out of it, and a check fetches nothing: copy it into $defs"
    message = f"is not a valid JSON Schema: {fault}"
    assert found == [Problem(file="rollout.yml", field="smoke_test.expect.body", message=message)]
