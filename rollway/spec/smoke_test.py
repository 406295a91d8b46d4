"""The smoke test of rollout.yml: the requests that an online deployment must answer, and how."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    PlainSerializer,
    Tag,
    field_validator,
)

from rollway.spec.json_schema import require_json_schema
from rollway.spec.values import Frozen, SecretText

JSON = "application/json"
MOST_REQUESTS = 20
MOST_SECONDS = 1200  # of a smoke test: the deadline of its task

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, 5.6.2
_MEDIA_TYPE = rf"^{_WORD}/{_WORD}$"
_CONTENT_TYPE = rf'^{_WORD}/{_WORD}(\s*;\s*{_WORD}=({_WORD}|"[^"\\\x00-\x1f\x7f]*"))*$'
_NAME = r"^\w[\w .-]{0,39}$"
PATTERNS = {  # what a text must be that matches them
    _MEDIA_TYPE: "a media type, such as image/png",
    _CONTENT_TYPE: "a content type, such as text/csv or image/png",
    _NAME: "a name: at most 40 letters, digits, spaces, '.', '_' and '-'",
}
_ROUTE = re.compile(r"/(?!/)[!-~]*")
_HEADER_VALUE = re.compile(r"[!-~]([ \t!-~]*[!-~])?")
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]+)"|([^";\s]+))', re.IGNORECASE)
_NOT_ALLOWED = {
    "authorization": "Rollway sends the endpoint's key or token in it",
    "azureml-model-deployment": "Rollway names the online deployment in it",
    "content-type": "use content_type",
    **dict.fromkeys(
        (
            "connection",
            "content-length",
            "expect",
            "host",
            "keep-alive",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ),
        "it belongs to the connection",
    ),
}
_BUSY = (408, 429)  # that a model or Azure's gateway answers when there is no time


def _header_name(name: str) -> str:
    if not re.fullmatch(_WORD, name):
        raise ValueError("is not the name of a header")
    if why := _NOT_ALLOWED.get(name.lower()):
        raise ValueError(f"is not allowed: {why}")
    return name


def _header_value(value: SecretText) -> SecretText:
    if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
        raise ValueError("must be printable ASCII in one line")
    return value


def _as_text(value: object) -> object:
    # YAML reads 1 and true as other types. A header has only text.
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


HeaderName = Annotated[str, AfterValidator(_header_name)]
HeaderValue = Annotated[SecretText, BeforeValidator(_as_text), AfterValidator(_header_value)]


class Expectation(Frozen):
    """The expected answer of a smoke test."""

    max_latency_seconds: float = Field(
        default=5.0, gt=0, le=300, description="Maximum latency of the answer, in seconds."
    )
    status: int = Field(
        default=int(HTTPStatus.OK),
        ge=200,
        le=499,
        description="HTTP status of the model itself; Azure's gateway turns all but 200 into 424.",
    )
    content_type: str | None = Field(
        default=None,
        pattern=_MEDIA_TYPE,
        description="Media type of the answer, such as image/png. Default: any.",
    )
    minimum_bytes: int = Field(default=0, ge=0, description="Minimum size of the answer's body, in bytes.")
    text_contains: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), description="Texts that the body of the answer must contain."
    )
    body: dict[str, JsonValue] | None = Field(
        default=None,
        description="JSON Schema that the body of the answer must satisfy; a body that is not JSON is text.",
    )

    @field_validator("status")
    @classmethod
    def _is_an_answer(cls, status: int) -> int:
        if status in _BUSY:
            raise ValueError(f"{status} means that there was no time, and tells nothing about the model")
        return status

    @field_validator("body")
    @classmethod
    def _is_json_schema(cls, body: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if body is not None:
            require_json_schema(body)
        return body


class _Request(Frozen):
    request_file: str = Field(min_length=1, description="File with the body to POST, relative to this folder.")
    content_type: str = Field(
        default=JSON,
        pattern=_CONTENT_TYPE,
        description="Content type of the body. The boundary of a multipart body is read from its first line.",
    )
    headers: dict[HeaderName, HeaderValue] = Field(default={}, description="Further headers; their values are hidden.")
    route: str | None = Field(
        default=None,
        description="Path below the endpoint, such as /v1/predict, for a custom container. Default: the scoring route.",
    )
    expect: Expectation = Expectation()

    @field_validator("headers")
    @classmethod
    def _has_each_once(cls, headers: dict[str, SecretText]) -> dict[str, SecretText]:
        names = [name.lower() for name in headers]
        if again := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the same header in other letter case: {', '.join(again)}")
        return headers

    @field_validator("route")
    @classmethod
    def _is_path(cls, route: str | None) -> str | None:
        if route is None:
            return None
        if not route.startswith("/"):
            raise ValueError(f"{route!r} does not start with '/'")
        path, _, _ = route.partition("?")
        if not _ROUTE.fullmatch(route) or "#" in route or {".", ".."} & set(path.split("/")):
            raise ValueError(f"{route!r} is not a path: percent-encode it, without '.', '..' and '#'")
        return route


class NamedRequest(_Request):
    """One of several requests of a smoke test."""

    name: str = Field(pattern=_NAME, description="Its name in reports.")


_WARM_UP = Field(
    default=120.0,
    ge=0,
    le=600,
    description="Time for retries while an answer tells nothing about the model, in seconds.",
)


class SmokeTest(_Request):
    """A real request that the online deployment must answer before and after it gets traffic."""

    warm_up_seconds: float = _WARM_UP

    @property
    def all(self) -> tuple[tuple[str, str, _Request], ...]:
        """Each request with its field in rollout.yml and its name."""
        return (("smoke_test", "", self),)


class SmokeTests(Frozen):
    """Several real requests, sent in their order."""

    requests: tuple[NamedRequest, ...] = Field(
        description="The requests; each must be answered as it expects.",
        json_schema_extra={"minItems": 1, "maxItems": MOST_REQUESTS},
    )
    warm_up_seconds: float = _WARM_UP

    @field_validator("requests")
    @classmethod
    def _are_some(cls, requests: tuple[NamedRequest, ...]) -> tuple[NamedRequest, ...]:
        # With a length as its constraint, pydantic reports invalid requests once more, as missing ones.
        if not 1 <= len(requests) <= MOST_REQUESTS:
            raise ValueError(f"has {len(requests)} requests, allowed are 1 to {MOST_REQUESTS}")
        return requests

    @property
    def all(self) -> tuple[tuple[str, str, _Request], ...]:
        """Each request with its field in rollout.yml and its name."""
        return tuple((f"smoke_test.requests.{place}", one.name, one) for place, one in enumerate(self.requests))


# pydantic shows these tags in the path of an error, from which `without_tags` takes them.
_NONE_TAG, _ONE_TAG, _SEVERAL_TAG = "(none)", "(one)", "(several)"


def _form(value: object) -> str:
    if isinstance(value, str):
        return _NONE_TAG
    is_several = "requests" in value if isinstance(value, dict) else isinstance(value, SmokeTests)
    return _SEVERAL_TAG if is_several else _ONE_TAG


AnySmokeTest = Annotated[
    Annotated[SmokeTest, Tag(_ONE_TAG)]
    | Annotated[SmokeTests, Tag(_SEVERAL_TAG)]
    | Annotated[Literal["none"], Tag(_NONE_TAG)],
    Discriminator(_form),
]


def without_tags(path: list[str]) -> list[str]:
    """Return the path of an error as rollout.yml has it."""
    return [part for part in path if part not in (_NONE_TAG, _ONE_TAG, _SEVERAL_TAG, "[key]")]


def is_several(path: list[str]) -> bool:
    """Return True if the path of an error, as pydantic has it, leads into a smoke test of several requests."""
    return _SEVERAL_TAG in path


def check_smoke_test(test: SmokeTest | SmokeTests | Literal["none"]) -> Iterator[tuple[str, str]]:
    """Yield everything that makes no sense, as field and message."""
    if isinstance(test, str):
        return
    seconds = test.warm_up_seconds + sum(2 * one.expect.max_latency_seconds for _, _, one in test.all)
    if seconds > MOST_SECONDS:
        yield "smoke_test", f"may take {seconds:g} s, each request twice and the warm-up; allowed are {MOST_SECONDS} s"


def repeated_names(raw: object) -> Iterator[tuple[str, str]]:
    """Yield the requests that have the name of an earlier one, as field and message.

    Args:
        raw: Content of rollout.yml, which may have any other fault.
    """
    test = raw.get("smoke_test") if isinstance(raw, dict) else None
    requests: Any = test.get("requests") if isinstance(test, dict) else None
    seen = set[str]()
    for place, one in enumerate(requests if isinstance(requests, list) else []):
        name = one.get("name") if isinstance(one, dict) else None
        if isinstance(name, str) and name in seen:
            yield f"smoke_test.requests.{place}.name", f"another request has the name {name!r}"
        seen.add(str(name))


def is_json(content_type: str) -> bool:
    """Return True if a body of a content type is a JSON document."""
    media_type = media_type_of(content_type)
    return media_type == JSON or media_type.endswith("+json")


def media_type_of(content_type: str) -> str:
    """Return a content type in lower case, without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def with_boundary(content_type: str, content: bytes) -> str:
    """Return the content type of a multipart body with its boundary; other content types as they are.

    Raises ValueError if they do not fit.
    """
    if not content_type.lower().startswith("multipart/"):
        return content_type
    found = _BOUNDARY.search(content_type)
    first, end, _ = content.partition(b"\n")
    if found is None and not first.startswith(b"--"):
        raise ValueError("does not begin with a boundary, a line such as --boundary")
    if not first.endswith(b"\r") or not end:
        raise ValueError("is not a multipart body: its lines must end with CR LF")
    boundary = (found[1] or found[2]) if found else first[2:].decode("ascii", "replace").strip()
    if f"--{boundary}--".encode() not in content:
        raise ValueError(f"is not a multipart body: --{boundary}-- does not end it")
    return content_type if found else f'{content_type}; boundary="{boundary}"'


def _shown(content: bytes | None) -> str | None:
    return None if content is None else f"({len(content)} bytes)"


class ScoringRequest(Frozen):
    """A request as it is sent to an endpoint.

    Attributes:
        name: Its name in rollout.yml; empty if it is the only one.
        document: Its body, if that is JSON.
        content: Its body, if that is not JSON; its JSON form is only its size.
        route: Path below the endpoint; None for the scoring route.
    """

    name: str = ""
    document: JsonValue = None
    content: Annotated[bytes | None, PlainSerializer(_shown, when_used="json")] = None
    content_type: str = JSON
    headers: dict[str, SecretText] = {}
    route: str | None = None
    expect: Expectation = Expectation()
