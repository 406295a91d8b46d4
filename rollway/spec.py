"""A rollout folder as frozen values, and the checks that need only the text of its files.

A folder `deployments/<name>/` holds Azure's own `endpoint.yml` and `deployment.yml` (CLI v2 YAML) and our
`rollout.yml`. `rollway.azure.folder` reads it and returns a `RolloutSpec`, or raises `InvalidRollout` with all problems
at once.
"""

import difflib
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from jsonschema import SchemaError
from jsonschema.validators import validator_for
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    SerializationInfo,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

# Limits of managed online endpoints: learn.microsoft.com, "Manage and increase quotas", section online endpoints.
NAME_RULE = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{1,30}[a-zA-Z0-9]")
MAX_INSTANCES = 50
MAX_REQUEST_TIMEOUT_MS = 180_000


class Frozen(BaseModel):
    """Base of all values that pass between layers: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class HiddenText(Frozen):
    """A text that can be compared with another one, and that nothing shows.

    It holds an HMAC whose key only this process knows, so even a short text cannot be guessed from it. Its JSON form is
    always "(hidden)", and read back it equals no text any more. `KEEP_MARKS` as the context of `model_dump_json` keeps
    the HMAC, for a copy inside the process.
    """

    mark: str | None = None

    HIDDEN: ClassVar = "(hidden)"
    KEEP_MARKS: ClassVar = {"rollway": "keep marks"}
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
        if value == cls.HIDDEN:
            return {}
        return {"mark": value if value.startswith(cls._SCHEME) else cls._mark_of(value)}

    @classmethod
    def _mark_of(cls, text: str) -> str:
        return cls._SCHEME + hmac.digest(cls._KEY, text.encode(), hashlib.sha256).hex()

    @model_serializer
    def _write(self, info: SerializationInfo) -> str:
        return self.mark or self.HIDDEN if info.context == self.KEEP_MARKS else self.HIDDEN

    def __repr__(self) -> str:
        return self.HIDDEN

    __str__ = __repr__


class Problem(Frozen):
    """A problem in a file; `field` is the dotted path inside it, empty for the whole file."""

    file: str
    field: str = ""
    message: str

    def __str__(self) -> str:
        return f"{self.file}: {self.field}: {self.message}" if self.field else f"{self.file}: {self.message}"


class Expectation(Frozen):
    """The expected answer of a smoke test; its HTTP status must be 200."""

    max_latency_seconds: float = Field(
        default=5.0, gt=0, le=300, description="Maximum latency of the answer, in seconds."
    )
    body: dict[str, JsonValue] | None = Field(
        default=None, description="JSON Schema that the body of the answer must satisfy."
    )

    @field_validator("body")
    @classmethod
    def _is_json_schema(cls, body: dict[str, JsonValue] | None) -> dict[str, JsonValue] | None:
        if body is not None:
            try:
                validator_for(body).check_schema(body)
            except SchemaError as error:
                raise ValueError(f"not a valid JSON Schema: {error.message}") from error
        return body


class SmokeTest(Frozen):
    """A real request that the online deployment must answer before and after it gets traffic."""

    request_file: str = Field(min_length=1, description="JSON file to POST, relative to this folder.")
    expect: Expectation = Expectation()
    warm_up_seconds: float = Field(
        default=120.0,
        ge=0,
        le=600,
        description="Time for retries while an answer tells nothing about the model, in seconds.",
    )


class Alerts(Frozen):
    """Who is notified when a rollout fails, waits for a worker, or recovers, and how urgently."""

    severity: Literal["page", "notify", "none"] = Field(
        default="notify",
        description="First word of the alert's subject, for routing at the receiver; none: no alerts.",
    )
    channel: str | None = Field(
        default=None,
        pattern="^([a-z0-9-]+/)?[a-z0-9-]+$",
        description="Prefect notification block, as name or block-type/name. Default: rollway-alerts.",
    )


def _clock_time(value: object) -> object:
    # YAML 1.1 reads an unquoted 16:00 as the number 960, sixteen times sixty.
    return f"{value // 60:02}:{value % 60:02}" if isinstance(value, int) and not isinstance(value, bool) else value


ClockTime = Annotated[str, BeforeValidator(_clock_time), Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class FreezeWindow(Frozen):
    """A weekly period without automatic rollouts; a window that ends before it starts ends on the next day."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    days: tuple[Day, ...] = Field(default=get_args(Day), min_length=1, description="Days on which it starts.")
    start: ClockTime = Field(default="00:00", alias="from", description="Start, HH:MM.")
    end: ClockTime = Field(default="24:00", alias="to", description="End, HH:MM.")
    timezone: str = Field(default="UTC", description="Time zone, such as Europe/Berlin.")

    @field_validator("timezone")
    @classmethod
    def _is_known(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            known = did_you_mean(timezone, available_timezones())
            raise ValueError(f"there is no time zone {timezone!r}{known}") from error
        return timezone

    def covers(self, moment: datetime) -> bool:
        """Return True if a moment, with its time zone, lies in the window."""
        local = moment.astimezone(ZoneInfo(self.timezone))
        time, today = local.strftime("%H:%M"), local.weekday()
        if self.start < self.end:
            return self._starts_on(today) and self.start <= time < self.end
        return (self._starts_on(today) and time >= self.start) or (self._starts_on(today - 1) and time < self.end)

    def _starts_on(self, weekday: int) -> bool:
        return get_args(Day)[weekday] in self.days

    def __str__(self) -> str:
        days = "every day" if len(set(self.days)) == len(get_args(Day)) else ", ".join(self.days)
        return f"{days} {self.start} to {self.end} {self.timezone}"


class Follow(Frozen):
    """Rules for the new model versions that the watcher rolls out."""

    tags: dict[str, str] = Field(default={}, description="Tags that the version must have, with these values.")
    stage: str | None = Field(default=None, min_length=1, description="Stage that the version must have.")
    minimum_age_seconds: int = Field(default=0, ge=0, description="Minimum age of the version, in seconds.")
    freeze: tuple[FreezeWindow, ...] = Field(default=(), description="Periods without automatic rollouts.")


class RolloutFile(Frozen):
    """rollout.yml: how the online deployment gets its traffic, and what happens to the replaced one."""

    strategy: Literal["blue_green"] = Field(
        default="blue_green", description="blue_green: create at weight 0, smoke-test, then move all traffic at once."
    )
    smoke_test: SmokeTest
    keep_replaced_seconds: int = Field(
        default=3600,
        ge=0,
        description="How long the replaced online deployment stays ready to go back to, in seconds. It costs as much "
        "as before.",
    )
    adopt: bool = Field(
        default=False, description="Also delete what Rollway did not create, once it is replaced or has failed."
    )
    failed: Literal["delete", "keep"] = Field(
        default="delete",
        description="Delete or keep a failed online deployment, after its logs are saved.",
    )
    ready_timeout_seconds: int = Field(
        default=1800, ge=1, le=7200, description="Deadline for the online deployment to become ready, in seconds."
    )
    follow: Follow | None = Field(
        default=None,
        description="Which new model versions the watcher rolls out. Default: all if deployment.yml names the model as "
        "@latest, none if it names a version.",
    )
    alerts: Alerts = Alerts()


class EndpointSpec(Frozen):
    """The fields of endpoint.yml that Rollway compares with Azure; creation uses the file itself."""

    name: str
    auth_mode: Literal["key", "aml_token", "aad_token"] = "key"
    public_network_access: Literal["enabled", "disabled"] = "enabled"
    kind: Literal["managed", "kubernetes"] = "managed"
    location: str | None = None
    identities: tuple[str, ...] = ()  # "system_assigned", or ids of user-assigned ones; empty if the file has none
    description: str | None = None
    tags: dict[str, str] = {}


class AssetSpec(Frozen):
    """A model or an environment in deployment.yml: a reference or an inline definition."""

    reference: str | None = None  # name:version, name@latest, ARM id or registry id; None: defined inline
    name: str | None = None  # of an inline definition
    version: str | None = None
    sha256: str | None = None  # of an environment's inline definition, with the files that it names

    def __str__(self) -> str:
        return self.reference or f"{self.name or 'unnamed'}:{self.version or 'next version'}"


class OnlineDeploymentSpec(Frozen):
    """deployment.yml: the content of the fingerprint, and name, instance count and tags.

    Attributes:
        code_sha256: Hash of the files in the code folder.
        settings: The keys that the file has, except those above and `environment_variables`; with the names and units
            of Azure's YAML.
        environment_variables: Their values are hidden, but can be compared with Azure's.
        variables_digest: Hash of all environment variables together; None if there are none.
    """

    name: str
    model: AssetSpec | None
    environment: AssetSpec | None
    code_sha256: str | None
    instance_count: int
    tags: dict[str, str] = {}
    settings: dict[str, JsonValue]
    environment_variables: dict[str, HiddenText] = {}
    variables_digest: str | None = None


class RolloutSpec(Frozen):
    """A rollout folder, read and checked."""

    folder: str
    endpoint: EndpointSpec
    online_deployment: OnlineDeploymentSpec
    rollout: RolloutFile
    smoke_request: JsonValue

    @property
    def name(self) -> str:
        """Name of the folder, which is also the name of the rollout."""
        return self.folder.rstrip("/").rsplit("/", 1)[-1]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint such as ", did you mean 'instance_type'?", or an empty text if no known word is close."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def check_name(value: object, file: str, field: str) -> Iterator[Problem]:
    """Yield a problem if the name of an endpoint or online deployment is invalid."""
    if not isinstance(value, str) or not NAME_RULE.fullmatch(value):
        fault = "is missing" if value is None else f"{value!r} is not a valid name"
        rule = "3 to 32 letters, digits and '-', a letter first, no '-' last"
        yield Problem(file=file, field=field, message=f"{fault}: {rule}")


def check_range(raw: Mapping[str, Any], field: str, low: int, high: int, file: str) -> Iterator[Problem]:
    """Yield a problem if the integer at a dotted `field` is out of range; other types and absent values pass."""
    value: Any = raw
    for key in field.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if isinstance(value, int) and not isinstance(value, bool) and not low <= value <= high:
        yield Problem(file=file, field=field, message=f"{value} is out of range, allowed is {low} to {high}")


def check_online_deployment(raw: Mapping[str, Any], endpoint_name: object, file: str) -> Iterator[Problem]:
    """Yield problems that the SDK's schema lets pass but Azure refuses; `endpoint_name` is that of endpoint.yml."""
    if "name" in raw:
        yield from check_name(raw["name"], file, "name")
    if isinstance(endpoint_name, str) and raw.get("endpoint_name") not in (None, endpoint_name):
        message = f"{raw['endpoint_name']!r} is not the endpoint of endpoint.yml, {endpoint_name!r}"
        yield Problem(file=file, field="endpoint_name", message=message)
    code, environment = raw.get("code_configuration"), raw.get("environment")
    if isinstance(code, Mapping) and code.get("code") and code.keys() == {"code"}:
        message = "is missing: name the file in `code` that has init() and run()"
        yield Problem(file=file, field="code_configuration.scoring_script", message=message)
    if isinstance(environment, Mapping) and not environment.keys() & {"image", "build"}:
        message = "has neither image nor build; a conda_file is installed on top of an image"
        yield Problem(file=file, field="environment", message=message)
    yield from check_range(raw, "instance_count", 1, MAX_INSTANCES, file)
    yield from check_range(raw, "request_settings.request_timeout_ms", 1, MAX_REQUEST_TIMEOUT_MS, file)
    yield from check_range(raw, "request_settings.max_concurrent_requests_per_instance", 1, 10_000, file)
    for probe in ("liveness_probe", "readiness_probe"):
        for field in ("period", "timeout", "success_threshold", "failure_threshold"):
            yield from check_range(raw, f"{probe}.{field}", 1, 3600, file)


def parse_rollout_file(raw: object, file: str) -> RolloutFile | list[Problem]:
    """Return the content of rollout.yml as a value, or all its problems."""
    if not isinstance(raw, dict):
        fault = "is empty" if raw is None else "is not a YAML mapping"
        return [Problem(file=file, message=f"{fault}; it must hold at least smoke_test.request_file")]
    try:
        return RolloutFile.model_validate({key: value for key, value in raw.items() if key != "$schema"})
    except ValidationError as error:
        return [_problem_of(details, file) for details in error.errors()]


_SHAPES: Mapping[str, type[BaseModel]] = {
    "smoke_test": SmokeTest,
    "expect": Expectation,
    "alerts": Alerts,
    "follow": Follow,
    "freeze": FreezeWindow,
}


def _problem_of(details: Any, file: str) -> Problem:
    path = [str(part) for part in details["loc"]]
    message = details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        parent = next((one for one in reversed(path[:-1]) if not one.isdecimal()), "")  # list items are numbered
        fields = _SHAPES.get(parent, RolloutFile).model_fields
        message = "unknown key" + did_you_mean(path[-1], [field.alias or name for name, field in fields.items()])
    return Problem(file=file, field=".".join(path), message=message)
