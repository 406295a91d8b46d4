"""The base of all values, texts that nothing shows, and problems in files."""

import difflib
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    PlainSerializer,
    SecretStr,
    model_serializer,
    model_validator,
)

_MISSPELT = re.compile(r"unknown key, did you mean '([^']*)'")


class Frozen(BaseModel):
    """Base of all values that pass between layers: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # a command needs few of them


class HiddenText(Frozen):
    """A text that can be compared with another one, and that nothing shows.

    It holds an HMAC whose key only this process knows, so even a short text cannot be guessed from it. Its JSON form is
    always "(hidden)", and read back it equals no text any more.
    """

    mark: str | None = None

    HIDDEN: ClassVar = "(hidden)"
    _SCHEME: ClassVar = "hmac-sha256:"
    _KEY: ClassVar = secrets.token_bytes(32)

    @classmethod
    def of(cls, text: str) -> Self:
        """Return a text without what it says."""
        return cls(mark=cls._mark_of(text))

    def is_other(self, other: Self) -> bool:
        """Return True if both are known and differ."""
        return self.mark is not None and other.mark is not None and self.mark != other.mark

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return {} if value == cls.HIDDEN else {"mark": cls._mark_of(value)}

    @classmethod
    def _mark_of(cls, text: str) -> str:
        return cls._SCHEME + hmac.digest(cls._KEY, text.encode(), hashlib.sha256).hex()

    @model_serializer
    def _write(self) -> str:
        return self.HIDDEN

    def __repr__(self) -> str:
        return self.HIDDEN

    __str__ = __repr__


# A text that is sent, and that nothing shows.
SecretText = Annotated[SecretStr, PlainSerializer(lambda _: HiddenText.HIDDEN, when_used="json")]


class Problem(Frozen):
    """A problem in a file; `field` is the dotted path inside it, empty for the whole file."""

    file: str
    field: str = ""
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.message}" if self.field else f"{self.file}: {self.message}"


def without_consequences(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems without those that follow from others: a misspelt key is not missing, too."""
    meant = set[tuple[str, str]]()
    for one in problems:
        if match := _MISSPELT.search(one.message):
            meant.add((one.file, ".".join([*one.field.split(".")[:-1], match[1]])))
    return [one for one in problems if not (one.message.startswith("is missing") and (one.file, one.field) in meant)]


def json_text(value: JsonValue) -> str:
    """Return a text as it is, and anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint such as ", did you mean 'instance_type'?", or an empty text if no known word is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
