"""The JSON Schema of an expected answer: everything at which a check with it would end with an error of its own."""

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from jsonschema import SchemaError
from jsonschema.validators import validator_for
from pydantic import JsonValue
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY, specification_with

from rollway.spec.values import did_you_mean
from rollway.spec.wording import not_allowed

_INVALID = "is not a valid JSON Schema"
_SAME_VALUE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")  # their parts check the value itself
_DEFINITIONS = ("$defs", "definitions")  # the second one up to draft 7


def require_json_schema(schema: Mapping[str, JsonValue]) -> None:
    """Raise ValueError with the first fault of a JSON Schema, its references included.

    A reference must stay inside the schema: a check fetches nothing.
    """
    kind: Any = validator_for(schema)
    try:
        kind.check_schema(schema)
        for target in _targets(schema, kind):
            kind.check_schema(target)
    except SchemaError as error:
        raise ValueError(f"{_INVALID}: {_fault(error)}") from error


def _targets(schema: Mapping[str, JsonValue], kind: Any) -> Iterator[object]:
    """Yield the part to which each reference of a schema leads; raises ValueError for one that leads nowhere."""
    specification = specification_with(kind.ID_OF(kind.META_SCHEMA))
    keywords = [one for one in ("$ref", "$dynamicRef") if one in kind.VALIDATORS]
    root = specification.create_resource(schema)
    waiting: list[tuple[Any, Any]] = [(schema, EMPTY_REGISTRY.resolver_with_root(root))]
    checked_too: dict[int, set[int]] = {}  # by the id of a part: those that check the same value as it does
    while waiting:
        part, resolver = waiting.pop()
        if id(part) in checked_too:
            continue
        checked_too[id(part)] = {id(one) for key in _SAME_VALUE for one in _parts(part.get(key))}
        for keyword in keywords:
            if keyword in part:
                target = _resolved(keyword, part[keyword], resolver, schema)
                yield target.contents
                checked_too[id(part)].add(id(target.contents))
                waiting += _mappings([(target.contents, target.resolver)])
        inner = _mappings((one.contents, one) for one in specification.create_resource(part).subresources())
        waiting += [(contents, resolver.in_subresource(one)) for contents, one in inner]
    try:
        TopologicalSorter(checked_too).prepare()
    except CycleError as error:
        raise ValueError(f"{_INVALID}: a $ref leads back to itself, for the same value") from error


def _parts(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _mappings(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return [one for one in pairs if isinstance(one[0], Mapping)]


def _resolved(keyword: str, reference: object, resolver: Any, schema: Mapping[str, JsonValue]) -> Any:
    place = f"{_INVALID}: {keyword} {reference!r}"
    if not isinstance(reference, str):
        raise ValueError(f"{place} is not text")
    try:
        resolved = resolver.lookup(reference)
    except (Unresolvable, TypeError, ValueError) as error:  # the last two: a path through a list or a text
        if not reference.startswith("#"):
            raise ValueError(f"{place} leads out of it, and a check fetches nothing: copy it into $defs") from error
        parts = [(key, schema.get(key)) for key in _DEFINITIONS]
        known = [f"#/{key}/{name}" for key, part in parts if isinstance(part, Mapping) for name in part]
        raise ValueError(f"{place} leads nowhere{did_you_mean(reference, known)}") from error
    if not isinstance(resolved.contents, Mapping | bool):
        raise ValueError(f"{place} leads to something that is no schema")
    return resolved


def _fault(error: SchemaError) -> str:
    """Return the fault of a JSON Schema: where it is, what is there, and what may be there."""
    # Of alternatives the one that lists its values says most.
    deepest: Any = next((one for one in error.context or () if one.validator == "enum"), error)
    place = ".".join(map(str, error.absolute_path))
    if deepest.validator == "enum":
        fault = not_allowed(deepest.instance, list(map(str, deepest.validator_value)))
    else:
        fault = str(deepest.message)
    return f"{place}: {fault}" if place else fault
