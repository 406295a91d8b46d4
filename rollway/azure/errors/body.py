"""The body of an Azure error, in any of its shapes.

The reason may be the message, or JSON inside a detail's message. The code may be null, and in front of the message.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

from rollway.masking import mask
from rollway.spec import Frozen

_PREFIX = re.compile(r"^(?P<code>[A-Z][A-Za-z]+): (?P<message>.*)", re.DOTALL)
_DEEPEST = 8  # levels of details that are shown


class ErrorBody(Frozen):
    """An error of Azure Resource Manager, or of a failed operation: `{"code", "message", "details": [...]}`.

    Attributes:
        code: Azure's code, taken from the front of the message if the field is null.
        message: The text for people, without secrets.
        inner_codes: Codes of all details, outermost first.
        tree: The whole error as indented lines, without secrets.
        correlation_id: The id that Microsoft's support asks for.
    """

    code: str | None
    message: str
    inner_codes: tuple[str, ...]
    tree: str
    correlation_id: str | None

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Read an error; every part is optional, and parts of another type are ignored."""
        code, message = _code_and_message(body)
        return cls(
            code=code,
            message=mask(message),
            inner_codes=tuple(str(one["code"]) for one in _descendants(body) if one.get("code")),
            tree=mask("\n".join(_tree(body))),
            correlation_id=_correlation_id(body),
        )


def _code_and_message(body: Mapping[str, Any]) -> tuple[str | None, str]:
    for detail in _details(body):
        fields = _fields(_json(detail.get("message")))
        if fields:
            return _word(body.get("code")), "; ".join(fields)
    code, message = _word(body.get("code")), str(body.get("message") or "")
    if not code and (match := _PREFIX.match(message)):
        code, message = match["code"], match["message"]
    return code, message.strip()


def _word(value: object) -> str | None:
    return str(value) if value else None


def _details(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    details = body.get("details")
    return [one for one in details if isinstance(one, Mapping)] if isinstance(details, Sequence) else []


def _descendants(body: Mapping[str, Any], depth: int = 0) -> Iterator[Mapping[str, Any]]:
    for detail in _details(body) if depth < _DEEPEST else []:
        yield detail
        yield from _descendants(detail, depth + 1)


def _json(message: object) -> Mapping[str, Any]:
    """Return the JSON document inside a message, empty for plain text."""
    try:
        document = json.loads(str(message))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _fields(document: Mapping[str, Any]) -> list[str]:
    """Return the validation errors of the inference service, `{"errors": {"<field>": ["text"]}}`."""
    errors = document.get("errors")
    if not isinstance(errors, Mapping):
        return []
    return [f"{field}: {text}" for field, texts in errors.items() if isinstance(texts, list) for text in texts]


def _tree(body: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    message, document = str(body.get("message") or "").strip(), _json(body.get("message"))
    inner = _fields(document)
    nested = document.get("error")
    text = str(document.get("title") or "") if inner or isinstance(nested, Mapping) else message
    head = ": ".join(part for part in (_word(body.get("code")), text) if part) or "(no code, no message)"
    target = f" (target: {body['target']})" if body.get("target") else ""
    yield from (f"{indent}{line}" for line in f"{head}{target}".splitlines())
    yield from (f"{indent}  {field}" for field in inner)
    if depth < _DEEPEST:
        if isinstance(nested, Mapping):
            yield from _tree(nested, depth + 1)
        for detail in _details(body):
            yield from _tree(detail, depth + 1)
    for kind, value in _additional_info(body):
        parts = [f"{name} {part}" for name, part in value.items()] if isinstance(value, Mapping) else [str(value)]
        yield f"{indent}  {kind}: {', '.join(parts)}"


def _additional_info(body: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    added = body.get("additionalInfo")
    for one in added if isinstance(added, Sequence) else []:
        if isinstance(one, Mapping):
            info = one.get("info")
            yield str(one.get("type")), info.get("value", info) if isinstance(info, Mapping) else info


def _correlation_id(body: Mapping[str, Any]) -> str | None:
    for kind, value in _additional_info(body):
        if kind == "Correlation" and isinstance(value, Mapping) and value.get("operation"):
            return str(value["operation"])
    return None
